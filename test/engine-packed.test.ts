// Hunts: a record that recovery, which steps over what it has no use for, reads otherwise than it was written (J3).

import fc from 'fast-check'
import t from 'tap'
import { PackedValues, unpackBytes } from '../engine/packed-values.js'
import { pack, packRecord, type TurnRecord, unpackRecord } from '../engine/record.js'
import { readForRecovery } from '../engine/recovery-record.js'

const text = fc.oneof(
  fc.string({ maxLength: 40 }),
  fc.string({ unit: 'binary', maxLength: 300 }),
  fc.constant('x'.repeat(70_000)),
)
const bytes = fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.constant(new Uint8Array(70_000)))
const number = fc.oneof(fc.integer(), fc.nat({ max: 300 }), fc.maxSafeInteger(), fc.double({ noNaN: true }))
const scalar = fc.oneof(number, text, bytes, fc.boolean(), fc.constant(null), fc.bigInt())
const { value } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, depthSize: 'small' },
    scalar,
    fc.array(tie('value'), { maxLength: 20 }),
    fc.dictionary(
      fc.string({ minLength: 1, maxLength: 12 }).filter((key) => key !== '__proto__'),
      tie('value'),
      {
        maxKeys: 20,
        noNullPrototype: true,
      },
    ),
  ),
}))

t.test('whatever is packed is stepped over to its last byte', (t) => {
  fc.assert(
    fc.property(fc.array(value, { minLength: 1, maxLength: 4 }), (values) => {
      const packed = Buffer.concat(values.map((item) => pack(item)))
      const walk = new PackedValues(packed, 0)
      for (const item of values) {
        const start = walk.at
        walk.stepOver()
        const again = unpackBytes({ bytes: packed, start, end: walk.at })
        if (Buffer.compare(pack(again), pack(item)) !== 0) throw new Error('another value was stepped over')
      }
      return walk.at === packed.length
    }),
    { numRuns: 400 },
  )
  t.throws(() => new PackedValues(Buffer.from([0xc1]), 0).stepOver(), /begins no packed value/)
  t.throws(() => new PackedValues(Buffer.from(pack('cut short')).subarray(0, 4), 0).stepOver(), /cut short/)
  t.end()
})

const id = fc.string({ minLength: 1, maxLength: 30 })
const actor = fc.tuple(id, id).map(([type, key]) => `${type}/${key}`) as fc.Arbitrary<
  TurnRecord['images'][number]['actor']
>
const outcome = fc.oneof(
  fc.record({ ok: fc.constant(true as const), reply: value }),
  fc.constant({ ok: true as const }),
  fc.record({
    ok: fc.constant(false as const),
    error: fc.record({
      kind: fc.constant('conflict' as const),
      code: id,
      message: text,
      details: fc.constant({ field: 'code' }),
    }),
  }),
)
const fact = fc.record({ type: fc.constantFrom('scan.accepted', 'tier.changed', 'other'), userId: id, what: value })
const record: fc.Arbitrary<TurnRecord> = fc.record({
  seq: fc.integer({ min: 1, max: 2 ** 40 }),
  input: fc.record({
    id,
    at: fc.maxSafeInteger().map(Math.abs),
    command: id,
    args: value,
    who: fc.record({ role: fc.constant('member' as const), userId: id, sessionId: id }),
  }),
  facts: fc.array(fact, { maxLength: 4 }),
  postings: fc.array(
    fc.record({
      kind: id,
      reference: id,
      lines: fc.array(fc.record({ account: id, currency: id, amount: fc.bigInt() }), { maxLength: 3 }),
    }),
    { maxLength: 2 },
  ),
  images: fc.array(fc.record({ actor, image: bytes }), { maxLength: 20 }),
  deltas: fc.array(fc.record({ table: id, delta: value }), { maxLength: 3 }),
  alarms: fc.array(
    fc.oneof(
      fc.record({ actor, name: id, at: fc.constant(null) }),
      fc.record({ actor, name: id, at: fc.nat(), command: id, args: value }),
    ),
    { maxLength: 3 },
  ),
  messages: fc.array(fc.record({ id, command: id, args: value }), { maxLength: 20 }),
  consumed: fc.option(id),
  idempotency: fc.option(fc.record({ key: text, fingerprint: text, outcome, forever: fc.boolean() })),
})

t.test('J3: recovery reads of a record what a whole reading of it gives', (t) => {
  const same = (found: unknown, expected: unknown) => Buffer.compare(pack(found), pack(expected)) === 0
  fc.assert(
    fc.property(record, (written) => {
      const body = packRecord(written)
      const whole = unpackRecord(body)
      const read = readForRecovery(body, ['scan.accepted', 'tier.changed'])
      const { seq, deltas, alarms, messages, consumed } = read
      const wanted = whole.facts.filter(({ type }) => type !== 'other')
      const images = read.images.map(({ actor, image: { bytes, start, end } }) => [actor, bytes.subarray(start, end)])
      const stored = read.idempotency
      return (
        same(
          [seq, read.at, deltas, alarms, messages, consumed],
          [...[whole.seq, whole.input.at, whole.deltas, whole.alarms, whole.messages, whole.consumed]],
        ) &&
        same(
          images,
          whole.images.map(({ actor, image }) => [actor, image]),
        ) &&
        same(
          read.facts.map((item) => item.unpack()),
          wanted,
        ) &&
        same(
          read.facts.map((item) => item.text('userId')),
          wanted.map((item) => (item as { userId?: string }).userId),
        ) &&
        same(
          stored && [stored.key, stored.fingerprint, stored.forever, stored.outcome],
          whole.idempotency && [
            ...[whole.idempotency.key, whole.idempotency.fingerprint],
            ...[whole.idempotency.forever, whole.idempotency.outcome],
          ],
        )
      )
    }),
    { numRuns: 300 },
  )
  t.pass('the same')
  t.end()
})

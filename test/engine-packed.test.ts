// Hunts: a common word whose number changes, so that what was packed reads otherwise; a record that recovery, which steps over what it has no use for, reads otherwise than it was written (J3);
// values that our packing, made for speed, packs or reads otherwise than msgpackr.

import { createHash } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { Packr } from 'msgpackr'
import t from 'tap'
import { commonWords } from '../engine/common-words.js'
import { PackedValues } from '../engine/packed-values.js'
import { Packer } from '../engine/packer.js'
import { pack, packRecord, type TurnRecord, unpack, unpackBytes, unpackRecord } from '../engine/record.js'
import { readForRecovery } from '../engine/recovery-record.js'

const word = fc.constantFrom(...commonWords)
const FIRST_WORDS = 224
const FIRST_WORDS_SHA256 = '759f4ae10f888898289d851b32fcd8d574011ed9dd6dd75189eb4b0748f56afe'

const text = fc.oneof(
  word,
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
      fc.oneof(
        word,
        fc.string({ minLength: 1, maxLength: 12 }).filter((key) => key !== '__proto__'),
      ),
      tie('value'),
      {
        maxKeys: 20,
        noNullPrototype: true,
      },
    ),
  ),
}))

const msgpackr = new Packr({
  useRecords: false,
  moreTypes: false,
  encodeUndefinedAsNil: true,
  useBigIntExtension: true,
  copyBuffers: true,
})
const edges = fc.constantFrom<unknown>(
  ...[0, -0, -1, -32, -33, -128, -129, -32_769, -(2 ** 31), -(2 ** 31) - 1, 127, 128, 255, 256, 65_535, 65_536],
  ...[2 ** 32 - 1, 2 ** 32, 2 ** 53, 0.1, Number.NaN, Number.POSITIVE_INFINITY, undefined],
  ...[0n, -1n, 2n ** 63n - 1n, 2n ** 63n, -(2n ** 63n), -(2n ** 63n) - 1n, 2n ** 64n, 10n ** 40n],
  ...['', 'é', '\ud800', '👩‍👩‍👧', 'x'.repeat(31), 'x'.repeat(32), 'x'.repeat(63), 'x'.repeat(64), 'é'.repeat(40)],
  ...[new Uint8Array(255), new Uint8Array(256), Array.from({ length: 15 }), Array.from({ length: 16 })],
  ...[Array.from({ length: 65_536 }, () => 1), {}, { a: { b: { c: 1 } } }, { ['__proto__']: 1 }],
  ...[
    { constructor: 1 },
    { class: 1, 'not plain': 2 },
    Object.fromEntries(Array.from({ length: 80 }, (_, i) => [`k${i}`, i])),
  ],
)

const withoutWords = new Packer((value) => msgpackr.pack(value), [])

t.test('our packing is that of msgpackr but for common words, and what either has packed is unpacked alike', (t) => {
  fc.assert(
    fc.property(fc.array(fc.oneof(value, edges), { maxLength: 6 }), (values) => {
      const ours = Buffer.from(withoutWords.pack(values))
      const theirs = Buffer.from(msgpackr.pack(values))
      if (Buffer.compare(ours, theirs) !== 0) throw new Error('other bytes')
      const read = Buffer.from(msgpackr.pack(msgpackr.unpack(theirs)))
      return [theirs, pack(values)].every((packed) => Buffer.compare(msgpackr.pack(unpack(packed)), read) === 0)
    }),
    { numRuns: 150 },
  )
  t.end()
})

t.test('a word keeps its number for ever', (t) => {
  t.equal(new Set(commonWords).size, commonWords.length)
  for (const [number, word] of commonWords.entries()) {
    t.same([...pack(word)], [0xc1, number], word)
    t.equal(unpack(Buffer.from([0xc1, number])), word)
  }
  const first = commonWords.slice(0, FIRST_WORDS).join(' ')
  t.equal(createHash('sha256').update(first).digest('hex'), FIRST_WORDS_SHA256, 'words are added at the end only')
  t.throws(() => unpack(Buffer.from([0xc1, 0xff])), /no common word/)
  t.end()
})

t.test('a map whose fields have no order to be learned holds common words too', (t) => {
  const inner = { userId: 'member', tier: 'vip' }
  for (const map of [
    { 'not plain': inner, userId: 'x', list: [inner] },
    { userId: inner, 'not plain': 'tier', scanId: { 'a b': inner } },
    Object.fromEntries(Array.from({ length: 80 }, (_, i) => [`k${i}`, inner])),
  ]) {
    t.strictSame(unpack(pack(map)), map)
  }
  const many = Array.from({ length: 70_000 }, (_, i) => (i % 3 === 0 ? 'tier' : i))
  t.ok(isDeepStrictEqual(unpack(pack(many)), many), 'also of a long list')
  t.end()
})

t.test('objects of more orders of fields than are learned, and names that are data, are unpacked as they were', (t) => {
  const keys = (seed: number) =>
    Object.fromEntries(Array.from({ length: 6 }, (_, i) => [`f${(seed * (i + 3)) % 97}`, i]))
  const others = []
  for (let seed = 1; seed < 9_000; seed++) {
    const given = { ...keys(seed), id: seed }
    if (!isDeepStrictEqual(unpack(pack(given)), given)) others.push(given)
  }
  t.same(others, [])
  t.end()
})

t.test('what is cut short or followed by more is refused', (t) => {
  const packed = Buffer.from(pack({ name: 'x'.repeat(40), list: [1, 2, { a: 300_000 }] }))
  for (let length = 0; length < packed.length; length++) t.throws(() => unpack(packed.subarray(0, length)))
  t.throws(() => unpack(Buffer.concat([packed, packed])))
  const cyclic: Record<string, unknown> = {}
  cyclic.self = cyclic
  t.throws(() => pack(cyclic))
  t.strictSame(unpack(pack({ after: 'a failure' })), { after: 'a failure' })
  t.end()
})

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
  t.throws(() => new PackedValues(Buffer.from([0xc1]), 0).stepOver(), /cut short/)
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

t.test(
  'J3: records of version 1, which had no common words, are read as ever, and those of a later version not',
  (t) => {
    const asVersion = (version: number, body: Uint8Array) => {
      const [, ...parts] = unpack<unknown[]>(body)
      return withoutWords.pack([version, ...parts])
    }
    fc.assert(
      fc.property(record, (written) => {
        const body = packRecord(written)
        const old = asVersion(1, body)
        const types = ['scan.accepted', 'tier.changed']
        const [now, then] = [readForRecovery(body, types), readForRecovery(old, types)]
        return (
          isDeepStrictEqual(unpackRecord(old), unpackRecord(body)) &&
          isDeepStrictEqual(
            then.facts.map((fact) => [fact.unpack(), fact.text('userId')]),
            now.facts.map((fact) => [fact.unpack(), fact.text('userId')]),
          ) &&
          isDeepStrictEqual(then.idempotency?.outcome, now.idempotency?.outcome)
        )
      }),
      { numRuns: 100 },
    )
    const later = asVersion(3, packRecord(fc.sample(record, 1)[0] as TurnRecord))
    t.throws(() => unpackRecord(later), /has version 3/)
    t.throws(() => readForRecovery(later, []), /has version 3/)
    t.end()
  },
)

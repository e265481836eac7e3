// Hunts: a repeat that takes effect twice or gets another answer, because memory forgot it; an actor that seems not to
// exist, or to be as it was before, because it was evicted or loaded at the wrong moment.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { z } from 'zod'
import { type Command, defineCommand, type Principal } from '../engine/command.js'
import { DomainError } from '../engine/errors.js'
import { IdempotencyWindow } from '../engine/idempotency.js'
import { customer } from './support/bank.js'
import { anyStep, perform, quiet, type Rig, restart, type Sent, startBank } from './support/engine.js'

const gift = { from: 'ann', to: 'bob', cents: 1n }
const WINDOW_MS = 24 * 60 * 60 * 1_000

/** Commands of one vault only, so that nothing is loaded for them. */
const count = defineCommand({
  name: 'test.count',
  input: z.object({}),
  who: 'system',
  actors: () => [],
  handle: (turn) => {
    turn.emit({ type: 'counted' })
    return turn.seq
  },
})
const countSilently: Command<object, unknown> = {
  ...count,
  name: 'test.silent',
  handle: (turn) => turn.emit({ type: 'counted' }),
}
const more = [count, countSilently] as readonly Command[]

/** Ann and bob are rich, and in Postgres only. */
async function startCold(limits: NonNullable<Parameters<typeof startBank>[0]>['limits'] = {}) {
  const rig = await startBank({ more, limits })
  for (const name of ['ann', 'bob']) await rig.openAccount(name, 100n)
  rig.apply()
  return restart(rig)
}
async function savedBy(rig: Rig, name: string) {
  return (await rig.statement(name)).savings
}
function codeOf({ outcome }: Sent<unknown>): string | undefined {
  if (outcome === undefined || outcome.ok) return outcome && 'ok'
  return outcome.error instanceof DomainError ? outcome.error.code : outcome.error.message
}

t.test('a repeat gets the same answer and no effect; the same key for something else is a conflict', async (t) => {
  for (const command of [count, countSilently]) {
    const other = command === count ? countSilently : count
    const how = { key: 'k', fingerprint: 'f' }
    let rig = await startBank({ more })
    const first = await rig.attempt(command, {}, how)
    const check = async (when: string) => {
      assert.deepEqual(await rig.attempt(command, {}, how), first, when)
      t.equal(await rig.refusal(command, {}, { key: 'k', fingerprint: 'g' }), 'idempotency_conflict', when)
      t.equal(await rig.refusal(other, {}, how), 'idempotency_conflict', `other command, ${when}`)
      t.equal(rig.shard.lastSeq, 1, when)
    }
    await check('while memory holds the answer')
    rig = await restart(rig)
    await check('recovered from the journal')
    rig.apply()
    await check('when only Postgres holds the answer')
    t.equal(rig.store.outcomeReads, 3)
    rig = await restart(rig)
    await check('recovered from Postgres')
  }
})

t.test('a key belongs to who sent it, and means something new when its time is over', async (t) => {
  const rig = await startBank({ more })
  const as = (userId: string): Principal => ({ role: 'system', userId, sessionId: '' })
  for (const userId of ['u', 'v', 'u', 'v']) await rig.run(count, {}, { key: 'k', who: as(userId) })
  t.equal(rig.shard.lastSeq, 2)
  rig.world.advance(WINDOW_MS - 1)
  await rig.run(count, {}, { key: 'k', who: as('u') })
  t.equal(rig.shard.lastSeq, 2)
  rig.world.advance(1)
  await rig.run(count, {}, { key: 'k', who: as('u') })
  t.equal(rig.shard.lastSeq, 3)
})

t.test('a natural key is known for ever: Postgres is asked when memory has forgotten', async (t) => {
  let rig = await startCold({ idempotencyEntriesMax: 2 })
  const receipt = { name: 'ann', cents: 100n, receipt: 'first of ann' }
  for (let day = 0; day < 3; day++) {
    await rig.run(rig.bank.payIn, receipt)
    for (let at = 0; at < 4; at++) await rig.run(count, {}, { key: `${day} ${at}` })
    rig.world.advance(WINDOW_MS + 1)
    rig.apply()
    if (day === 1) rig = await restart(rig)
  }
  t.equal(await savedBy(rig, 'ann'), 100n)
})

t.test('B1 what memory has no room for Postgres answers; what Postgres has not yet stays in memory', async (t) => {
  let rig = await startBank({ more, limits: { idempotencyEntriesMax: 3 } })
  const keys = Array.from({ length: 20 }, (_, at) => `k${at}`)
  const firsts: unknown[] = []
  for (const key of keys) firsts.push(await rig.attempt(count, {}, { key }))
  const checkAll = async () => {
    for (const [at, key] of keys.entries()) assert.deepEqual(await rig.attempt(count, {}, { key }), firsts[at])
    t.equal(rig.shard.lastSeq, firsts.length)
  }
  await checkAll()
  t.same([rig.shard.gauges().idempotency_entries, rig.store.outcomeReads], [20, 0])
  rig.apply(10)
  await checkAll()
  rig.apply()
  await checkAll()
  firsts.push(await rig.attempt(count, {}, { key: 'one more' }))
  keys.push('one more')
  t.equal(rig.shard.gauges().idempotency_entries, 3)
  await checkAll()
  rig.apply()
  rig = await restart(rig)
  await checkAll()
  rig.store.isDown = true
  t.equal(await rig.refusal(count, {}, { key: 'k0' }), 'storage_unavailable')
  t.equal(rig.shard.lastSeq, 21)
})

t.test('duplicates admitted while their actors are loaded take effect once', async (t) => {
  const rig = await startCold()
  const release = rig.store.hold()
  const sent = [1, 2, 3].map(() => rig.send(rig.bank.send, gift, { key: 'k' }))
  const conflict = rig.send(rig.bank.send, { ...gift, cents: 2n }, { key: 'k', fingerprint: 'other' })
  const receipts = [1, 2].map(() => rig.send(rig.bank.payIn, { name: 'ann', cents: 5n, receipt: 'r' }))
  release()
  await quiet()
  rig.journal.flush()
  t.same([...sent, ...receipts].map(codeOf), ['ok', 'ok', 'ok', 'ok', 'ok'])
  t.same(sent[2]?.outcome, sent[0]?.outcome)
  t.equal(codeOf(conflict), 'idempotency_conflict')
  t.same([await savedBy(rig, 'ann'), await savedBy(rig, 'bob')], [104n, 101n])
})

/** Postgres gets everything, and one key more pushes all others out of a window of one. */
async function forgetKeys(rig: Rig, key: string) {
  rig.journal.flush()
  rig.apply()
  await rig.run(count, {}, { key })
  rig.apply()
}

t.test('a key that memory forgets while its repeat is being loaded is not taken for new', async (t) => {
  const rig = await startCold({ cachedActorsMax: 1, idempotencyEntriesMax: 1 })
  await rig.run(rig.bank.send, gift, { key: 'k' })
  rig.apply()
  const release = rig.store.hold()
  const repeat = rig.send(rig.bank.send, gift, { key: 'k' })
  await quiet()
  rig.store.answerNew()
  await forgetKeys(rig, 'other')
  t.equal(repeat.answers, 0, 'it is still being loaded')
  release()
  await quiet()
  t.equal(codeOf(repeat), 'ok')
  t.equal(await savedBy(rig, 'bob'), 101n)
})

t.test(
  'a key that came, went to Postgres and was forgotten while Postgres was asked is not taken for new',
  async (t) => {
    const rig = await startCold({ idempotencyEntriesMax: 1 })
    for (const key of ['a', 'b']) await forgetKeys(rig, key)
    for (const name of ['ann', 'bob']) await rig.statement(name)
    const release = rig.store.hold()
    const slow = rig.send(rig.bank.send, gift, { key: 'k' })
    await quiet()
    rig.store.answerNew()
    await rig.run(rig.bank.send, gift, { key: 'k' })
    await forgetKeys(rig, 'c')
    release()
    await quiet()
    rig.journal.flush()
    t.equal(codeOf(slow), 'ok')
    t.equal(await savedBy(rig, 'bob'), 101n)
  },
)

t.test('an answer that Postgres has lost is an error, not a second effect and not an endless search', async (t) => {
  const rig = await startBank({ more })
  await rig.run(count, {}, { key: 'k' })
  rig.apply()
  rig.store.outcomes.clear()
  t.equal(await rig.refusal(count, {}, { key: 'k' }), 'storage_unavailable')
  t.same([rig.shard.lastSeq, rig.store.outcomeReads, rig.faults.length], [1, 1, 1])
})

t.test('B1 a full window costs no more per key than an empty one', async (t) => {
  const window = new IdempotencyWindow({ windowMs: 1_000, entriesMax: 100_000 })
  const startedAt = performance.now()
  for (let seq = 1; seq <= 400_000; seq++) {
    window.remember({ key: `k${seq}`, fingerprint: '', outcome: { ok: true }, forever: false }, 0, seq)
    window.applied(seq)
  }
  t.equal(window.size, 100_000)
  t.ok(performance.now() - startedAt < 4_000, 'a walk over what was forgotten would take ten times that')
})

t.test('B1 a window restored with more than it takes keeps no answers that Postgres holds', async (t) => {
  const window = new IdempotencyWindow({ windowMs: 1_000, entriesMax: 10 })
  for (let seq = 1; seq <= 5_000; seq++) window.restore({ key: `k${seq}`, fingerprint: '', at: 0, seq, forever: false })
  window.applied(5_000)
  for (let seq = 5_001; seq <= 5_100; seq++) {
    window.remember({ key: `k${seq}`, fingerprint: '', outcome: { ok: true }, forever: false }, 0, seq)
    window.applied(seq)
  }
  t.same([window.size, window.find('k1', false, 0), window.find('k1', false, 1_000)], [10, 'unknown', 'absent'])
  t.match(window.find('k5100', false, 0), { outcome: undefined })
})

t.test(
  'an actor that rests, or is evicted from a tiny cache, is the same when it is needed, however far Postgres lags',
  async (t) => {
    const history = fc.array(fc.tuple(anyStep, fc.nat({ max: 3 })), { maxLength: 50 })
    await fc.assert(
      fc.asyncProperty(history, fc.integer({ min: 1, max: 3 }), async (history, cachedActorsMax) => {
        const roomy = await startBank()
        const tiny = await startBank({ limits: { cachedActorsMax, awakeActorsMax: 1 } })
        for (const [step, applies] of history) {
          for (const rig of [roomy, tiny]) {
            perform(rig, step)
            await quiet()
            rig.journal.flush()
            rig.apply(Math.min(rig.journal.durableSeq, rig.store.appliedSeq + applies))
          }
        }
        const { cached_actors, awake_actors, evicted_unapplied_actors } = tiny.shard.gauges()
        assert.ok((cached_actors ?? 0) <= cachedActorsMax)
        assert.ok((awake_actors ?? 0) <= 1)
        assert.ok((evicted_unapplied_actors ?? 0) <= 4)
        assert.deepEqual(await tiny.portrait(), await roomy.portrait())
        const [one, other] = [roomy, tiny].map(({ journal }) =>
          journal.bodies.map((body) => Buffer.from(body).toString('hex')),
        )
        assert.deepEqual(other, one)
        tiny.apply()
        assert.equal(tiny.shard.gauges().evicted_unapplied_actors, 0)
      }),
      { numRuns: 150 },
    )
    t.pass()
  },
)

t.test('an actor in memory stays there while an input that names it waits for another', async (t) => {
  const rig = await startCold({ cachedActorsMax: 1 })
  await rig.openAccount('cyd', 100n)
  rig.apply()
  await rig.statement('ann')
  let release = rig.store.hold()
  const firstRead = rig.shard.query(twoSavings, {})
  await quiet()
  rig.store.answerNew()
  await rig.statement('cyd')
  release()
  t.same(await firstRead, [100n, 100n])
  t.equal(rig.shard.gauges().evicted_unapplied_actors, 0, 'nobody is kept for longer than needed')

  await rig.statement('ann')
  release = rig.store.hold()
  const sent = rig.send(rig.bank.send, gift)
  const read = rig.shard.query(twoSavings, {})
  await quiet()
  rig.store.answerNew()
  await rig.statement('cyd')
  release()
  await quiet()
  rig.journal.flush()
  t.same([codeOf(sent), await read], ['ok', [99n, 101n]])
  rig.apply()
  t.equal(rig.shard.gauges().evicted_unapplied_actors, 0)
})
const twoSavings = {
  name: 'test.two',
  actors: () => [customer.ref('ann'), customer.ref('bob')],
  read: (scope: Parameters<Rig['bank']['statement']['read']>[0], _: object) =>
    ['ann', 'bob'].map((name) => scope.balance(customer.ref(name), 'savings')),
}

t.test('loads of one tick share one read of Postgres, and nothing under way is read twice', async (t) => {
  const rig = await startCold()
  const { store } = rig
  store.imageReads.length = 0
  const release = store.hold()
  rig.send(rig.bank.send, gift)
  rig.send(rig.bank.thank, { name: 'ann' })
  void rig.shard.query(twoSavings, {})
  rig.send(rig.bank.thank, { name: 'zoe' })
  await quiet()
  rig.send(rig.bank.send, { ...gift, to: 'zac' })
  await quiet()
  t.same(store.imageReads, [['customer/ann', 'customer/bob', 'customer/zoe'], ['customer/zac']])
  release()
  await quiet()
  rig.journal.flush()
  t.equal(await savedBy(rig, 'ann'), 99n)
  t.equal(store.imageReads.length, 2)
})

t.test('a creation that overtakes a load is what the waiting input finds', async (t) => {
  const create = defineCommand({
    name: 'test.create',
    input: z.object({ name: z.string() }),
    who: 'system',
    actors: ({ name }) => [customer.newRef(name)],
    handle: (turn, { name }) => turn.create(customer.ref(name), {}),
  })
  const rig = await startBank({ more: [create as Command], limits: { cachedActorsMax: 1 } })
  const release = rig.store.hold()
  const waiting = rig.send(rig.bank.thank, { name: 'ann' })
  await quiet()
  await rig.run(create, { name: 'ann' })
  rig.apply()
  await rig.run(create, { name: 'bob' })
  rig.apply()
  t.equal(rig.store.imageReads.length, 1, 'nothing was looked up for what is new')
  release()
  await quiet()
  rig.journal.flush()
  t.equal(codeOf(waiting), 'ok')
  rig.store.answerNew()
  t.equal((await rig.statement('ann')).thanks, 1)
})

t.test(
  'while Postgres is down what is in memory goes on, the rest is refused, and all is well afterwards',
  async (t) => {
    const rig = await startCold()
    await rig.statement('ann')
    rig.store.isDown = true
    t.ok((await rig.attempt(rig.bank.thank, { name: 'ann' })).ok)
    const outcome = await rig.attempt(rig.bank.send, gift, { key: 'k' })
    t.match(outcome, { error: { kind: 'unavailable', code: 'storage_unavailable', details: { retryAfterMs: 2_000 } } })
    await t.rejects(rig.statement('bob'), { code: 'storage_unavailable' })
    t.equal(rig.shard.gauges().loading_inputs, 0)
    rig.store.isDown = false
    t.ok((await rig.attempt(rig.bank.send, gift, { key: 'k' })).ok)
    t.equal(await savedBy(rig, 'bob'), 101n)
  },
)

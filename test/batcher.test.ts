/** Requests that go out together: who shares a call, who waits, who is refused (B1, K1–K3). */
import { deepStrictEqual } from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { DomainError } from '../engine/errors.js'
import { Batcher, type BatcherLimits } from '../gateway/drivers/batcher.js'
import { TestTime } from './support/third-party.js'

/** A batcher whose calls are answered by hand. Items are grouped by their first letter and weigh their length. */
function byHand(limits: Partial<BatcherLimits> = {}) {
  const time = new TestTime()
  const calls: { readonly items: readonly string[]; answer(results?: readonly string[]): void; fail(): void }[] = []
  const batcher = new Batcher<string, string>({
    name: 'test',
    environment: time,
    limits: { windowMs: 10, batchItemsMax: 3, batchWeightMax: 12, callsInFlightMax: 2, waitingMax: 5, ...limits },
    groupOf: (item) => item.charAt(0),
    weightOf: (item) => item.length,
    call: (items) =>
      new Promise((resolve, reject) => {
        const answer = (results = items.map((item) => item.toUpperCase())) => resolve(results)
        calls.push({ items, answer, fail: () => reject(new Error('no')) })
      }),
  })
  return { time, calls, batcher, sent: () => calls.map(({ items }) => items) }
}

t.test('a batch goes when it is full or its time is up, and carries one group', async (t) => {
  const { time, batcher, sent } = byHand({ callsInFlightMax: 9, waitingMax: 99 })
  const add = (...items: string[]) => {
    for (const item of items) void batcher.add(item)
  }
  add('a1', 'b1', 'a2', 'a3')
  t.strictSame(sent(), [['a1', 'a2', 'a3']], 'full')
  time.pass(9)
  t.equal(sent().length, 1)
  time.pass(1)
  t.strictSame(sent()[1], ['b1'], 'its time is up')
  add('c-345678', 'c-34567')
  t.strictSame(sent()[2], ['c-345678'], 'too heavy together')
  add('c1')
  time.pass(10)
  t.strictSame(sent()[3], ['c-34567', 'c1'], 'what was left has company')
  add('d-0123456789-0123456789')
  t.strictSame(sent()[4], ['d-0123456789-0123456789'], 'too heavy for any call, it goes alone')
  t.equal(time.timers, 0)
})

t.test('past the limits: two calls in flight, five wait, the rest is refused at once', async (t) => {
  const { time, calls, batcher, sent } = byHand()
  const flying = ['a', 'b'].map((item) => batcher.add(item))
  time.pass(10)
  const waiting = ['c1', 'd1', 'c2', 'c3', 'c4'].map((item) => batcher.add(item))
  await t.rejects(batcher.add('e'), { kind: 'unavailable', code: 'test_busy', details: { retryAfterMs: 2_000 } })
  t.match(batcher.gauges(), { waiting: 5, waiting_max: 5, calls_in_flight: 2, calls_in_flight_max: 2 })
  time.pass(60_000)
  t.equal(sent().length, 2, 'no third call, however long it takes')
  calls[0]?.fail()
  await t.rejects(async () => flying[0], /^no$/)
  t.strictSame(sent()[2], ['c1', 'c2', 'c3'])
  calls[1]?.answer()
  t.equal(await flying[1], 'B')
  t.strictSame(sent()[3], ['d1'], 'the group that was full does not go before the one that waited')
  for (const call of calls.slice(2)) call.answer()
  t.strictSame(await Promise.all(waiting.slice(0, 4)), ['C1', 'D1', 'C2', 'C3'])
  time.pass(10)
  calls[4]?.answer()
  t.equal(await waiting[4], 'C4')
  t.match(batcher.gauges(), { waiting: 0, calls_in_flight: 0, calls: 5, failed_calls: 1 })
})

t.test('a call with too few results fails, and leaves nobody waiting', async (t) => {
  const { time, calls, batcher } = byHand()
  const outcomes = Promise.allSettled(['a1', 'a2'].map((item) => batcher.add(item)))
  time.pass(10)
  calls[0]?.answer(['A1'])
  t.match(await outcomes, [{ status: 'rejected' }, { status: 'rejected' }])
})

t.test('a stop refuses what waits and what comes; a call under way still answers', async (t) => {
  const { time, calls, batcher, sent } = byHand({ callsInFlightMax: 1 })
  const flying = batcher.add('a')
  time.pass(10)
  const waiting = Promise.allSettled(['a2', 'b1'].map((item) => batcher.add(item)))
  batcher.stop()
  t.match(await waiting, [{ reason: { code: 'not_running' } }, { reason: { code: 'not_running' } }])
  await t.rejects(batcher.add('c'), { code: 'not_running' })
  calls[0]?.answer()
  t.equal(await flying, 'A')
  t.strictSame([sent().length, time.timers, batcher.gauges().waiting], [1, 0, 0])
})

const limits = { windowMs: 10, batchItemsMax: 3, batchWeightMax: 12, callsInFlightMax: 2, waitingMax: 5 }
type Step = { add: string } | { pass: number } | { end: number; well: boolean }
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ add: fc.stringMatching(/^[abc]\d{0,13}$/) }) },
  { weight: 2, arbitrary: fc.record({ pass: fc.integer({ min: 1, max: 12 }) }) },
  { weight: 2, arbitrary: fc.record({ end: fc.nat(1), well: fc.boolean() }) },
)

t.test('whatever the order of things: the limits hold, and each gets its own answer or an error', async (t) => {
  const oneRun = async (steps: readonly Step[]) => {
    const { time, calls, batcher } = byHand(limits)
    const open: typeof calls = []
    let seen = 0
    let refused = 0
    const wrong: string[] = []
    const asked: Promise<void>[] = []
    const look = () => {
      open.push(...calls.slice(seen))
      for (const { items } of calls.slice(seen)) {
        const weight = items.join('').length
        if (items.length > 3 || (items.length > 1 && weight > 12)) wrong.push(`too large: ${items}`)
        if (new Set(items.map((item) => item[0])).size !== 1) wrong.push(`mixed: ${items}`)
      }
      seen = calls.length
      const { waiting = 0, calls_in_flight = 0 } = batcher.gauges()
      if (waiting > 5 || calls_in_flight > 2 || calls_in_flight !== open.length) wrong.push('past a limit')
    }
    const ask = async (item: string) => {
      try {
        const answer = await batcher.add(item)
        if (answer !== item.toUpperCase()) wrong.push(`${item} got ${answer}`)
      } catch (error) {
        if (error instanceof DomainError) refused += 1
        else if (!(error instanceof Error) || error.message !== 'no') wrong.push(String(error))
      }
    }
    const end = async (index: number, well: boolean) => {
      const [call] = open.splice(index, 1)
      if (well) call?.answer()
      else call?.fail()
      await new Promise(setImmediate)
    }
    for (const one of steps) {
      if ('add' in one) asked.push(ask(one.add))
      else if ('pass' in one) time.pass(one.pass)
      else await end(Math.min(one.end, open.length - 1), one.well)
      look()
    }
    while (open.length > 0 || time.timers > 0) {
      time.pass(limits.windowMs)
      look()
      await end(0, true)
      look()
    }
    await Promise.all(asked) // K1: hangs if anybody is forgotten
    return {
      wrong,
      left: batcher.gauges().waiting,
      eachOnce: calls.flatMap(({ items }) => items).length + refused === asked.length,
    }
  }
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      deepStrictEqual(await oneRun(steps), { wrong: [], left: 0, eachOnce: true })
      t.pass()
    }),
    { numRuns: 300 },
  )
})

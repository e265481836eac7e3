// Hunts, without any chain: a limit that is off by one, a nonce given twice, a retry or an approval that must not count.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { payoutMoved } from '../actors/payout/facts.js'
import type { Report } from '../actors/payout/reports.js'
import { walletPaused } from '../actors/wallet/facts.js'
import { outflowWithinHour, preparedWithinMinute } from '../actors/wallet/machine.js'
import { HOUR, MINUTE, USDT } from './support/loyalty.js'
import { Bank } from './support/payout-bank.js'
import { WALLET } from './support/payout-program.js'

t.test('S4 a hundred payouts in any minute, and not one more', async (t) => {
  const bank = await Bank.open({ inFlightMax: 1_000 })
  const start = bank.world.clock.at
  const ids = await bank.owing(320, 1n)
  const take = async (at: number) => {
    bank.world.clock.set(start + at)
    const queued = (await bank.states(...ids))
      .split(' ')
      .flatMap((state, i) => (state === 'queued' ? [ids[i] ?? ''] : []))
    return (await bank.prepare(...queued.slice(0, 100))).prepared.length
  }
  t.equal(await take(999), 100)
  t.equal(await take(1_000), 0)
  t.equal(await take(60_000), 0, '59 seconds later is still within the minute')
  t.equal(await take(60_998), 0)
  t.equal(await take(61_000), 100)
  t.equal(await take(121_999), 0, 'counted by whole seconds, never a moment too early')
  t.equal(await take(122_000), 100)
})

t.test('S4 within any 60 seconds never more than the limit, whenever payouts are asked for', async (t) => {
  const ask = fc.record({ after: fc.integer({ min: 0, max: 40_000 }), count: fc.integer({ min: 1, max: 8 }) })
  await fc.assert(
    fc.asyncProperty(fc.array(ask, { minLength: 2, maxLength: 12 }), async (asks) => {
      const bank = await Bank.open({ perMinuteMax: 10, inFlightMax: 1_000 })
      const taken: number[] = []
      for (const { after, count } of asks) {
        bank.world.clock.advance(after)
        const ids = await bank.owing(count, 1n)
        const { prepared } = await bank.prepare(...ids)
        for (const _ of prepared) taken.push(bank.world.clock.at)
        const within = taken.filter((at) => at > bank.world.clock.at - MINUTE).length
        assert.ok(within <= 10, `${within} within a minute`)
      }
    }),
    { numRuns: 30 },
  )
  t.pass()
})

t.test('S4 no more are under way than the limit, and what is over makes room', async (t) => {
  const bank = await Bank.open({ inFlightMax: 3 })
  const ids = await bank.owing(5, 1n)
  t.equal((await bank.prepare(...ids)).prepared.length, 3)
  const [first = '', second = ''] = ids
  await bank.sign(first, second)
  t.equal((await bank.prepare(...ids)).prepared.length, 0)
  await bank.tell(bank.final(first, true))
  t.same(
    (await bank.prepare(...ids)).prepared.map(({ nonce }) => nonce),
    [3],
  )
})

t.test('S4, BJ-T18 limits to the cent: $25,000 a payout and payee, $50,000 a day until midnight UTC', async (t) => {
  const bank = await Bank.open()
  const cases: [bigint, string, string][] = [
    [25_000n * USDT + 1n, 'a', 'review payout_limit'],
    [25_000n * USDT, 'b', 'queued'],
    [1n, 'b', 'review payee_day_limit'],
    [24_999n * USDT, 'c', 'queued'],
    [1n * USDT, 'd', 'queued'],
    [1n, 'e', 'review wallet_day_limit'],
  ]
  const held: string[] = []
  const check = async ([amount, who, expected]: [bigint, string, string]) => {
    const id = await bank.owe(amount, who)
    const moved = bank.world.facts(payoutMoved).findLast(({ payoutId }) => payoutId === id)
    t.equal([moved?.state, moved?.because].filter(Boolean).join(' '), expected, `${amount} to ${who}`)
    if (moved?.state === 'review') held.push(id)
  }
  for (const each of cases) await check(each)
  bank.world.clock.set(Date.parse('2026-02-10T23:59:59.999Z'))
  await check([1n, 'f', 'review wallet_day_limit'])
  bank.world.clock.set(Date.parse('2026-02-11T00:00:00Z'))
  await check([25_000n * USDT, 'b', 'queued'])
  await check([25_000n * USDT, 'c', 'queued'])
  await check([1n, 'g', 'review wallet_day_limit'])

  const admin = await bank.world.openMember({ isAdmin: true })
  const before = (await bank.stand()).outflowToday
  for (const payoutId of held) {
    const { payee, intent } = await bank.detail(payoutId)
    await bank.world.run(bank.commands.approve, { payoutId, payee, intent }, admin)
  }
  t.equal((await bank.stand()).outflowToday, before, 'what a person agreed to leaves the day limit to the others')
})

t.test('S4, BJ-TRS-07 more than $500,000 in any hour pauses: nothing is prepared until a person resumes', async (t) => {
  const limits = { reviewAbove: 10n ** 15n, payeeDayReviewAbove: 10n ** 15n, dayReviewAbove: 10n ** 15n }
  const bank = await Bank.open(limits)
  const { clock, facts, run, openMember } = bank.world
  await bank.owe(250_000n * USDT)
  clock.advance(30 * MINUTE + 59_999)
  const ids = [await bank.owe(250_000n * USDT)]
  t.equal((await bank.stand()).pausedBecause, null, 'exactly the limit')
  clock.advance(29 * MINUTE)
  ids.push(await bank.owe(1n))
  t.equal((await bank.stand()).pausedBecause, 'hourly_outflow')
  t.equal(facts(walletPaused).length, 1)
  t.match(await bank.world.refusal(bank.commands.prepare, { wallet: WALLET, payoutIds: ids }), {
    code: 'wallet_paused',
  })
  const admin = await openMember({ isAdmin: true })
  await run(bank.commands.resumeWallet, { wallet: WALLET }, admin)
  t.equal((await bank.prepare(...ids)).prepared.length, 2)

  const later = await Bank.open(limits)
  await later.owe(500_000n * USDT)
  later.world.clock.advance(HOUR + MINUTE)
  await later.owe(500_000n * USDT)
  t.equal((await later.stand()).pausedBecause, null, 'the hour is over')
})

t.test('S4 the hour and the minute never forget early: whatever the times and amounts', (t) => {
  const times = fc.array(fc.tuple(fc.nat({ max: 3 * HOUR }), fc.integer({ min: 1, max: 9 })), { maxLength: 30 })
  const context = { prepared: [], hour: [] } as never as Parameters<typeof preparedWithinMinute>[0]
  fc.assert(
    fc.property(times, fc.nat({ max: 3 * HOUR }), (events, at) => {
      const past = events.filter(([when]) => when <= at)
      const hour = past.map(([when, amount]) => ({ minute: Math.floor(when / MINUTE), amount: BigInt(amount) }))
      const prepared = past.map(([when, count]) => ({ second: Math.floor(when / 1_000), count }))
      const sum = (ms: number) => past.reduce((total, [when, n]) => (when > at - ms ? total + n : total), 0)
      assert.ok(outflowWithinHour({ ...context, hour }, at) >= BigInt(sum(HOUR)))
      assert.ok(outflowWithinHour({ ...context, hour }, at) <= BigInt(sum(HOUR + MINUTE)))
      assert.ok(preparedWithinMinute({ ...context, prepared }, at) >= sum(MINUTE))
      assert.ok(preparedWithinMinute({ ...context, prepared }, at) <= sum(MINUTE + 1_000))
    }),
  )
  t.end()
})

t.test('S2 what is signed for a payout that has changed meanwhile is refused, so it is never sent', async (t) => {
  const bank = await Bank.open()
  const [id = '', other = ''] = await bank.owing(2, 5n)
  await bank.prepare(id, other)
  const first = await bank.signed(id)
  const rival = await bank.signed(id, '0xrival')
  await bank.tell(first)
  await bank.tell(first)
  t.equal((await bank.detail(id)).signed.length, 1, 'told twice')
  const refused = (report: Report) => bank.world.refusal(bank.commands.tell, { reports: [report] })
  t.match(await refused(rival), { code: 'signed_for_another' }, 'two pipelines')
  const stale = await bank.signed(other)
  await bank.tell({ type: 'unprepared', payoutId: other })
  t.match(await refused(stale), { code: 'signed_for_another' }, 'its nonce is free')
  const [third = ''] = await bank.owing(1, 5n)
  await bank.prepare(third, other)
  t.match(await refused(stale), { code: 'signed_for_another' }, 'it has another nonce')
  t.equal((await bank.detail(third)).nonce, 1, 'the free one')
})

t.test('S2, BJ-T39 retried only from failed, as another transfer; approvals are void for another intent', async (t) => {
  const bank = await Bank.open()
  const admin = await bank.world.openMember({ isAdmin: true })
  const [id = ''] = await bank.owing(1, 5n)
  const retry = async () => ({ payoutId: id, payee: (await bank.detail(id)).payee })
  const refused = async () =>
    t.match(await bank.world.refusal(bank.commands.retry, await retry(), admin), { code: 'payout_state' })
  await refused()
  await bank.prepare(id)
  await refused()
  await bank.sign(id)
  await refused()
  const { intent: before } = await bank.detail(id)
  await bank.tell(bank.final(id, false))
  t.match(await bank.stand(), { held: 0n, paid: 0n })
  await bank.world.run(bank.commands.retry, await retry(), admin)
  t.match(await bank.detail(id), { state: 'queued', attempt: 2, nonce: null, signed: [] })
  await bank.tell({ type: 'refused', payoutId: id, because: 'payee_refused' })
  const { payee, intent } = await bank.detail(id)
  t.not(intent, before)
  const approve = { payoutId: id, payee, intent: before }
  t.match(await bank.world.refusal(bank.commands.approve, approve, admin), { code: 'intent_changed' })
  await bank.world.run(bank.commands.approve, { ...approve, intent }, admin)
  await bank.prepare(id)
  await bank.tell(await bank.signed(id, '0xagain'))
  await bank.tell({ ...bank.final(id, true), hash: '0xagain' } as Report)
  t.match(await bank.stand(), { held: 0n, paid: 5n, nextNonce: 2 })
  await refused()
})

t.test(
  'a block with more payments than a turn takes otherwise is looked at whole, and each is credited once',
  async (t) => {
    const bank = await Bank.open()
    const before = (await bank.stand()).available
    const deposits = Array.from({ length: 300 }, (_, i) => ({
      hash: `0x${i}`,
      height: 11,
      counterparty: '0xc',
      amount: 1n,
    }))
    const block = { pool: WALLET, from: 11, through: 11 } as const
    const seen = { ...block, deposits, withdrawals: [] }
    for (let time = 0; time < 2; time++) await bank.world.run(bank.commands.watch, seen)
    t.equal((await bank.stand()).available, before + 300n)
  },
)

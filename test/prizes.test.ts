// Hunts: a prize nobody was due or one that was lost, two crypto prizes for one scan, a locked prize paid, money that
// moves twice or comes from nowhere, a comp that waits for ever, a chip doubled by a repeat.
import assert from 'node:assert/strict'
import t from 'tap'
import { blakjaksRules } from '../actors/programs/blakjaks/rules.js'
import { createLoyaltyProgram } from '../actors/programs/loyalty.js'
import { type PrizeBasis, prizesFor } from '../actors/programs/prizes.js'
import { compFunded, treasuryFunded } from '../actors/treasury/facts.js'
import {
  chipEarned,
  compAwarded,
  milestoneUnclaimed,
  scanAccepted,
  type TierName,
  tierNames,
} from '../actors/user/facts.js'
import { compUnlocked, tinsSold } from '../actors/volume/facts.js'
import { DAY, type Loyalty, type LoyaltyOptions, startLoyalty, USDT } from './support/loyalty.js'

type Barred = ReturnType<PrizeBasis['barred']>

/** What an ordinal wins by the real rules, as `awarded… | unclaimed because…`. */
function outcomeOf(ordinal: number, tier: TierName, bars: Readonly<Record<string, Barred>> = {}): string {
  const barred = (compType: string) => bars[compType] ?? null
  const { awarded, unclaimed } = prizesFor(blakjaksRules, { ordinal, tier, barred })
  const missed = unclaimed.map(({ rule, because }) => `${rule.compType} ${because}`)
  return [...awarded.map(({ compType }) => compType), '|', ...missed].join(' ')
}

/** The rule of BJ-T01 as an if-chain, for multiples of 500. */
function winsOf(ordinal: number, tier: TierName): string {
  const rank = tierNames.indexOf(tier)
  if (ordinal % 500_000 === 0 && rank >= 3) return 'trip crypto_10k'
  if (ordinal % 125_000 === 0 && rank >= 3) return 'crypto_10k'
  if (ordinal % 7_500 === 0 && rank >= 2) return 'crypto_1k'
  return rank >= 1 ? 'crypto_100' : ''
}

t.test('BJ-COMP-01…06, BJ-T01…T03 every milestone up to 1,500,000 by every tier', async (t) => {
  const cases: [number, TierName, string][] = [
    [1, 'whale', '|'],
    [499, 'whale', '|'],
    [501, 'whale', '|'],
    [500, 'standard', '| crypto_100 tier_too_low'],
    [500, 'vip', 'crypto_100 |'],
    [7_500, 'standard', '| crypto_1k tier_too_low'],
    [7_500, 'vip', 'crypto_100 |'],
    [7_500, 'high_roller', 'crypto_1k |'],
    [7_500, 'whale', 'crypto_1k |'],
    [125_000, 'vip', 'crypto_100 |'],
    [125_000, 'high_roller', 'crypto_100 |'],
    [125_000, 'whale', 'crypto_10k |'],
    [375_000, 'high_roller', 'crypto_1k |'],
    [375_000, 'whale', 'crypto_10k |'],
    [500_000, 'standard', '| trip tier_too_low crypto_10k tier_too_low'],
    [500_000, 'high_roller', 'crypto_100 | trip tier_too_low'],
    [500_000, 'whale', 'trip crypto_10k |'],
    [1_500_000, 'high_roller', 'crypto_1k | trip tier_too_low'],
    [1_500_000, 'whale', 'trip crypto_10k |'],
  ]
  for (const [ordinal, tier, outcome] of cases) t.equal(outcomeOf(ordinal, tier), outcome, `${ordinal} by ${tier}`)
  let right = 0
  for (let ordinal = 500; ordinal <= 1_500_000; ordinal += 500) {
    for (const tier of tierNames)
      if (outcomeOf(ordinal, tier).split('|')[0]?.trim() === winsOf(ordinal, tier)) right += 1
  }
  t.equal(right, 3_000 * 4)
  t.same(
    blakjaksRules.milestones.map(({ amount }) => amount),
    [0n, 10_000n * USDT, 1_000n * USDT, 100n * USDT],
  )
})

t.test('BJ-T03, BJ-T06 a locked prize is skipped for the next lower one, and one that stays is unclaimed', (t) => {
  const locked10k = { crypto_10k: 'locked' } as const
  const lockedAll = { ...locked10k, crypto_1k: 'locked', crypto_100: 'locked', trip: 'locked' } as const
  t.equal(outcomeOf(125_000, 'whale', locked10k), 'crypto_100 |')
  t.equal(outcomeOf(375_000, 'whale', locked10k), 'crypto_1k |')
  t.equal(outcomeOf(7_500, 'whale', { crypto_1k: 'locked' }), 'crypto_100 |')
  t.equal(outcomeOf(500_000, 'whale', lockedAll), '| trip locked crypto_10k locked')
  t.equal(outcomeOf(500_000, 'vip', lockedAll), '| trip tier_too_low crypto_10k tier_too_low')
  t.equal(outcomeOf(500_000, 'whale', { trip: 'monthly_limit' }), 'crypto_10k | trip monthly_limit')
  t.end()
})

async function worldWith(tier: TierName, scansBefore: number, options: LoyaltyOptions = {}) {
  const world = await startLoyalty({ scansBefore, ...options })
  const ann = await world.openMember()
  await world.giveTier(ann, tier)
  return { world, ann }
}

t.test('BJ-COMP-01 the 500th scan alone earns $100', async (t) => {
  const { world, ann } = await worldWith('vip', 498)
  await world.fund(1_000n, 'deposit')
  const [before, hit, after] = await world.makeCodes(3)
  t.match(await world.scan(ann, before), { comp_earned: null, milestone_hit: null, usdt_earned: 0n })
  const reply = await world.scan(ann, hit)
  const comp = { amount: 100n * USDT, type: 'crypto', lifetime_comps: 100n * USDT, wallet_balance: 0n, gold_chips: 0 }
  t.same(reply.comp_earned, comp, 'BJ-SCAN-09')
  t.match(reply, { milestone_hit: '500th', usdt_earned: 100n * USDT, scan: { ordinal: 500 } })
  t.match(await world.scan(ann, after), { comp_earned: null, scan: { ordinal: 501 } })
  const won = { compType: 'crypto_100', amount: 100n * USDT, ordinal: 500, milestone: '500th', funded: true }
  t.match(world.facts(compAwarded), [{ ...won, userId: ann.userId, scanId: reply.scan.id }])
  t.match(world.facts(scanAccepted)[1], { compType: 'crypto_100', compAmount: 100n * USDT, milestone: '500th' })
})

t.test('BJ-COMP-06 a milestone scanned by too low a tier is unclaimed and does not roll over', async (t) => {
  const { world, ann } = await worldWith('standard', 499)
  const bob = await world.openMember()
  await world.giveTier(bob, 'whale')
  const [hit, next] = await world.makeCodes(2)
  t.match(await world.scan(ann, hit), { comp_earned: null, scan: { ordinal: 500 } })
  t.match(await world.scan(bob, next), { comp_earned: null, scan: { ordinal: 501 } })
  const unclaimed = { ordinal: 500, userId: ann.userId, compType: 'crypto_100', because: 'tier_too_low' }
  t.match(world.facts(milestoneUnclaimed), [unclaimed])
})

t.test('BJ-T05 the tier after this scan decides: the 7th scan wins, the first of a quarter does not', async (t) => {
  const seventh = await startLoyalty({ scansBefore: 493 })
  const ann = await seventh.openMember()
  for (const code of await seventh.makeCodes(6)) t.equal((await seventh.scan(ann, code)).comp_earned, null)
  const { comp_earned: comp, tier_progress: progress } = await seventh.scan(ann, (await seventh.makeCodes(1))[0])
  t.match([comp?.amount, progress.current_tier], [100n * USDT, 'vip'])

  const first = await startLoyalty({ scansBefore: 492, at: '2026-03-31T23:00:00Z' })
  const bob = await first.openMember()
  for (const code of await first.makeCodes(7)) await first.scan(bob, code)
  first.clock.set('2026-04-01T00:00:00Z')
  t.equal((await first.scan(bob, (await first.makeCodes(1))[0])).comp_earned, null)
  t.match(first.facts(milestoneUnclaimed), [{ ordinal: 500, because: 'tier_too_low' }])
})

t.test('BJ-COMP-05, BJ-T02 crypto and trip are won together, each its own comp', async (t) => {
  const { world, ann } = await worldWith('whale', 1_499_999)
  await world.fund(10_000n, 'deposit')
  for (const compType of ['crypto_1k', 'crypto_10k', 'trip'] as const)
    await world.run(world.commands.unlock, { compType })
  const reply = await world.scan(ann, (await world.makeCodes(1))[0])
  t.match(reply, { usdt_earned: 10_000n * USDT, milestone_hit: '500000th', comp_earned: { type: 'trip', amount: 0n } })
  const [trip, crypto, ...rest] = world.facts(compAwarded)
  t.match(
    [trip, crypto],
    [
      { compType: 'trip', amount: 0n },
      { compType: 'crypto_10k', milestone: '125000th', funded: true },
    ],
  )
  t.not(trip?.compId, crypto?.compId)
  t.same(rest, [])
  t.equal((await world.viewOf(ann)).lifetimeComps, 10_000n * USDT)
})

t.test('BJ-UNL-01 the $100 prize is open from day 1: that is never news, and no threshold closes it', async (t) => {
  const { world, ann } = await worldWith('vip', 499)
  const show = async () => (await world.shard.query(world.queries.listUnlocks, {}))[0]
  t.match(await show(), { compType: 'crypto_100', unlocked: true, unlockedAt: null, tinsPerMonth: 0 })
  await world.run(world.commands.setThreshold, { compType: 'crypto_100', tinsPerMonth: 1_000 })
  t.match(await show(), { unlocked: true, tinsPerMonth: 1_000 })
  t.equal((await world.scan(ann, (await world.makeCodes(1))[0])).milestone_hit, '500th')
  await world.sell(3_000, 'sale')
  await world.run(world.commands.unlock, { compType: 'crypto_100' })
  t.same(world.facts(compUnlocked), [])
})

t.test('BJ-UNL-02…05, BJ-T07, BJ-T08 a 3-month average unlocks, for good', async (t) => {
  const world = await startLoyalty({ at: '2026-01-31T23:59:59.999Z' })
  const unlocked = () => world.facts(compUnlocked).map(({ compType }) => compType)
  await world.sell(7_498, 'January')
  world.clock.set('2026-03-31T23:59:59.999Z')
  await world.sell(1, 'March')
  t.same([unlocked(), world.facts(tinsSold).at(-1)?.average], [[], 7_499 / 3])
  world.clock.set('2026-04-01T00:00:00Z')
  await world.sell(1, 'April')
  t.same([unlocked(), world.facts(tinsSold).at(-1)?.average], [[], 2 / 3], 'January has left the window')
  await world.sell(7_498, 'April again')
  t.same(unlocked(), ['crypto_1k'], '2,500 a month')
  await world.sell(22_499, 'nearly')
  t.same(unlocked(), ['crypto_1k'])
  await world.sell(1, 'casino')
  await world.sell(120_000, '$10,000')
  await world.sell(1_350_000, 'trip')
  t.same(unlocked(), ['crypto_1k', 'casino', 'crypto_10k', 'trip'])
  world.clock.set('2027-04-01T00:00:00Z')
  const rows = await world.shard.query(world.queries.listUnlocks, {})
  t.same([rows.every((row) => row.unlocked), rows[0]?.average], [true, 0], 'an unlock does not lapse')
})

t.test('BJ-UNL-06 an admin unlocks by hand and moves thresholds', async (t) => {
  const world = await startLoyalty()
  await world.sell(3_000, 'sale')
  const set = (tinsPerMonth: number) => world.run(world.commands.setThreshold, { compType: 'crypto_1k', tinsPerMonth })
  const show = async () => (await world.shard.query(world.queries.listUnlocks, {}))[1]
  await set(1_001)
  t.match(await show(), { unlocked: false, tinsPerMonth: 1_001, average: 1_000 })
  await set(1_000)
  t.match(await show(), { unlocked: true, unlockedAt: world.clock.at })
  await set(5_000)
  t.match(await show(), { unlocked: true, tinsPerMonth: 5_000 }, 'BJ-T08 stays unlocked')
  await world.run(world.commands.unlock, { compType: 'trip' })
  await world.run(world.commands.unlock, { compType: 'trip' })
  t.same(
    world.facts(compUnlocked).map(({ compType, by }) => [compType, by]),
    [
      ['crypto_1k', 'system'],
      ['trip', 'system'],
    ],
  )
})

/** Only these prizes, so often, and no velocity limit. */
function winningEvery(often: { trip?: number; crypto_10k?: number; crypto_100?: number }) {
  const every = new Map<string, number>(Object.entries(often))
  const milestones = blakjaksRules.milestones.flatMap((rule) => {
    const scans = every.get(rule.compType)
    return scans === undefined ? [] : [{ ...rule, every: scans }]
  })
  const velocity = { scansMax: 100_000, windowMs: DAY }
  return createLoyaltyProgram('winning', { ...blakjaksRules, milestones, velocity, sessionMs: 10_000 * DAY })
}

t.test('BJ-UNL-05, BJ-T08 one trip a month for each 500,000 tins of the average', async (t) => {
  const { world, ann } = await worldWith('whale', 0, { program: winningEvery({ trip: 1 }), at: '2026-01-31T12:00:00Z' })
  const codes = await world.makeCodes(20)
  const trips = async (scans: number) => {
    const replies = []
    for (let scan = 0; scan < scans; scan++) replies.push(await world.scan(ann, codes.pop()))
    return replies.map(({ milestone_hit: hit }) => (hit === null ? '-' : 'trip')).join(' ')
  }
  t.equal(await trips(1), '-', 'locked')
  await world.sell(3_000_000, 'one third of it counts a month: two trips')
  t.equal(await trips(3), 'trip trip -')
  world.clock.set('2026-02-01T00:00:00Z')
  t.equal(await trips(3), 'trip trip -', 'a new month')
  world.clock.set('2026-04-01T00:00:00Z')
  t.equal(await trips(2), 'trip -', 'latched: one a month while the volume is low')
  t.same(
    world.facts(milestoneUnclaimed).map(({ because }) => because),
    ['locked', 'monthly_limit', 'monthly_limit', 'monthly_limit'],
  )
})

/** How the member pool stands: available, held, and what is due to comps that wait, in USDT. */
async function pool(world: Loyalty) {
  const [funding, available, held] = [
    await world.balance('funding'),
    await world.balance('available'),
    await world.balance('held'),
  ]
  assert.equal(funding + available + held, 0n, 'the ledger sums to zero')
  return [available / USDT, held / USDT, world.program.unfunded.size]
}

t.test('BJ-COMP-07 money for a comp is set aside once, and what is short waits, oldest first', async (t) => {
  const { world, ann } = await worldWith('whale', 0, { program: winningEvery({ crypto_100: 1 }) })
  const codes = await world.makeCodes(8)
  await world.fund(250n, 'first')
  for (const code of codes.slice(0, 5)) await world.scan(ann, code)
  t.same(await pool(world), [50n, 200n, 3])
  const waiting = world.facts(compAwarded).filter(({ funded }) => !funded)
  t.equal((await world.viewOf(ann)).lifetimeComps, 500n * USDT, 'won is won')
  await world.fund(49n, 'not enough')
  t.same(await pool(world), [99n, 200n, 3])
  await world.fund(1_000n, 'wrong pool', 'affiliate')
  t.same(await pool(world), [99n, 200n, 3])
  await world.fund(101n, 'two more')
  t.same(await pool(world), [0n, 400n, 1])
  await world.fund(200n, 'the last')
  t.same(await pool(world), [100n, 500n, 0])
  const funded = world.facts(compFunded).map(({ compId }) => compId)
  t.same(
    funded,
    waiting.map(({ compId }) => compId),
  )
  await world.scan(ann, codes[5])
  t.same(await pool(world), [0n, 600n, 0])
  const holds = world.records.flatMap(({ postings }) => postings).filter(({ kind }) => kind === 'payout.hold')
  t.equal(new Set(holds.map(({ reference }) => reference)).size, 6)
  t.equal(holds.length, 6, 'one hold a comp')
})

t.test('BJ-COMP-07 a small comp does not take what an older, larger one waits for', async (t) => {
  const { world, ann } = await worldWith('whale', 0, { program: winningEvery({ crypto_10k: 2, crypto_100: 1 }) })
  await world.run(world.commands.unlock, { compType: 'crypto_10k' })
  await world.fund(10_000n, 'nearly')
  const stands: unknown[] = []
  for (const code of await world.makeCodes(3)) {
    await world.scan(ann, code)
    stands.push(await pool(world))
  }
  for (const reference of ['a', 'b']) {
    await world.fund(100n, reference)
    stands.push(await pool(world))
  }
  t.same(stands, [
    [9_900n, 100n, 0],
    [9_900n, 100n, 1],
    [9_900n, 100n, 2],
    [0n, 10_100n, 1],
    [0n, 10_200n, 0],
  ])
})

t.test('BJ-COMP-07 more comps than one turn funds are funded in several, in order', async (t) => {
  const { world, ann } = await worldWith('whale', 0, { program: winningEvery({ crypto_100: 1 }) })
  const codes = await world.makeCodes(1_203)
  for (const code of codes) world.submit(world.commands.submitScan, { args: world.scanArgs(code), who: ann }, () => {})
  await world.idle()
  t.same(await pool(world), [0n, 0n, 1_203])
  await world.fund(120_300n, 'deposit')
  t.same(await pool(world), [0n, 120_300n, 0])
  const turns = world.records.filter(({ input }) => input.command === 'treasury.fund_waiting')
  t.same(
    turns.map(({ facts }) => facts.length),
    [500, 500, 203],
  )
  const [won, funded] = [world.facts(compAwarded), world.facts(compFunded)]
  t.same(
    funded.map(({ compId }) => compId),
    won.map(({ compId }) => compId),
  )
})

t.test('a deposit and a sale count once per reference, for ever', async (t) => {
  const world = await startLoyalty()
  for (const days of [0, 1, 400]) {
    world.clock.advance(days * DAY)
    t.match(await world.fund(100n, 'deposit'), { available: 100n * USDT, held: 0n }, `${days} days later`)
    await world.sell(30, 'sale')
  }
  await world.fund(5n, 'another')
  t.same(await pool(world), [105n, 0n, 0])
  t.equal(world.facts(treasuryFunded).length, 2)
  t.equal(world.facts(tinsSold).length, 1)
})

t.test('a deposit beyond any real money is refused instead of stopping the shard', async (t) => {
  const world = await startLoyalty()
  const fund = (amount: bigint, reference: string) =>
    world.refusal(world.commands.fund, { pool: 'member', amount, reference })
  for (const amount of [2n ** 63n, 2n ** 64n, 10n ** 30n])
    t.match(await fund(amount, 'typo'), { code: 'amount_too_large' })
  for (let at = 0; at < 4; at++) await world.fund(10n ** 12n / 4n, `quarter ${at}`)
  t.match(await fund(1n, 'one too much'), { kind: 'unprocessable', code: 'amount_too_large' })
  t.equal(await world.balance('available'), 10n ** 18n)
})

t.test('BJ-SCAN-11, BJ-AUTH-11 the referrer gets one chip for each scan, whatever is repeated', async (t) => {
  const world = await startLoyalty()
  const ann = await world.openMember({ username: 'Ann.K' })
  const bob = await world.openMember({ ref: 'aNN.k' })
  const lost = await world.openMember({ ref: 'nobody-here' })
  const codes = await world.makeCodes(4)
  const first = await world.attempt(world.commands.submitScan, world.scanArgs(codes[0] ?? ''), bob, 'key')
  const again = await world.attempt(world.commands.submitScan, world.scanArgs(codes[0] ?? ''), bob, 'key')
  t.same(again, first, 'the same key gets the one outcome')
  await world.scan(bob, codes[1])
  await world.refuseScan(bob, codes[1])
  await world.scan(ann, codes[2])
  await world.scan(lost, codes[3])
  const scans = world.facts(scanAccepted).filter(({ userId }) => userId === bob.userId)
  t.same(
    world.facts(chipEarned).map(({ userId, fromUserId, scanId }) => [userId, fromUserId, scanId]),
    scans.map(({ scanId }) => [ann.userId, bob.userId, scanId]),
  )
  t.equal((await world.viewOf(ann)).goldChips, 2)
  t.equal((await world.userOf(lost)).referrerId, null)
})

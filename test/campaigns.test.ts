// Hunts: a prize that a campaign owes paid from elsewhere, a campaign that pays more than its budget, money that is lost
// between pool, campaign and wallet, a prize that waits although its campaign was raised, one that two campaigns pay.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import type { CampaignState } from '../actors/campaign/commands.js'
import { campaignClosed, campaignOpened, campaignRaised } from '../actors/campaign/facts.js'
import { payoutRequested } from '../actors/payout/facts.js'
import { blakjaksRules } from '../actors/programs/blakjaks/rules.js'
import { createLoyaltyProgram } from '../actors/programs/loyalty.js'
import type { CompType } from '../actors/programs/rules.js'
import { compFunded, type Pool, treasuryReconciled } from '../actors/treasury/facts.js'
import { compAwarded } from '../actors/user/facts.js'
import { DAY, HOUR, startLoyalty, USDT } from './support/loyalty.js'

const START = '2026-02-10T12:00:00Z'
const startedAt = Date.parse(START)
const [MEMBER, AFFILIATE] = ['member', 'affiliate'] as const
const wallets = [MEMBER, AFFILIATE] as const

/** Every scan wins $100, every third $1,000; no limits but those of money. */
function generous() {
  const every = new Map<CompType, number>([
    ['crypto_1k', 3],
    ['crypto_100', 1],
  ])
  const milestones = blakjaksRules.milestones.flatMap((rule) => {
    const scans = every.get(rule.compType)
    return scans === undefined ? [] : [{ ...rule, every: scans }]
  })
  const unlimited = 10n ** 15n
  const reviews = { reviewAbove: unlimited, payeeDayReviewAbove: unlimited, dayReviewAbove: unlimited }
  const payouts = { ...blakjaksRules.payouts, ...reviews, hourPauseAbove: unlimited, perMinuteMax: 100_000 }
  const velocity = { scansMax: 100_000, windowMs: DAY }
  return createLoyaltyProgram('generous', { ...blakjaksRules, milestones, velocity, payouts, sessionMs: 10_000 * DAY })
}

type Opened = Partial<Parameters<ReturnType<typeof generous>['commands']['openCampaign']['handle']>[1]>

/** Two funded pools with their wallets, a member who can win everything, and codes to scan. */
async function open(scans: number, dollars = 10_000n) {
  const loyalty = await startLoyalty({ program: generous(), at: START })
  const { commands, queries, shard, run } = loyalty
  const ann = await loyalty.openMember()
  await loyalty.giveTier(ann, 'whale')
  await run(commands.unlock, { compType: 'crypto_1k' })
  await run(commands.setPayeeAddress, { userId: ann.userId, address: '0xann', provider: 'external' })
  for (const wallet of wallets) {
    if (dollars > 0n) await loyalty.fund(dollars, `deposit ${wallet}`, wallet)
    const found = { chain: 'eip155:1', address: `0x${wallet}`, nonce: 0, height: 0, onChain: dollars * USDT }
    await run(commands.bind, { wallet, ...found })
  }
  const codes = await loyalty.makeCodes(scans)
  let finals = 0

  const openArgs = (id: string, over: Opened = {}) => ({
    ...{ id, pool: MEMBER as Pool, compTypes: ['crypto_100' as const], budget: 250n * USDT },
    ...{ startsAt: null, endsAt: null, ...over },
  })
  const detail = async (payoutId: string) =>
    (await shard.query(queries.payoutDetail, { payoutId })) ?? assert.fail(`no payout ${payoutId}`)

  return {
    ...loyalty,
    ann,
    openArgs,
    detail,
    scan: async () => {
      await loyalty.scan(ann, codes.pop())
      return loyalty.facts(compAwarded).at(-1) ?? assert.fail('every scan wins')
    },
    start: (id: string, over?: Opened) => run(commands.openCampaign, openArgs(id, over)),
    refuse: async (id: string, over?: Opened) =>
      (await loyalty.refusal(commands.openCampaign, openArgs(id, over))).code,
    raise: (id: string, dollars: bigint) => run(commands.raiseCampaign, { id, amount: dollars * USDT }),
    close: async (id: string) => (await run(commands.closeCampaign, { id })).returned / USDT,
    campaign: async (id: string): Promise<CampaignState> =>
      (await shard.query(queries.campaignState, { id })) ?? assert.fail(`no campaign ${id}`),
    poolOf: async (name: Pool) => {
      const states = await shard.query(queries.walletStates, {})
      return states.find(({ wallet }) => wallet === name) ?? assert.fail(`no pool ${name}`)
    },
    payoutsIn: async (wanted: string) => {
      const details = await Promise.all(loyalty.facts(payoutRequested).map(({ payoutId }) => detail(payoutId)))
      return details.flatMap(({ payoutId, state }) => (state === wanted ? [payoutId] : []))
    },
    /** Signs and sends a payout that is queued, for good: `ok`, or reverted. False when it is not queued. */
    finish: async (payoutId: string, ok: boolean) => {
      const { state, wallet, attempt } = await detail(payoutId)
      if (state !== 'queued') return false
      await run(commands.prepare, { wallet: wallet as Pool, payoutIds: [payoutId] })
      const { nonce } = await detail(payoutId)
      const [transferId, hash] = [attempt === 1 ? payoutId : `${payoutId}#${attempt}`, `0x${payoutId}/${attempt}`]
      const terms = { kind: 'evm' as const, maxFeePerGas: 1n, maxPriorityFeePerGas: 1n, gas: 1n }
      const signed = { type: 'signed' as const, payoutId, transferId, nonce, after: null }
      await run(commands.tell, { reports: [{ ...signed, transaction: { hash, raw: '0x', terms } }] })
      finals += 1
      const final = { type: 'final' as const, payoutId, hash, block: { height: finals, hash: '0xb' }, ok, fee: 1n }
      await run(commands.tell, { reports: [final] })
      return true
    },
  }
}

/** In dollars: budget, held, paid, left, returned, and how many wait. */
const figures = ({ budget, held, paid, left, returned, waiting }: CampaignState) => [
  ...[budget, held, paid, left, returned].map((amount) => Number(amount / USDT)),
  waiting.count,
]

t.test('prizes are held from the campaign; exhausted, they wait for it, not for the pool', async (t) => {
  const world = await open(10)
  await world.start('spring')
  t.match(await world.poolOf(MEMBER), { available: 9_750n * USDT, campaigns: 250n * USDT, held: 0n })
  const first = await world.scan()
  t.match(first, { campaign: 'spring', compType: 'crypto_100', funded: true })
  await world.scan()
  const large = await world.scan()
  t.match(large, { compType: 'crypto_1k', funded: true })
  t.notOk('campaign' in large, 'other prizes are held from the pool')
  t.match(await world.scan(), { campaign: 'spring', funded: false })
  t.match(await world.scan(), { campaign: 'spring', funded: false })
  t.same(figures(await world.campaign('spring')), [250, 200, 0, 50, 0, 2])
  t.match(await world.poolOf(MEMBER), { available: 8_750n * USDT, campaigns: 50n * USDT, held: 1_200n * USDT })
  await world.fund(500n, 'for the pool')
  t.equal(world.facts(compFunded).length, 0, 'never from elsewhere')
  await world.raise('spring', 49n)
  t.equal(world.facts(compFunded).length, 0)
  await world.raise('spring', 1n)
  t.same(figures(await world.campaign('spring')), [300, 300, 0, 0, 0, 1])
  await world.raise('spring', 150n)
  t.same(figures(await world.campaign('spring')), [450, 400, 0, 50, 0, 0])
  t.ok(await world.finish(first.compId, true))
  t.same(figures(await world.campaign('spring')), [450, 300, 100, 50, 0, 0])
  t.match(await world.poolOf(MEMBER), { held: 1_300n * USDT, paid: 100n * USDT })
  const owed = world.facts(payoutRequested).map(({ campaign = 'pool' }) => campaign)
  t.same(owed, ['spring', 'spring', 'pool', 'spring', 'spring'])
})

t.test('what a failed payout returns stays with its campaign, and its retry takes it from there', async (t) => {
  const world = await open(4)
  await world.start('spring', { budget: 100n * USDT, pool: AFFILIATE })
  const { compId } = await world.scan()
  t.match(await world.detail(compId), { wallet: AFFILIATE, campaign: 'spring', state: 'queued' })
  await world.finish(compId, false)
  t.same(figures(await world.campaign('spring')), [100, 0, 0, 100, 0, 0])
  const retry = { payoutId: compId, payee: world.ann.userId }
  const second = await world.scan()
  t.match(await world.refusal(world.commands.retry, retry), { code: 'insufficient_funds', message: /campaign spring/ })
  await world.run(world.commands.cancel, { payoutId: second.compId, because: 'test' })
  await world.run(world.commands.retry, retry)
  t.same(figures(await world.campaign('spring')), [100, 100, 0, 0, 0, 0])
  t.equal(await world.close('spring'), 0n)
  await world.finish(compId, false)
  t.same(figures(await world.campaign('spring')), [100, 0, 0, 100, 0, 0], 'also when it is closed')
  t.equal(await world.close('spring'), 100n)
  t.match(await world.refusal(world.commands.retry, retry), { code: 'insufficient_funds' })
  await world.raise('spring', 100n)
  await world.run(world.commands.retry, retry)
  await world.finish(compId, true)
  t.same(figures(await world.campaign('spring')), [200, 0, 100, 0, 100, 0])
  t.match(await world.poolOf(AFFILIATE), { available: 9_900n * USDT, campaigns: 0n, held: 0n, paid: 100n * USDT })
})

t.test(
  'closed, it gives back what is left, which funds what waits for the pool; what waits for it stays its',
  async (t) => {
    const world = await open(10, 1_000n)
    await world.start('spring', { budget: 150n * USDT })
    await world.scan()
    await world.scan()
    await world.start('large', { compTypes: ['crypto_1k'], budget: 850n * USDT })
    t.match(await world.scan(), { campaign: 'large', funded: false })
    t.equal(await world.close('large'), 850n)
    t.equal(await world.close('large'), 0n, 'closing twice is nothing')
    t.match(await world.campaign('large'), { phase: 'closed', waiting: { count: 1, amount: 1_000n * USDT } })
    t.equal(world.facts(compFunded).length, 0, 'a prize of a campaign waits for that campaign')
    await world.start('large-2', { compTypes: ['crypto_1k'], budget: 800n * USDT })
    await world.run(world.commands.closeCampaign, { id: 'spring' })
    t.match(await world.scan(), { funded: true }, 'nothing that waits for a campaign is in the way of the pool')
    for (const _ of [1, 2]) await world.scan()
    t.match(world.facts(compAwarded).slice(-2), [{ funded: false }, { campaign: 'large-2', funded: false }])
    await world.close('large-2')
    t.equal(world.facts(compFunded).length, 1, 'returned to the pool, it funds what waits for the pool')
    await world.fund(1_000n, 'more')
    await world.raise('large', 1_000n)
    t.match(await world.campaign('large'), { phase: 'closed', held: 1_000n * USDT, waiting: { count: 0 } })
    t.equal(await world.close('large'), 0n)
    t.equal(world.facts(campaignClosed).length, 3)
  },
)

t.test('it runs from its start until before its end, then closes itself, also after a restart', async (t) => {
  const world = await open(10)
  const [startsAt, endsAt] = [startedAt + HOUR, startedAt + 3 * HOUR]
  await world.start('spring', { startsAt, endsAt })
  t.match(await world.poolOf(MEMBER), { campaigns: 250n * USDT }, 'its money is set aside at once')
  t.match(await world.campaign('spring'), { phase: 'scheduled' })
  t.notOk('campaign' in (await world.scan()))
  world.clock.set(startsAt)
  t.match(await world.campaign('spring'), { phase: 'running' })
  t.match(await world.scan(), { campaign: 'spring' })
  const revived = await startLoyalty({ program: generous(), at: START, after: world })
  revived.clock.set(endsAt)
  await revived.idle()
  const state = await revived.shard.query(revived.queries.campaignState, { id: 'spring' })
  t.match(state, { phase: 'closed', closedAt: endsAt, held: 100n * USDT, left: 0n, returned: 150n * USDT })
  t.match(revived.facts(campaignClosed), [{ by: 'system', returned: 150n * USDT }])
  t.notOk(await revived.balance('available').then((available) => available !== 9_800n * USDT))
})

t.test('what cannot be opened, raised or closed leaves no trace', async (t) => {
  const world = await open(1, 1_000n)
  const before = world.records.length
  t.equal(await world.refuse('much', { budget: 1_001n * USDT }), 'insufficient_funds')
  t.equal(await world.refuse('late', { endsAt: startedAt }), 'campaign_over')
  t.equal(await world.refuse('late', { startsAt: startedAt + 2 * HOUR, endsAt: startedAt + HOUR }), 'campaign_over')
  for (const command of [world.commands.raiseCampaign, world.commands.closeCampaign]) {
    t.match(await world.refusal(command as never, { id: 'none', amount: 1n } as never), { code: 'campaign_unknown' })
  }
  t.equal(world.records.length, before)
  await world.start('first', { compTypes: ['crypto_100', 'crypto_1k'], endsAt: startedAt + HOUR })
  t.equal(await world.refuse('first'), 'campaign_exists')
  t.equal(await world.refuse('other', { compTypes: ['crypto_10k', 'crypto_1k'] }), 'campaign_overlaps')
  t.equal(await world.refuse('other', { endsAt: startedAt + 1 }), 'campaign_overlaps')
  await world.start('next', { startsAt: startedAt + HOUR })
  await world.start('beside', { compTypes: ['crypto_10k'] })
  const { code } = await world.refusal(world.commands.raiseCampaign, { id: 'next', amount: 251n * USDT })
  t.equal(code, 'insufficient_funds')
  await world.close('first')
  t.equal(await world.refuse('first'), 'campaign_exists', 'an id is never used again')
  t.match(
    world.facts(campaignOpened).map(({ campaign }) => campaign),
    ['first', 'next', 'beside'],
  )
  const list = await world.shard.query(world.queries.campaignStates, {})
  t.same(
    list.map(({ id, phase }) => `${id} ${phase}`),
    ['beside running', 'next scheduled', 'first closed'],
  )
  const ann = await world.refusal(world.commands.closeCampaign, { id: 'next' }, { ...world.ann, role: 'member' })
  t.match(ann, { kind: 'forbidden' })
})

t.test('there are only so many campaigns', async (t) => {
  const world = await open(1, 1_000n)
  for (let each = 0; each < 500; each++) {
    await world.start(`c${each}`, { budget: 1n })
    await world.close(`c${each}`)
  }
  t.equal(await world.refuse('one-more', { budget: 1n }), 'too_many_campaigns')
})

type Step =
  | {
      readonly do: 'open'
      readonly dollars: number
      readonly large: boolean
      readonly hours: number
      readonly pool: Pool
    }
  | { readonly do: 'raise'; readonly pick: number; readonly dollars: number }
  | { readonly do: 'close' | 'settle' | 'fail' | 'retry' | 'cancel'; readonly pick: number }
  | { readonly do: 'scan' | 'wait' }
  | { readonly do: 'fund'; readonly dollars: number; readonly pool: Pool }

const pick = fc.nat({ max: 50 })
const dollars = fc.integer({ min: 1, max: 800 })
const anyPool = fc.constantFrom(...wallets)
const does = <Name extends string>(...names: readonly Name[]) => fc.constantFrom(...names)
const anyStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      ...{ do: does('open' as const), dollars, large: fc.boolean() },
      ...{ hours: fc.integer({ min: 0, max: 8 }), pool: anyPool },
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: does('raise' as const), pick, dollars }) },
  { weight: 1, arbitrary: fc.record({ do: does('close' as const), pick }) },
  { weight: 8, arbitrary: fc.record({ do: does('scan' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: does('wait' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: does('fund' as const), dollars, pool: anyPool }) },
  { weight: 6, arbitrary: fc.record({ do: does('settle' as const, 'fail', 'fail', 'retry', 'cancel'), pick }) },
)

type World = Awaited<ReturnType<typeof open>>

/** Does one step, as far as it can be done now. */
async function perform(world: World, step: Step, count: number): Promise<void> {
  const { commands, ann } = world
  const ids = (await world.shard.query(world.queries.campaignStates, {})).map(({ id }) => id)
  const payouts = await world.payoutsIn(step.do === 'retry' ? 'failed' : 'queued')
  const chosen = (of: readonly string[]) => ('pick' in step ? of[step.pick % Math.max(1, of.length)] : undefined)
  const [id, payoutId] = [chosen(ids), chosen(payouts)]
  if (step.do === 'open') {
    const compTypes = step.large ? ['crypto_100' as const, 'crypto_1k' as const] : ['crypto_100' as const]
    const endsAt = step.hours === 0 ? null : world.clock.at + step.hours * HOUR
    const over = { budget: BigInt(step.dollars) * USDT, compTypes, endsAt, pool: step.pool }
    await world.attempt(commands.openCampaign, world.openArgs(`c${count}`, over))
  } else if (step.do === 'scan') await world.scan()
  else if (step.do === 'wait') {
    world.clock.advance(2 * HOUR)
    await world.idle()
  } else if (step.do === 'fund') {
    await world.fund(BigInt(step.dollars), `${count}`, step.pool)
  } else if (step.do === 'raise') {
    if (id !== undefined) await world.attempt(commands.raiseCampaign, { id, amount: BigInt(step.dollars) * USDT })
  } else if (step.do === 'close') {
    if (id !== undefined) await world.close(id)
  } else if (payoutId === undefined) return
  else if (step.do === 'retry') await world.attempt(commands.retry, { payoutId, payee: ann.userId })
  else if (step.do === 'cancel') await world.attempt(commands.cancel, { payoutId, because: 'test' })
  else await world.finish(payoutId, step.do === 'settle')
}

const add = (amounts: readonly bigint[]) => amounts.reduce((sum, amount) => sum + amount, 0n)
const over = ['settled', 'failed', 'cancelled']

/** Every campaign and every pool against what became of each prize. */
async function mustHold(world: World): Promise<void> {
  const payouts = await Promise.all(world.facts(payoutRequested).map(({ payoutId }) => world.detail(payoutId)))
  const comps = world.facts(compAwarded)
  const states = await world.shard.query(world.queries.campaignStates, {})
  for (const { id, pool, budget, held, paid, left, returned, waiting } of states) {
    const own = payouts.filter(({ campaign }) => campaign === id)
    assert.ok(own.every(({ wallet }) => wallet === pool))
    assert.equal(paid, add(own.flatMap(({ state, amount }) => (state === 'settled' ? [amount] : []))))
    assert.equal(held, add(own.flatMap(({ state, amount }) => (over.includes(state) ? [] : [amount]))))
    assert.equal(budget, held + paid + left + returned, 'nothing comes from elsewhere, nothing is lost')
    assert.ok(paid + held <= budget)
    const won = comps.filter(({ campaign }) => campaign === id)
    assert.equal(won.length, own.length + waiting.count, 'what it owes is on its way or waits')
    const owed = won.filter(({ compId }) => !own.some(({ payoutId }) => payoutId === compId))
    assert.equal(waiting.amount, add(owed.map(({ amount }) => amount)))
  }
  for (const name of wallets) {
    const { available, campaigns, held, paid, onWallet } = await world.poolOf(name)
    const funding = await world.balance('funding', name)
    assert.equal(funding + available + campaigns + held + paid, 0n)
    assert.equal(onWallet, -funding - paid)
    assert.equal(paid, add(payouts.flatMap((it) => (it.wallet === name && it.state === 'settled' ? [it.amount] : []))))
  }
}

/** Ledger and chain at the end: what was ever paid in, less what was paid out. */
async function reconcile(world: World, finals: number): Promise<void> {
  const { commands } = world
  for (const pool of wallets) {
    const { paid } = await world.poolOf(pool)
    const deposited = -(await world.balance('funding', pool))
    const announced = deposited - 10_000n * USDT
    const hashes = world.facts(payoutRequested).flatMap(({ payoutId, wallet }) => (wallet === pool ? [payoutId] : []))
    const details = await Promise.all(hashes.map((payoutId) => world.detail(payoutId)))
    const movement = { height: finals + 1, counterparty: '0xc' }
    const withdrawals = details.flatMap(({ state, mined, amount }) =>
      state === 'settled' && mined !== null ? [{ ...movement, hash: mined.hash, amount }] : [],
    )
    const deposits = announced > 0n ? [{ ...movement, hash: '0xd', amount: announced }] : []
    await world.run(commands.watch, { pool, from: 1, through: finals + 1, deposits, withdrawals })
    const seen = { pool, height: finals + 1, onChain: deposited - paid }
    await world.run(commands.reconcile, { ...seen, cause: 'continuous' })
    const told = world.facts(treasuryReconciled).at(-1)
    assert.equal(told?.difference, 0n)
    assert.equal(told?.status, 'balanced')
  }
}

t.test('L2, L3 after any history: every sum is right, and no campaign pays more than its budget', async (t) => {
  const met = new Map<string, number>()
  const meet = (what: string, times = 1) => met.set(what, (met.get(what) ?? 0) + times)
  await fc.assert(
    fc.asyncProperty(fc.array(anyStep, { minLength: 20, maxLength: 60, size: 'max' }), async (history) => {
      const world = await open(60)
      for (const [count, step] of history.entries()) {
        await perform(world, step, count)
        await mustHold(world)
      }
      await reconcile(world, 1_000)
      const comps = world.facts(compAwarded)
      meet('won of a campaign', comps.filter(({ campaign }) => campaign !== undefined).length)
      meet('waited', comps.filter(({ campaign, funded }) => campaign !== undefined && !funded).length)
      meet('funded later', world.facts(compFunded).length)
      meet('raised', world.facts(campaignRaised).length)
      meet(
        'closed by time',
        world.facts(campaignClosed).filter(({ by, returned }) => by === 'system' && returned > 0n).length,
      )
      const ids = world.facts(payoutRequested).flatMap(({ payoutId, campaign }) => (campaign ? [payoutId] : []))
      for (const { state } of await Promise.all(ids.map(world.detail))) meet(state)
    }),
    { numRuns: 40 },
  )
  for (const what of ['won of a campaign', 'waited', 'funded later', 'raised', 'settled', 'failed', 'cancelled']) {
    t.ok(met.get(what), `${what}: ${met.get(what)}`)
  }
})

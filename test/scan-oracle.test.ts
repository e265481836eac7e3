// Hunts: an ordinal given twice or skipped, a code used twice, a prize by a stale tier, a comp paid out of nothing, a
// chip lost or doubled, and any other way in which the order of events, eviction or recovery changes what is right.
// Random histories run on the shard and on a plain-loop oracle of the whole rule set; both must tell the same story.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { blakjaksRules } from '../actors/programs/blakjaks/rules.js'
import { createLoyaltyProgram } from '../actors/programs/loyalty.js'
import { compFunded } from '../actors/treasury/facts.js'
import { milestoneUnclaimed, scanRejected, tierChanged } from '../actors/user/facts.js'
import { type Command, type Principal, system } from '../engine/command.js'
import {
  Oracle,
  type OracleMember,
  SMALL_SCANS_PER_HOUR,
  smallMilestones,
  smallTiers,
  smallUnlocks,
} from '../engine/simulator/loyalty-oracle.js'
import { storiesOfOracle, storiesOfRecords, storyOfScan } from '../engine/simulator/loyalty-stories.js'
import { DAY, HOUR, type Loyalty, MINUTE, packTexts, startLoyalty, USDT, uuid } from './support/loyalty.js'

const smallProgram = () =>
  createLoyaltyProgram('small', {
    ...blakjaksRules,
    tiers: smallTiers,
    milestones: smallMilestones,
    unlocks: smallUnlocks,
    velocity: { scansMax: SMALL_SCANS_PER_HOUR, windowMs: HOUR },
    sessionMs: 10_000 * DAY,
  })

const MEMBERS = 5
/** How many codes of each status; then come two that were never made and one that cannot be. */
const CODES = { manufactured: 110, generated: 5, invalidated: 5 } as const
const NO_CODES = ['7777-7777-7777', 'WXYZ-WXYZ-WXYZ', 'ABCD-EFGH-IJKL']
const CODES_MAX = 122

// Unbiased, or a few codes would be tried again and again.
const member = fc.noBias(fc.nat({ max: MEMBERS - 1 }))
const code = fc.noBias(fc.nat({ max: CODES_MAX }))
const tins = fc.integer({ min: 1, max: 16 })
const compType = fc.constantFrom('crypto_100', 'crypto_1k', 'casino', 'crypto_10k', 'trip')
const tier = fc.constantFrom(null, 'standard', 'vip', 'high_roller', 'whale')
const reference = fc.nat({ max: 11 }).map(String)
const dollars = fc.constantFrom(60n, 100n, 150n, 1_000n, 9_999n, 20_000n)
const status = fc.constantFrom('manufactured', 'invalidated', 'generated')
const ms = fc.constantFrom(1, 5 * MINUTE, 20 * MINUTE, HOUR - 1, HOUR, 9 * DAY, 40 * DAY)
const a = <Kind extends string, Fields extends object>(weight: number, kind: Kind, fields: Fields) => ({
  weight,
  arbitrary: fc.record({ kind: fc.constant(kind), ...fields }) as never as fc.Arbitrary<
    { kind: Kind } & { [Name in keyof Fields]: Fields[Name] extends fc.Arbitrary<infer Value> ? Value : never }
  >,
})
const step = fc.oneof(
  a(60, 'scan', { member, code: fc.option(code, { freq: 2 }) }),
  a(9, 'wait', { ms }),
  a(6, 'fund', { dollars, reference }),
  a(6, 'sell', { tins, reference, buyer: fc.option(member) }),
  a(1, 'unlock', { compType }),
  a(1, 'threshold', { compType, tins }),
  a(2, 'tier', { member, tier }),
  a(1, 'suspend', { member }),
  a(2, 'return', { member }),
  a(2, 'codes', { codes: fc.array(code, { maxLength: 4 }), status }),
)
type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never

/** One history: told to the shard as it comes, and to the oracle in the order of the turns. */
class History {
  readonly oracle = new Oracle()
  readonly codes: string[] = []
  readonly #members: Principal[] = []
  #logins = 0
  /** The next code that nobody was sent to on purpose. */
  #fresh = 0

  constructor(readonly world: Loyalty) {}

  async begin(): Promise<void> {
    const { world, oracle } = this
    // The first two came alone, the third by the first one's link, the others by the second one's.
    for (const referrer of [0, 0, 1, 2, 2]) {
      const member = await world.openMember(referrer === 0 ? {} : { ref: `MEMBER${referrer}` })
      oracle.addMember(member.userId, member.sessionId, oracle.members[referrer - 1] ?? null)
      this.#members.push(member)
    }
    for (const status of ['manufactured', 'generated', 'invalidated'] as const) {
      const made = await world.makeCodes(CODES[status], status)
      for (const text of made) oracle.codes.set(text, status)
      this.codes.push(...made)
    }
    this.codes.push(...NO_CODES)
    world.shard.subscribe(({ consumed, input }) => {
      if (consumed === null) return
      world.noting(() => oracle.deliver(input.command, input.args as { userId?: string }, input.at))
    })
  }

  tell(step: Step): void {
    const { oracle, world } = this
    const { commands, clock } = world
    switch (step.kind) {
      case 'scan':
        this.#scan(this.#of(step.member), this.codes[step.code ?? this.#fresh++] ?? '')
        break
      case 'wait':
        clock.advance(step.ms)
        break
      case 'fund': {
        const amount = step.dollars * USDT
        const args = { pool: 'member' as const, amount, reference: step.reference }
        this.#ask(commands.fund, args, () => oracle.fund(amount, step.reference))
        break
      }
      case 'sell': {
        const buyer = step.buyer === null ? null : this.#of(step.buyer).known
        const args = { tins: step.tins, reference: step.reference, userId: buyer?.userId ?? null }
        this.#ask(commands.recordSale, args, () => oracle.sell(step.tins, step.reference, buyer, clock.at))
        break
      }
      case 'unlock':
        this.#ask(commands.unlock, { compType: step.compType }, () => oracle.unlock(step.compType))
        break
      case 'threshold': {
        const { compType, tins: tinsPerMonth } = step
        const tell = () => oracle.setThreshold(compType, tinsPerMonth, clock.at)
        this.#ask(commands.setThreshold, { compType, tinsPerMonth }, tell)
        break
      }
      case 'tier': {
        const { known } = this.#of(step.member)
        const args = { userId: known.userId, tier: step.tier }
        this.#ask(commands.setTier, args, () => oracle.setTier(known, step.tier, clock.at))
        break
      }
      case 'suspend': {
        const { known } = this.#of(step.member)
        const args = { userId: known.userId, standing: 'suspended' as const, reason: 'test' }
        this.#ask(commands.setStanding, args, () => oracle.suspend(known))
        break
      }
      case 'return':
        this.#return(step.member)
        break
      case 'codes':
        this.#moveCodes(
          step.codes.map((at) => this.codes[at] ?? ''),
          step.status,
        )
    }
  }

  #of(at: number): { who: Principal; known: OracleMember } {
    return { who: this.#members[at] ?? assert.fail(), known: this.oracle.members[at] ?? assert.fail() }
  }

  #ask<Args, Reply>(command: Command<Args, Reply>, args: Args, tell: (reply: Reply) => void): void {
    this.world.submit(command, { args, who: system }, (outcome) => {
      if (!outcome.ok) throw outcome.error
      tell(outcome.reply)
    })
  }

  #scan({ who, known }: { who: Principal; known: OracleMember }, text: string): void {
    const { world, oracle } = this
    world.submit(world.commands.submitScan, { args: world.scanArgs(text), who }, (outcome) => {
      assert.deepEqual(storyOfScan(outcome), oracle.scan(known, who.sessionId, text, world.clock.at))
    })
  }

  /** Activates a member, who then logs in. */
  #return(at: number): void {
    const { commands } = this.world
    const { who, known } = this.#of(at)
    const { userId } = known
    const sessionId = uuid('5e5', ++this.#logins)
    this.#ask(commands.setStanding, { userId, standing: 'active', reason: 'test' }, () => {
      this.oracle.setSuspended(known, false)
    })
    const args = { userId, sessionId, device: 'mobile' as const, ip: null, step: null, usedBackupHash: null }
    this.world.submit(commands.logIn, { args, who: system }, (outcome) => {
      assert.equal(outcome.ok, !known.suspended)
      if (outcome.ok) known.session = sessionId
    })
    this.#members[at] = { ...who, sessionId }
  }

  #moveCodes(given: readonly string[], status: 'manufactured' | 'invalidated' | 'generated'): void {
    const { commands } = this.world
    const texts = given.filter((text) => text !== NO_CODES[2])
    const codes = packTexts(...texts)
    const compare = (found: object) => assert.deepEqual(found, this.oracle.moveCodes(texts, status))
    if (status === 'manufactured') this.#ask(commands.manufacture, { codes }, compare)
    else this.#ask(commands.setUnused, { codes, status }, compare)
  }
}

/** Everything the world shows in the end, against the oracle. */
async function compareEnds(world: Loyalty, { oracle, codes }: History): Promise<void> {
  for (const known of oracle.members) {
    const view = await world.viewOf(known)
    const { tier, locked, count } = oracle.standing(known, world.clock.at)
    const shown = { tier, tierStatus: locked ? 'locked' : 'active', isSuspended: known.suspended }
    const counted = { lifetimeScans: known.scans.length, lifetimeComps: known.lifetime, referralTins: known.tins }
    const expected = { ...shown, ...counted, goldChips: known.chips }
    assert.deepEqual({ ...view, ...expected }, view, `member ${view.memberId}`)
    assert.equal(view.progress.current_count, count)
  }
  const balances = [await world.balance('available'), await world.balance('held'), await world.balance('funding')]
  assert.deepEqual(balances, [oracle.available, oracle.held, -oracle.available - oracle.held], 'ledger')
  const waiting = [...world.program.unfunded.waiting()].map(({ userId, amount }) => ({ userId, amount }))
  assert.deepEqual(waiting, oracle.waiting, 'comps that wait for money')
  const { book } = world.program
  const statuses = codes.slice(0, -NO_CODES.length).map((_, row) => [book.code(row), book.status(row)])
  assert.deepEqual(new Map(statuses as [string, string][]), oracle.codes, 'codes')
}

function compareFacts(world: Loyalty, { oracle }: History): void {
  assert.deepEqual(storiesOfRecords(world.records), storiesOfOracle(oracle))
}

t.test(
  'BJ-SCAN-03…11, BJ-COMP-01…07, BJ-TIER-01…05, BJ-UNL-01…06 any history tells what the oracle tells',
  async (t) => {
    const steps = fc.noBias(fc.array(fc.tuple(step, fc.boolean()), { size: 'max', maxLength: 300 }))
    const memory = fc.record({ cachedActorsMax: fc.constantFrom(4, 100), isStoreDown: fc.boolean() })
    const seen = new Map<unknown, number>()
    const see = (what: unknown) => seen.set(what, (seen.get(what) ?? 0) + 1)
    await fc.assert(
      fc.asyncProperty(steps, memory, async (steps, memory) => {
        const world = await startLoyalty({ ...memory, program: smallProgram(), at: '2026-02-20T00:00:00Z' })
        const history = new History(world)
        await history.begin()
        for (const [step, isJoined] of steps) {
          if (!isJoined || step.kind === 'wait') await world.idle()
          history.tell(step)
        }
        await world.idle()
        compareFacts(world, history)
        await compareEnds(world, history)
        const at = new Date(world.clock.at).toISOString()
        const recovered = await startLoyalty({
          cachedActorsMax: 4,
          isStoreDown: true,
          program: smallProgram(),
          at,
          after: world,
        })
        await compareEnds(recovered, history)
        for (const { compType } of history.oracle.won) see(compType)
        for (const { because } of world.facts(milestoneUnclaimed)) see(because)
        for (const { because } of world.facts(tierChanged)) see(because)
        for (const { reason } of world.facts(scanRejected)) see(reason)
        for (const _ of world.facts(compFunded)) see('funded later')
      }),
      { numRuns: 50 },
    )
    // That the histories go where the rules differ. The monthly limit of trips is met too, but not in every run.
    seen.delete('monthly_limit')
    const expected = [
      ...['trip', 'crypto_10k', 'crypto_1k', 'crypto_100', 'funded later'],
      ...['tier_too_low', 'locked', 'scan', 'quarter_end', 'referrals', 'admin'],
      ...['code_unknown', 'code_not_active', 'code_already_scanned', 'scan_velocity_exceeded'],
    ]
    t.same([...seen.keys()].sort(), expected.sort(), [...seen].join(' '))
  },
)

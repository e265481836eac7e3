// One wallet in bad weather: it owes, its process dies again and again, its chain is reorganised, its nodes lie; an
// administrator looks now and then. In the end the weather clears, and everything must add up.
import { distributionPrepared, payoutFailed } from '../../../actors/payout/facts.js'
import { DomainError } from '../../../engine/errors.js'
import type { Outcome } from '../../../engine/outcome.js'
import type { Random } from '../../../engine/simulator/random.js'
import { pause } from '../../support/campaign.js'
import { USDT } from '../../support/loyalty.js'
import { audit } from '../../support/payout-audit.js'
import { WALLET } from '../../support/payout-program.js'
import { type ChainBench, type Owed, PayoutWorld } from '../../support/payouts.js'
import type { Scope } from '../scope.js'
import type { Reaper } from './reaper.js'
import type { Tally } from './tally.js'

const FUNDS = 20_000n * USDT
const TURNS = 32
/** What is deeper is final. */
export const DEPTH_MAX = 9
const AMOUNT_MAX = 5_000_000
/** Real time: nodes that failed are left alone for a while. */
const CLEARS_WITHIN_MS = 120_000
const RETRY_PAUSE_MS = 100
/** Of the world's own clock. */
const STUCK_AFTER_MS = 20_000

/** A chain with everything that can befall it. */
export interface Climate {
  readonly name: ChainBench['name']
  /** Its nodes as nobody has met them. */
  bench(): ChainBench
  readonly hazards: Readonly<Record<string, (life: Life) => Promise<void>>>
  /** Blocks that anything of ours may be in. */
  fill(depth: number): Promise<unknown>
  /** Replaces the newest blocks: `depth` of them, or so many that something takes the place of ours. */
  reorg(life: Life, depth: number, withConflict: boolean): Promise<Reorg>
  /** What a thief got from the wallet. */
  takenBy(thief: string): Promise<bigint>
  /** Nothing is wrong any more; also what nobody has told to end. */
  mend(life: Life): Promise<void>
}

export interface Reorg {
  readonly depth: number
  /** What took the place of ours; null when nothing did. */
  readonly conflict: string | null
}

export interface LifePlan {
  readonly climate: Climate
  readonly random: Random
  readonly reaper: Reaper
  readonly tally: Tally
  readonly reorgs: number
}

export class Life {
  readonly owed: Owed[] = []
  /** The chain refuses them, now or for good. */
  readonly refused = new Set<string>()
  /** Addresses that whoever had the key may have paid. */
  readonly thieves: string[] = []
  /** Somebody else may have used the key. */
  isRobbed = false
  #turn = 0
  #endings: { readonly turn: number; readonly end: () => Promise<unknown> }[] = []

  private constructor(
    readonly plan: LifePlan,
    readonly world: PayoutWorld,
  ) {}

  get random(): Random {
    return this.plan.random
  }

  /** Lives, and adds what came of it to the tally. */
  static async lead(scope: Scope, plan: LifePlan): Promise<void> {
    const { climate, random } = plan
    const world = await PayoutWorld.open(scope, climate.bench(), {
      payouts: { perMinuteMax: 1_000 },
      signaturesMax: 1_000,
      stuckAfterMs: STUCK_AFTER_MS,
      withoutGas: random.chance(0.1),
      ...(climate.name === 'evm' && random.chance(0.3) ? { batchAtLeast: 2 } : {}),
    })
    await world.settle()
    const life = new Life(plan, world)
    await life.#suffer()
    await life.#clearUp()
    await life.#reckon()
  }

  async owe(to?: string): Promise<Owed> {
    const owed = await this.world.owe(BigInt(this.random.int(1, AMOUNT_MAX)), to)
    this.owed.push(owed)
    return owed
  }

  /** Undoes something a few turns later, or at the end. */
  readonly later = (end: () => Promise<unknown>): void => {
    this.#endings.push({ turn: this.#turn + this.random.int(1, 3), end })
  }

  async details() {
    return Promise.all(this.owed.map(({ payoutId }) => this.world.detail(payoutId)))
  }

  async #suffer(): Promise<void> {
    const { random, world } = this
    const { climate, reorgs, tally } = this.plan
    const reorgTurns = Array.from({ length: reorgs }, (_, index) => Math.floor(((index + 0.5) * TURNS) / reorgs))
    for (this.#turn = 0; this.#turn < TURNS; this.#turn++) {
      await this.#endWhatIsDue()
      if (this.owed.length < 2 || random.chance(0.5)) await this.owe()
      for (let more = random.chance(0.1) ? random.int(2, 5) : 0; more > 0; more--) await this.owe()
      if (random.chance(0.6)) {
        const name = random.pick(Object.keys(climate.hazards))
        await this.#strike(async () => {
          await climate.hazards[name]?.(this)
          tally.struck(`${climate.name}: ${name}`)
        })
      }
      if (reorgTurns.includes(this.#turn)) await this.#reorganise()
      await this.#round()
      if (random.chance(0.6)) await world.pass()
      if (random.chance(0.3)) await this.#oversee()
      if (random.chance(0.3)) await this.#administer()
    }
  }

  /** Now, or between two steps of the next round. */
  async #strike(act: () => Promise<void>): Promise<void> {
    const { world } = this
    if (this.random.chance(0.5)) return act()
    let steps = this.random.int(0, 10)
    world.between = async () => {
      if (steps-- > 0) return
      world.between = async () => {}
      await act()
    }
  }

  async #reorganise(): Promise<void> {
    const { random, plan } = this
    const { climate, tally } = plan
    const depth = random.int(1, DEPTH_MAX)
    const withConflict = random.chance(0.6)
    // Something of ours is in the blocks, whatever is wrong at the time.
    await this.#endWhatIsDue(Number.POSITIVE_INFINITY)
    await this.owe()
    await this.world.round()
    await climate.fill(depth)
    await this.#round()
    await this.#strike(async () => {
      tally.reorganised(climate.name, await climate.reorg(this, depth, withConflict))
    })
  }

  async #round(): Promise<void> {
    const { world, plan } = this
    world.plan = plan.reaper.plan
    await world.round()
    world.plan = () => null
  }

  async #oversee(): Promise<void> {
    const { world, plan } = this
    world.plan = plan.reaper.plan
    await world.oversee().catch((error) => world.failures.push(messageOf(error)))
    world.plan = () => null
  }

  /** What a person does who sees payouts held or failed, and wallets paused: all of it was looked into. */
  async #administer(): Promise<void> {
    const { world } = this
    for (const { payoutId, state, to, payee, intent } of await this.details()) {
      const { commands } = world.loyalty
      if (to !== null && this.refused.has(to)) continue
      if (state === 'review')
        await this.#try(world.loyalty.attempt(commands.approve, { payoutId, payee, intent }, world.admin))
      if (state === 'failed') await this.#try(world.loyalty.attempt(commands.retry, { payoutId, payee }, world.admin))
    }
    const { pausedBecause } = await world.stand()
    if (pausedBecause === null) return
    if (!this.isRobbed) throw new Error(`the wallet is paused and nobody robbed it: ${pausedBecause}`)
    await this.#try(world.loyalty.attempt(world.loyalty.commands.resumeWallet, { wallet: WALLET }, world.admin))
  }

  async #try(attempt: Promise<Outcome<unknown>>): Promise<void> {
    const outcome = await attempt
    if (!outcome.ok && !(outcome.error instanceof DomainError)) throw outcome.error
  }

  async #endWhatIsDue(upTo = this.#turn): Promise<void> {
    const due = this.#endings.filter(({ turn }) => turn <= upTo)
    this.#endings = this.#endings.filter(({ turn }) => turn > upTo)
    for (const { end } of due) await end()
  }

  /** Everything is mended, and everything that can be paid is paid. */
  async #clearUp(): Promise<void> {
    const { world, plan } = this
    world.between = async () => {}
    await this.#endWhatIsDue(Number.POSITIVE_INFINITY)
    const deadline = performance.now() + CLEARS_WITHIN_MS
    for (;;) {
      await plan.climate.mend(this)
      await this.#administer()
      const underWay = await world.round()
      if (underWay === 0 && (await this.#isOver())) return
      await world.pass()
      if (underWay < 0) await pause(RETRY_PAUSE_MS)
      if (performance.now() > deadline) throw new Error(`nothing ends: ${await this.#story()}`)
    }
  }

  async #isOver(): Promise<boolean> {
    if (!(await this.world.isQuiet())) return false
    const open = (await this.details()).filter(({ state }) => state !== 'settled')
    return open.every(({ to }) => to !== null && this.refused.has(to))
  }

  async #story(): Promise<string> {
    const details = await this.details()
    const open = details.filter(({ state }) => state !== 'settled').map(({ payoutId, state }) => `${payoutId} ${state}`)
    return `${open.join(', ')}; ${[...new Set(this.world.failures.slice(-10))].join('; ')}`
  }

  async #reckon(): Promise<void> {
    const { world, plan } = this
    const { tally } = plan
    let stolen = 0n
    for (const thief of this.thieves) stolen += await plan.climate.takenBy(thief)
    for (const { payoutId, to, amount } of this.owed) {
      const { state } = await world.detail(payoutId)
      const isShared = this.owed.filter((other) => other.to === to).length > 1
      const got = isShared ? 0n : await world.bench.balanceOf(to)
      tally.ended(state, got, amount)
    }
    const { problems, difference } = await audit(world, FUNDS, stolen)
    tally.difference += difference < 0n ? -difference : difference
    tally.problems.push(...problems.map((problem) => `${plan.climate.name}, life ${tally.lives + 1}: ${problem}`))
    tally.crashes += world.crashes
    tally.stolen += stolen
    tally.lives += 1
    tally.reverted += world.facts(payoutFailed).length
    tally.distributions += world.facts(distributionPrepared).length
    for (const failure of world.failures) tally.roundFailed(failure)
  }
}

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error))

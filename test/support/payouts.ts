// Everything that pays, real but for its disk: the BlakJaks program on a shard whose journal is in memory, the signer on
// a folder of its own, a wallet on a real chain, the pipeline and the oversight. The process can die at every call
// between them: before the call does anything, after it did with its answer lost, or with its record not yet durable.
import assert from 'node:assert/strict'
import { setImmediate as immediately } from 'node:timers/promises'
import { blakjaksRules } from '../../actors/programs/blakjaks/rules.js'
import type { LoyaltyRules } from '../../actors/programs/rules.js'
import type { BatchPayer } from '../../chain/batch-payer.js'
import type { ChainWallet } from '../../chain/chain.js'
import type { LocalChain } from '../../chain/dev/local-chain.js'
import type { SigningKey } from '../../chain/keys/key-provider.js'
import { oversightCoreOf, type PayoutCore, payoutCoreOf } from '../../chain/payouts/core-port.js'
import { Oversight } from '../../chain/payouts/oversight.js'
import { Pipeline } from '../../chain/payouts/pipeline.js'
import { SignerUnavailable } from '../../chain/signer/errors.js'
import { localPolicy } from '../../chain/signer/local-policy.js'
import type { WalletPolicy } from '../../chain/signer/policy.js'
import { SignerService } from '../../chain/signer/service.js'
import type { Signer } from '../../chain/signer/signer.js'
import type { Principal } from '../../engine/command.js'
import type { Fact } from '../../engine/fact.js'
import { unpackRecord } from '../../engine/record.js'
import { lockSigner } from '../../signer-lock.js'
import type { HandJournal } from './engine.js'
import { DAY, type Loyalty, USDT } from './loyalty.js'
import { type programOf, start, WALLET } from './payout-program.js'
import { type Scope, silent, temporaryFolder } from './signer.js'

/** One of the chains, with what a test can do to it. */
export interface ChainBench {
  readonly name: 'evm' | 'solana'
  readonly local: Pick<LocalChain, 'chain' | 'asset'>
  newKey(): SigningKey
  openWallet(signer: Signer): Promise<ChainWallet>
  /** A batch contract of a wallet; left out where there are none. */
  deployBatch?(address: string): Promise<string>
  openPayer?(signer: Signer, address: string, contract: string): BatchPayer
  give(address: string, amount: bigint): Promise<void>
  giveGas(address: string): Promise<void>
  /** Blocks are made; what was mined before three of these is final. */
  advance(): Promise<unknown>
  balanceOf(address: string): Promise<bigint>
  newPayee(): string
}

/** How the process dies at a step. */
export type Death = 'before' | 'undurable' | 'after'
/** Says whether the process dies at this step. */
export type Plan = (step: string) => Death | null

export interface PayoutWorldOptions {
  readonly payouts?: Partial<LoyaltyRules['payouts']>
  readonly funds?: bigint
  readonly withoutGas?: boolean
  readonly stuckAfterMs?: number
  /** What the signer's own policy allows in one payout. */
  readonly signerPayoutMax?: bigint
  /** A process that dies fifty times with one payout's signature in hand needs as many. */
  readonly signaturesMax?: number
  /** From so many queued payouts on they are paid together, by a contract of the wallet's own. */
  readonly batchAtLeast?: number
  /** Instead of the batch contract's payer, and of the wallet itself. */
  readonly disguisePayer?: (payer: BatchPayer) => BatchPayer
  readonly disguise?: (chain: ChainWallet) => ChainWallet
}

class Crash extends Error {}

const ROUND_MS = 11_000
const ROUNDS_MAX = 120
const START = '2026-02-10T06:00:00Z'

export interface Owed {
  readonly payoutId: string
  readonly to: string
  readonly amount: bigint
}

export class PayoutWorld {
  loyalty: Loyalty
  /** Null while it is away. */
  service: SignerService | null = null
  plan: Plan = () => null
  /** Happens before every step of the pipeline. */
  between: (step: string) => Promise<void> = async () => {}
  crashes = 0
  /** Why rounds failed, the crashes apart. */
  readonly failures: string[] = []
  readonly rules: LoyaltyRules
  #wallet: ChainWallet | null = null
  /** Of its batches; what the process begins with. */
  contract: string | null = null
  #pipeline: Pipeline | null = null
  #oversight: Oversight | null = null
  #life = { isDead: false }
  #isBound = false
  #owed = 0
  #award: ReturnType<typeof programOf>['award']

  private constructor(
    readonly bench: ChainBench,
    private readonly options: PayoutWorldOptions,
    private readonly key: SigningKey,
    readonly folder: string,
    first: Awaited<ReturnType<typeof start>>,
    readonly admin: Principal,
  ) {
    this.rules = first.loyalty.program.rules
    this.loyalty = first.loyalty
    this.#award = first.award
  }

  static async open(t: Scope, bench: ChainBench, options: PayoutWorldOptions = {}): Promise<PayoutWorld> {
    const { batchAtLeast = blakjaksRules.payouts.batchAtLeast } = options
    const payouts = { ...blakjaksRules.payouts, batchAtLeast, ...options.payouts }
    const first = await start({ ...blakjaksRules, payouts, sessionMs: 1_000 * DAY }, { at: START })
    const admin = await first.loyalty.openMember({ isAdmin: true })
    const key = bench.newKey()
    const folder = await temporaryFolder(t)
    const world = new PayoutWorld(bench, options, key, folder, first, admin)
    t.teardown(async () => world.service?.close())
    if (options.withoutGas !== true) await bench.giveGas(key.address)
    const funds = options.funds ?? 20_000n * USDT
    if (funds > 0n) await bench.give(key.address, funds)
    for (let blocks = 0; blocks < 4; blocks++) await bench.advance()
    if (options.batchAtLeast !== undefined) world.contract = (await bench.deployBatch?.(key.address)) ?? null
    await world.startSigner()
    const wallet = await bench.openWallet(world.#signer)
    world.#wallet = options.disguise?.(wallet) ?? wallet
    world.#begin()
    return world
  }

  /** The wallet itself, where no process dies. */
  get chain(): ChainWallet {
    return this.#wallet ?? assert.fail('it is opened first')
  }

  get pipeline(): Pipeline {
    return this.#pipeline ?? assert.fail('it begins with the process')
  }

  get oversight(): Oversight {
    return this.#oversight ?? assert.fail('it begins with the process')
  }

  get journal(): HandJournal {
    return this.loyalty.journal
  }

  get isDead(): boolean {
    return this.#life.isDead
  }

  /** The signer's folder is locked as long as it runs. */
  openSigner(payoutMax = this.options.signerPayoutMax): Promise<SignerService> {
    const { key, folder, bench } = this
    const contracts = new Map(this.contract === null ? [] : [[WALLET, this.contract]])
    const policy = localPolicy([WALLET], bench.local, contracts)
    const strict = ([name, rules]: [string, WalletPolicy]): [string, WalletPolicy] => {
      const { payout } = rules.limits
      const { signaturesMax = rules.signaturesMax } = this.options
      return [name, { ...rules, signaturesMax, limits: { ...rules.limits, payout: payoutMax ?? payout } }]
    }
    return SignerService.open({
      directory: folder,
      policy: new Map([...policy].map(strict)),
      keys: { key: async () => key },
      log: silent,
      lock: lockSigner,
      now: () => this.loyalty.clock.at,
    })
  }

  async startSigner({ payoutMax }: { readonly payoutMax?: bigint } = {}): Promise<void> {
    this.service = await this.openSigner(payoutMax)
  }

  async stopSigner(): Promise<void> {
    await this.service?.close()
    this.service = null
  }

  readonly #signer: Signer = {
    address: async () => this.key.address,
    sign: (requests) => this.#step('signer.sign', () => this.#service().sign(requests)),
  }

  #service(): SignerService {
    if (this.service === null) throw new SignerUnavailable('signer_unreachable', 'It is away.')
    return this.service
  }

  /** A process on what the disk holds. */
  #begin(): void {
    this.#life = { isDead: false }
    this.#isBound = false
    slowDown(this.journal)
    const { loyalty, chain } = this
    const { shard, program } = loyalty
    const core = this.#stepped('core', payoutCoreOf(shard, program))
    this.#pipeline = this.newPipeline(core)
    const overseen = this.#stepped('oversight', oversightCoreOf(shard, program))
    this.#oversight = new Oversight({ core: overseen, chain: this.#stepped('chain', chain), wallet: WALLET })
  }

  newPipeline(core: PayoutCore): Pipeline {
    const { signaturesMax, inFlightMax } = this.rules.payouts
    const limits = { stuckAfterMs: this.options.stuckAfterMs ?? 60_000, signaturesMax, inFlightMax }
    const chain = this.#stepped('chain', this.chain)
    const payer = this.#payer()
    const batches = payer === null ? {} : { batches: { payer, atLeast: this.rules.payouts.batchAtLeast } }
    const base = { nowMs: () => this.loyalty.clock.at, log: silent, wallet: WALLET } as const
    return new Pipeline({ ...base, core, chain, limits, ...batches })
  }

  #payer(): BatchPayer | null {
    if (this.contract === null) return null
    const payer =
      this.bench.openPayer?.(this.#signer, this.key.address, this.contract) ?? assert.fail('it opens payers')
    return this.#stepped('batch', this.options.disguisePayer?.(payer) ?? payer)
  }

  /** A pipeline beside the one that runs, on the same shard. */
  secondPipeline(disguise: (core: PayoutCore) => PayoutCore = (core) => core): Pipeline {
    return this.newPipeline(disguise(payoutCoreOf(this.loyalty.shard, this.loyalty.program)))
  }

  /** The process dies: what was not durable is lost. Another begins on the rest. */
  async crash({ withSigner = false } = {}): Promise<void> {
    this.#life.isDead = true
    this.crashes += 1
    const { journal, shard, clock } = this.loyalty
    shard.stop(new Error('the process died'))
    if (withSigner) {
      await this.stopSigner()
      await this.startSigner()
    }
    const at = new Date(clock.at).toISOString()
    const next = await start(this.rules, { at, after: { journal: journal.afterCrash() } })
    this.loyalty = next.loyalty
    this.#award = next.award
    this.#begin()
  }

  #stepped<Port extends object>(name: string, port: Port): Port {
    return new Proxy(port, {
      get: (target, key) => {
        const value: unknown = Reflect.get(target, key, target)
        if (typeof value !== 'function') return value
        if (key === 'onQueued' || key === 'parseAddress') return value.bind(target)
        return (...args: unknown[]) => {
          const reports = key === 'report' ? args[0] : key === 'reportDistribution' ? args[1] : null
          const kind = reports === null ? '' : `.${kindOf(reports as { type: string }[])}`
          return this.#step(`${name}.${String(key)}${kind}`, () => value.apply(target, args) as Promise<unknown>)
        }
      },
    })
  }

  async #step<Result>(step: string, act: () => Promise<Result>): Promise<Result> {
    const life = this.#life
    if (life.isDead) throw new Crash()
    await this.between(step)
    const death = life.isDead ? 'before' : this.plan(step)
    if (death === null) {
      const result = await act()
      if (life.isDead) throw new Crash()
      return result
    }
    if (death === 'undurable') {
      holdBack(this.journal)
      act().catch(() => {})
      await immediately()
    }
    // It may fail after it did what it was to do.
    if (death === 'after') await act().catch(() => {})
    life.isDead = true
    throw new Crash()
  }

  /** One look of the pipeline; if the process dies in it, the next one begins. Returns what is under way. */
  async round(): Promise<number> {
    try {
      if (!this.#isBound) await this.pipeline.bind()
      this.#isBound = true
      return await this.pipeline.round()
    } catch (error) {
      if (this.isDead) await this.crash({ withSigner: this.crashes % 4 === 0 })
      else this.failures.push(error instanceof Error ? error.message : String(error))
      return -1
    }
  }

  /** The same for the oversight. */
  async oversee(): Promise<string> {
    try {
      return (await this.oversight.reconcile('continuous')).status
    } catch (error) {
      if (!this.isDead) throw error
      await this.crash()
      return 'crashed'
    }
  }

  /** Rounds with blocks between them, until nothing is under way or `until` says so. */
  async settle(until: () => Promise<boolean> = () => this.isQuiet()): Promise<void> {
    for (let round = 0; round < ROUNDS_MAX; ) {
      const { crashes } = this
      const underWay = await this.round()
      if (underWay >= 0 && (await until())) return
      // A round in which it died does not count.
      if (crashes === this.crashes) round += 1
      await this.pass()
    }
    assert.fail(
      `nothing ends: ${JSON.stringify(await this.stand(), bigintText)}, ${this.failures.slice(-3).join('; ')}`,
    )
  }

  async pass(): Promise<void> {
    await this.bench.advance()
    this.loyalty.clock.advance(ROUND_MS)
  }

  async isQuiet(): Promise<boolean> {
    const { open } = await this.stand()
    return open.queued.count + open.in_flight.count === 0
  }

  /** A prize for somebody new, as a scan wins it: the money is held, and the payout requested by a message. */
  async owe(amount: bigint, to = this.bench.newPayee()): Promise<Owed> {
    const { loyalty } = this
    const payoutId = `prize-${++this.#owed}`
    const userId = `winner-${this.#owed}`
    await loyalty.run(loyalty.commands.setPayeeAddress, { userId, address: to, provider: 'external' })
    await loyalty.run(this.#award, { payoutId, userId, amount })
    await loyalty.idle()
    return { payoutId, to, amount }
  }

  async approve(payoutId: string): Promise<void> {
    const { payee, intent } = await this.detail(payoutId)
    await this.loyalty.run(this.loyalty.commands.approve, { payoutId, payee, intent }, this.admin)
  }

  async retry(payoutId: string): Promise<void> {
    const { payee } = await this.detail(payoutId)
    await this.loyalty.run(this.loyalty.commands.retry, { payoutId, payee }, this.admin)
  }

  async detail(payoutId: string) {
    const { shard, queries } = this.loyalty
    return (await shard.query(queries.payoutDetail, { payoutId })) ?? assert.fail(`there is no payout ${payoutId}`)
  }

  async states(...payouts: readonly { readonly payoutId: string }[]): Promise<string> {
    const all = await Promise.all(payouts.map(({ payoutId }) => this.detail(payoutId)))
    return all.map(({ state }) => state).join(' ')
  }

  async stand() {
    const { shard, queries } = this.loyalty
    const [state] = await shard.query(queries.walletStates, {})
    return state ?? assert.fail('there is a wallet')
  }

  /** Of all lives, oldest first. */
  facts<This extends Fact>({ type }: { type: string; make: (fields: never) => This }): This[] {
    const { bodies } = this.journal
    return bodies.flatMap((body) => unpackRecord(body).facts.filter((fact) => fact.type === type)) as This[]
  }
}

/** Of reports that go together, the one that weighs most. */
function kindOf(reports: readonly { readonly type: string }[]): string {
  const weighty = ['final', 'lost', 'dropped', 'refused', 'unmined', 'mined']
  const types = reports.map(({ type }) => type)
  return weighty.find((type) => types.includes(type)) ?? types[0] ?? ''
}

const bigintText = (_: string, value: unknown) => (typeof value === 'bigint' ? String(value) : value)

const held = new WeakSet<HandJournal>()

/** From now on a record is durable a moment after it was written, as on a disk. */
function slowDown(journal: HandJournal): void {
  const flush = journal.flush.bind(journal)
  journal.flush = (throughSeq) => {
    void immediately().then(() => {
      if (!held.has(journal)) flush(throughSeq)
    })
  }
}

/** And now never again. */
function holdBack(journal: HandJournal): void {
  held.add(journal)
}

/**
 * Pays many payouts at once, where the wallet has a batch contract. A distribution is two allowances and a payment, each
 * with its nonce; the pipeline follows them as it follows payouts. It keeps nothing but when it was refused last.
 *
 * S1 The core has the nonces before the signer is asked, and the bytes before the chain gets them.
 * S2 A distribution is given up only when the signer has signed nothing of it; else it goes on through its own contract.
 */
import { randomUUID } from 'node:crypto'
import type { Logger } from 'pino'
import type { DistributionReport, PreparedDistribution } from '../../actors/payout/distributions.js'
import { PAYOUTS_PER_TURN_MAX, type PreparedPayout, type Report } from '../../actors/payout/reports.js'
import type { Pool } from '../../actors/treasury/facts.js'
import { assert } from '../../engine/assert.js'
import { DomainError } from '../../engine/errors.js'
import {
  type BatchAction,
  type BatchPayer,
  batchActions,
  type OpenBatchStep,
  type PayoutOutcome,
} from '../batch-payer.js'
import {
  type ChainWallet,
  type Observation,
  type OpenTransfer,
  type SignedTransaction,
  SignerRefused,
} from '../chain.js'
import type { PayoutCore } from './core-port.js'

/** So long payouts go one by one after the contract or a whole distribution was refused. */
const REST_MS = 10 * 60_000

/** A step of a distribution, in the form of a payout. */
export interface OutgoingStep extends PreparedPayout {
  readonly of: PreparedDistribution
  readonly index: number
  readonly action: BatchAction
}

/** What has a nonce of its own. */
export type Outgoing = PreparedPayout | OutgoingStep

export interface Batches {
  readonly payer: BatchPayer
  /** From so many queued payouts on. */
  readonly atLeast: number
}

export interface DistributorOptions {
  readonly core: PayoutCore
  readonly chain: ChainWallet
  readonly wallet: Pool
  readonly batches: Batches | null
  readonly nowMs: () => number
  readonly log: Logger
}

export class Distributor {
  #restsUntilMs = Number.NEGATIVE_INFINITY

  constructor(private readonly options: DistributorOptions) {}

  /** Whether so many queued payouts are paid together. */
  takes(queued: number): boolean {
    const { batches, nowMs } = this.options
    return batches !== null && queued >= batches.atLeast && nowMs() >= this.#restsUntilMs
  }

  /** Throws `batch_contract_missing` when it goes through a contract that was named before and is not now. */
  check(distribution: PreparedDistribution): void {
    this.#payerOf(distribution)
  }

  /** What the pipeline is to follow; nothing when its contract is not named now. */
  stepsOf(distribution: PreparedDistribution): readonly OutgoingStep[] {
    if (this.options.batches?.payer.contract !== distribution.contract) return []
    const { distributionId, contract, shares, steps, state } = distribution
    const amount = shares.reduce((sum, share) => sum + share.amount, 0n)
    const payments = shares.map(({ transferId, to, amount }) => ({ payoutId: transferId, to, amount }))
    const actions = batchActions(payments)
    return steps.flatMap(({ kind, nonce, signed, mined, isOver }, index): OutgoingStep | never[] => {
      if (isOver) return []
      const id = `${distributionId}.${kind}`
      const out = state === 'prepared' || mined === null ? state : 'mined'
      const asPayout = { payoutId: id, transferId: id, state: out, to: contract, amount, nonce, signed, mined }
      return { ...asPayout, distribution: null, of: distribution, index, action: at(actions, index) }
    })
  }

  /** Prepares these queued payouts; null when they are to be paid one by one, or may not be now. */
  async prepare(payoutIds: readonly string[]): Promise<PreparedDistribution | null | 'one by one'> {
    const { core, wallet, batches, log } = this.options
    if (batches === null || !this.takes(payoutIds.length)) return 'one by one'
    const { payer } = batches
    try {
      await payer.check()
      return await core.distribute(wallet, { distributionId: randomUUID(), contract: payer.contract, payoutIds })
    } catch (error) {
      if (!(error instanceof DomainError)) throw error
      if (error.code === 'wallet_paused') return null
      if (error.code !== 'wrong_batch_contract') throw error
      log.error({ wallet, err: error }, 'payouts go one by one: see CHAIN_BATCH_CONTRACTS')
      this.#rest()
      return 'one by one'
    }
  }

  /** Returns the transactions, once the core holds them (S1); none when the signer refused. */
  async sign(distribution: PreparedDistribution): Promise<readonly SignedTransaction[]> {
    const { core } = this.options
    try {
      const signed = await this.#payerOf(distribution).sign(this.stepsOf(distribution).map(batchStepOf))
      const reports = signed.map((transaction, step): DistributionReport => {
        return { type: 'signed', step, after: null, transaction }
      })
      await core.reportDistribution(distribution, reports)
      return signed
    } catch (error) {
      if (!(error instanceof SignerRefused) || error.payoutId === null) throw error
      await this.#drop(distribution, error)
      return []
    }
  }

  /** The signer refuses one payout, or the whole: nothing of it is signed, nor ever was (S2). */
  async #drop(distribution: PreparedDistribution, refusal: SignerRefused): Promise<void> {
    const { core, log, wallet } = this.options
    const refused = distribution.shares.find(({ transferId }) => transferId === refusal.payoutId)
    const steps = this.stepsOf(distribution).map(({ payoutId }) => payoutId)
    if (steps.some((id) => refusal.signedBefore.includes(id))) throw refusal
    if (refused === undefined) {
      log.error({ wallet, err: refusal }, 'the signer refuses to distribute; payouts go one by one')
      this.#rest()
    }
    const report = { type: 'dropped', because: refusal.code, refused: refused?.payoutId ?? null } as const
    await core.reportDistribution(distribution, [report])
  }

  #rest(): void {
    this.#restsUntilMs = this.options.nowMs() + REST_MS
  }

  #payerOf({ contract, distributionId }: PreparedDistribution): BatchPayer {
    const payer = this.options.batches?.payer
    if (payer?.contract === contract) return payer
    const message = `Distribution ${distributionId} goes through the contract ${contract}: name it in CHAIN_BATCH_CONTRACTS until it is over.`
    throw new DomainError('conflict', 'batch_contract_missing', message)
  }

  /** What became of each, in their order. */
  async observe(
    open: readonly Outgoing[],
  ): Promise<readonly (Observation & { readonly outcomes?: readonly PayoutOutcome[] })[]> {
    const steps = open.filter(isStep)
    const payouts = open.filter((each) => !isStep(each))
    const ofPayouts = payouts.length === 0 ? [] : await this.options.chain.observe(payouts.map(openTransferOf))
    const [first] = steps
    const ofSteps = first === undefined ? [] : await this.#payerOf(first.of).observe(steps.map(batchStepOf))
    const seen = new Map<Outgoing, Observation>()
    for (const [index, each] of payouts.entries()) seen.set(each, at(ofPayouts, index))
    for (const [index, each] of steps.entries()) seen.set(each, at(ofSteps, index))
    return open.map((each) => seen.get(each) ?? { kind: 'unknown', message: 'it was not looked at' })
  }

  replace(out: Outgoing): Promise<SignedTransaction> {
    if (!isStep(out)) return this.options.chain.replace(openTransferOf(out))
    return this.#payerOf(out.of).replace(batchStepOf(out))
  }

  /** Tells the core what happened to payouts and to steps. */
  async report(told: readonly { of: Outgoing; report: Report; outcomes?: readonly PayoutOutcome[] }[]): Promise<void> {
    const { core } = this.options
    const ofPayouts = told.flatMap(({ of, report }) => (isStep(of) ? [] : report))
    for (let start = 0; start < ofPayouts.length; start += PAYOUTS_PER_TURN_MAX) {
      await core.report(ofPayouts.slice(start, start + PAYOUTS_PER_TURN_MAX))
    }
    const ofSteps = told.flatMap(({ of, report, outcomes = [] }) => (isStep(of) ? { of, report, outcomes } : []))
    const [first] = ofSteps
    if (first === undefined) return
    await core.reportDistribution(
      first.of.of,
      ofSteps.map(({ of, report, outcomes }) => stepReport(of, report, outcomes)),
    )
  }
}

export const isStep = (out: Outgoing): out is OutgoingStep => 'of' in out

const batchStepOf = ({ transferId, nonce, action, signed }: OutgoingStep): OpenBatchStep => {
  assert(nonce !== null, 'a step has its nonce')
  return { id: transferId, nonce, action, signed }
}

function stepReport(
  { index: step }: OutgoingStep,
  { payoutId: _, ...told }: Report,
  outcomes: readonly PayoutOutcome[],
): DistributionReport {
  switch (told.type) {
    case 'signed': {
      const { type, after, transaction } = told
      return { type, step, after, transaction }
    }
    case 'final':
      return { ...told, step, outcomes: [...outcomes] }
    case 'mined':
    case 'unmined':
    case 'lost':
      return { ...told, step }
    case 'refused':
    case 'unprepared':
      assert(false, 'a distribution is dropped as a whole')
  }
}

export function transferOf({ transferId, to, amount, nonce }: PreparedPayout) {
  return { payoutId: transferId, to, amount, nonce }
}

function openTransferOf(payout: PreparedPayout): OpenTransfer {
  return { ...transferOf(payout), signed: payout.signed }
}

export function at<Item>(items: readonly Item[], index: number): Item {
  const item = items[index]
  if (item === undefined) throw new RangeError(`the chain answered for ${items.length} payouts, not for ${index + 1}`)
  return item
}

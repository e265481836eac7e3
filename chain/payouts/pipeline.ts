/**
 * Pays what one wallet owes: takes queued payouts on, has them signed, sends them, and follows each to its end. It keeps
 * nothing that matters, so it may die at any moment and begin again: all it needs stands in the core.
 *
 * S1 The core has the nonce before the signer is asked, and the bytes before the chain gets them.
 * S2 What is missing is sent again as it is; what is stuck is signed again for its nonce. Never anything else.
 * S3 Whatever is not known is looked at again in the next round; only `final` and `lost` end anything.
 * S4 One pipeline a wallet: rounds never overlap.
 * B1 At most PAYOUTS_PER_TURN_MAX payouts go from one step to the next at once, and `inFlightMax` are under way.
 */
import type { Logger } from 'pino'
import type { PreparedDistribution } from '../../actors/payout/distributions.js'
import { PAYOUTS_PER_TURN_MAX, type PreparedPayout, type Report } from '../../actors/payout/reports.js'
import type { Pool } from '../../actors/treasury/facts.js'
import { DomainError } from '../../engine/errors.js'
import { type Broadcast, type ChainWallet, type Observation, type SignedTransaction, SignerRefused } from '../chain.js'
import { SignerUnavailable } from '../signer/errors.js'
import type { PayoutCore } from './core-port.js'
import { at, type Batches, Distributor, type Outgoing, transferOf } from './distributions.js'

export interface PipelineLimits {
  /** What should have been mined by then is signed again at higher fees. */
  readonly stuckAfterMs: number
  /** Transactions ever signed for one attempt; then somebody has to look. */
  readonly signaturesMax: number
  readonly inFlightMax: number
}

export interface PipelineOptions {
  readonly core: PayoutCore
  readonly chain: ChainWallet
  readonly wallet: Pool
  readonly limits: PipelineLimits
  /** Pays many at once; left out where the wallet has no batch contract. */
  readonly batches?: Batches
  readonly nowMs: () => number
  readonly log: Logger
}

export class Pipeline {
  readonly counts = {
    rounds: 0,
    failed_rounds: 0,
    signed: 0,
    sent: 0,
    replaced: 0,
    unreplaced: 0,
    refused: 0,
    no_gas: 0,
    unfunded: 0,
    unknown: 0,
    distributions: 0,
  }
  lastError: string | null = null
  /** When a transaction was first seen to be out, by hash. */
  readonly #outSince = new Map<string, number>()
  readonly #options: PipelineOptions
  readonly #distributor: Distributor

  constructor(options: PipelineOptions) {
    this.#options = options
    this.#distributor = new Distributor({ ...options, batches: options.batches ?? null })
  }

  /** Tells the core which wallet this is. Throws when the chain cannot be asked, or the core refuses. */
  async bind(): Promise<void> {
    const { core, chain, wallet } = this.#options
    const [nonces, { final }] = await Promise.all([chain.nonces(), chain.heights()])
    const { asset: onChain } = await chain.holdings(final)
    const { chain: id, address } = chain
    await core.bind(wallet, { chain: id, address, nonce: nonces?.mined ?? null, height: final, onChain })
  }

  /** One look at everything; returns how many payouts are under way. Throws what stopped it: the next round goes on. */
  async round(): Promise<number> {
    const { core, wallet, limits } = this.#options
    this.counts.rounds += 1
    try {
      const ids = await core.open(wallet, 'in_flight', limits.inFlightMax)
      const known = await this.#transfers(ids)
      const distribution = await core.distribution(wallet)
      const isPaused = await core.isPaused(wallet)
      const own = known.filter((payout) => payout.distribution === null)
      const out = own.filter(({ state }) => state === 'signed' || state === 'mined')
      const isSigned = distribution?.state === 'signed'
      // First: a signer that is away holds up nothing that is out.
      await this.#follow(isSigned ? [...out, ...this.#distributor.stepsOf(distribution)] : out)
      if (distribution !== null) this.#distributor.check(distribution)
      if (!isPaused && distribution?.state === 'prepared') await this.#signDistribution(distribution)
      if (!isPaused) await this.#sign(own.filter(({ state }) => state === 'prepared'))
      const unspent = known.filter(({ state }) => state !== 'mined').reduce((sum, { amount }) => sum + amount, 0n)
      const taken = isPaused ? 0 : await this.#takeOn(unspent, distribution !== null)
      this.lastError = null
      return ids.length + taken
    } catch (error) {
      this.counts.failed_rounds += 1
      this.lastError = error instanceof Error ? error.message : String(error)
      throw error
    }
  }

  async #transfers(ids: readonly string[]): Promise<readonly PreparedPayout[]> {
    const found: PreparedPayout[] = []
    for (const some of chunks(ids)) found.push(...(await this.#options.core.transfers(some)))
    return found
  }

  /** Queued payouts: those the chain would refuse are held, the others get their nonces, are signed and sent. */
  async #takeOn(unspent: bigint, isDistributing: boolean): Promise<number> {
    const { core, wallet } = this.#options
    const ids = await core.open(wallet, 'queued', PAYOUTS_PER_TURN_MAX)
    // There is one distribution at a time: these are the next one.
    if (ids.length === 0 || (isDistributing && this.#distributor.takes(ids.length))) return 0
    const payable = await this.#payable(await core.transfers(ids), unspent)
    const distribution = isDistributing ? 'one by one' : await this.#distributor.prepare(payable)
    if (distribution === null) return 0
    if (distribution !== 'one by one') {
      this.counts.distributions += 1
      await this.#signDistribution(distribution)
      return distribution.shares.length
    }
    const prepared = payable.length === 0 ? [] : await this.#prepare(payable)
    await this.#sign(prepared)
    return prepared.length
  }

  /** As many, from the first on, as the wallet can pay from what it holds besides `unspent`. */
  async #payable(queued: readonly PreparedPayout[], unspent: bigint): Promise<string[]> {
    const { core, chain, log, wallet } = this.#options
    const answers = (await chain.preflight?.(queued)) ?? []
    let left = (await chain.holdings()).asset - unspent
    const payable: string[] = []
    const refused: Report[] = []
    for (const [index, { payoutId, amount }] of queued.entries()) {
      const answer = answers[index]
      if (answer?.kind === 'refused') refused.push({ type: 'refused', payoutId, because: 'payee_refused' })
      else if (answer?.kind === 'unknown') break
      else if (answer?.kind === 'unfunded' || amount > left) {
        this.counts.unfunded += 1
        log.error({ wallet, payoutId, left: String(left) }, 'the wallet does not hold what it owes; payouts wait')
        break
      } else {
        payable.push(payoutId)
        left -= amount
      }
    }
    this.counts.refused += refused.length
    if (refused.length > 0) await core.report(refused)
    return payable
  }

  async #prepare(ids: readonly string[]): Promise<readonly PreparedPayout[]> {
    try {
      return await this.#options.core.prepare(this.#options.wallet, ids)
    } catch (error) {
      if (error instanceof DomainError && error.code === 'wallet_paused') return []
      throw error
    }
  }

  async #signDistribution(distribution: PreparedDistribution): Promise<void> {
    const signed = await this.#distributor.sign(distribution)
    if (signed.length === 0) this.counts.refused += 1
    this.counts.signed += signed.length
    await this.#send(signed)
  }

  /** Has payouts signed in the order of their nonces, and sends them once the core holds the bytes (S1). */
  async #sign(prepared: readonly PreparedPayout[]): Promise<void> {
    const inOrder = [...prepared].sort((a, b) => (a.nonce ?? 0) - (b.nonce ?? 0))
    for (const some of chunks(inOrder)) {
      let signed: readonly SignedTransaction[]
      try {
        signed = await this.#options.chain.sign(some.map(transferOf))
      } catch (error) {
        if (!(error instanceof SignerRefused) || error.payoutId === null) throw error
        await this.#putBack(some, error)
        return
      }
      await this.#options.core.report(some.map((payout, index) => signedReport(payout, at(signed, index))))
      this.counts.signed += signed.length
      await this.#send(signed)
    }
  }

  /**
   * The signer will never sign one of these, so its nonce and those after it are given anew. What it signed before, and
   * whose answer was lost, keeps its nonce for ever (S2). Where there are no nonces, nothing keeps it: bytes that the core
   * never had were never sent.
   */
  async #putBack(some: readonly PreparedPayout[], refusal: SignerRefused): Promise<void> {
    const { payoutId: refusedId, code, signedBefore } = refusal
    const refused = some.findIndex(({ transferId }) => transferId === refusedId)
    const keeps = ({ transferId, nonce }: PreparedPayout) =>
      signedBefore.includes(transferId) && (nonce !== null || transferId !== refusedId)
    const free = some.slice(refused).filter((payout) => !keeps(payout))
    if (refused < 0 || free[0]?.transferId !== refusedId) throw refusal
    this.counts.refused += 1
    await this.#options.core.report(
      free.map(({ payoutId }, index): Report => {
        return index === 0 ? { type: 'refused', payoutId, because: code } : { type: 'unprepared', payoutId }
      }),
    )
  }

  async #send(transactions: readonly SignedTransaction[]): Promise<readonly Broadcast[]> {
    if (transactions.length === 0) return []
    const { chain, nowMs, log, wallet } = this.#options
    const outcomes = await chain.broadcast(transactions)
    for (const [index, outcome] of outcomes.entries()) {
      const { hash } = at(transactions, index)
      if (!this.#outSince.has(hash)) this.#outSince.set(hash, nowMs())
      if (outcome.kind === 'accepted') this.counts.sent += 1
      else log.warn({ wallet, hash, outcome }, 'a payout was sent and not taken; it is looked at again')
      if (outcome.kind === 'refused' && outcome.code === 'no_gas') this.counts.no_gas += 1
    }
    return outcomes
  }

  /** What became of payouts that are out. */
  async #follow(open: readonly Outgoing[]): Promise<void> {
    if (open.length === 0) {
      this.#outSince.clear()
      return
    }
    const observations = await this.#distributor.observe(open)
    const head = (await this.#options.chain.nonces())?.mined
    const seen = open.map((payout, index) => ({ payout, observation: at(observations, index) }))
    for (const { payout, observation } of seen) this.#note(payout, observation)
    const told = seen.flatMap(({ payout: of, observation }) => {
      const report = reportOn(of, observation)
      return report === null ? [] : { of, report, outcomes: observation.outcomes ?? [] }
    })
    await this.#distributor.report(told)
    const missing = seen.filter(({ observation }) => observation.kind === 'missing')
    await this.#sendAgain(
      missing.map(({ payout }) => payout),
      head,
    )
    for (const { payout, observation } of seen) {
      const isLost = observation.kind === 'lost' && observation.because === 'expired'
      if (isLost || this.#isStuck(payout, observation, head)) await this.#replace(payout, isLost)
    }
  }

  #note(payout: Outgoing, seen: Observation): void {
    if (seen.kind === 'unknown') this.#onUnknown(payout, seen.message)
    if (seen.kind === 'final' || seen.kind === 'lost') for (const { hash } of payout.signed) this.#outSince.delete(hash)
  }

  /** Only the first in line can be: the others wait for it. */
  #isStuck(payout: Outgoing, { kind }: Observation, head: number | undefined): boolean {
    const isFirst = payout.nonce === null || payout.nonce === head
    return kind === 'pending' && isFirst && this.#isOverdue(payout)
  }

  #onUnknown({ payoutId }: Outgoing, message: string): void {
    this.counts.unknown += 1
    this.#options.log.warn({ payoutId, message }, 'it is not known what became of a payout; it is looked at again')
  }

  #isOverdue({ signed }: Outgoing): boolean {
    const { nowMs, limits } = this.#options
    const last = signed.at(-1)
    if (last === undefined || last.terms.kind !== 'evm') return false
    const since = this.#outSince.get(last.hash)
    if (since === undefined) this.#outSince.set(last.hash, nowMs())
    return since !== undefined && nowMs() - since > limits.stuckAfterMs
  }

  /** The same bytes; at fees that are too low by now, others for the same nonce (S2). */
  async #sendAgain(missing: readonly Outgoing[], head: number | undefined): Promise<void> {
    const latest = missing.flatMap(({ signed }) => signed.slice(-1))
    const outcomes = await this.#send(latest)
    for (const [index, outcome] of outcomes.entries()) {
      const payout = at(missing, index)
      const isUnderpriced = outcome.kind === 'refused' && outcome.code === 'underpriced'
      if (isUnderpriced && (payout.nonce === null || payout.nonce === head)) await this.#replace(payout, false)
    }
  }

  /**
   * What cannot be signed again holds up nobody else. When nothing that was signed can ever be mined (`isLost`) and the
   * signer says no, a person has to look; otherwise it may still be mined as it is.
   */
  async #replace(payout: Outgoing, isLost: boolean): Promise<void> {
    const { limits, log, wallet } = this.#options
    const { payoutId } = payout
    try {
      if (payout.signed.length >= limits.signaturesMax) {
        throw new SignerRefused(
          'signed_too_often',
          `It was signed ${payout.signed.length} times, as often as is allowed.`,
        )
      }
      const transaction = await this.#distributor.replace(payout)
      await this.#distributor.report([{ of: payout, report: signedReport(payout, transaction) }])
      this.counts.replaced += 1
      await this.#send([transaction])
    } catch (error) {
      if (!(error instanceof SignerRefused) && !isOfTheMoment(error)) throw error
      this.counts.unreplaced += 1
      log.error({ wallet, payoutId, err: error }, 'a payout is stuck and is not signed again: see docs/payouts.md')
      if (!isLost || !(error instanceof SignerRefused) || error.code === 'stopped') return
      await this.#distributor.report([{ of: payout, report: { type: 'lost', payoutId, because: error.code } }])
    }
  }
}

/** The chain, its price or the signer does not allow it now. */
const isOfTheMoment = (error: unknown) =>
  error instanceof SignerUnavailable || (error instanceof DomainError && replacedLater.has(error.code))

const replacedLater = new Set(['not_lost', 'fee_cap_reached', 'fees_above_cap'])

/** The core takes it only if the payout still is what the signer was asked for. */
function signedReport({ payoutId, transferId, nonce, signed }: Outgoing, transaction: SignedTransaction): Report {
  return { type: 'signed', payoutId, transferId, nonce, after: signed.at(-1)?.hash ?? null, transaction }
}

/** What the core is to hear of an observation; null when it knows already. */
function reportOn(payout: Outgoing, seen: Observation): Report | null {
  const { payoutId, state, mined } = payout
  const unmined: Report | null = state === 'mined' ? { type: 'unmined', payoutId } : null
  switch (seen.kind) {
    case 'final': {
      const { hash, block, ok, fee } = seen
      return { type: 'final', payoutId, hash, block, ok, fee }
    }
    case 'mined': {
      const isKnown = mined?.hash === seen.hash && mined.block.hash === seen.block.hash
      return isKnown ? null : { type: 'mined', payoutId, hash: seen.hash, block: seen.block }
    }
    case 'lost':
      if (seen.because !== 'expired') return { type: 'lost', payoutId, because: seen.because }
      return unmined // it is signed again
    case 'pending':
    case 'missing':
      return unmined
    case 'unknown':
      return null
  }
}

function* chunks<Item>(items: readonly Item[]): Generator<readonly Item[]> {
  for (let start = 0; start < items.length; start += PAYOUTS_PER_TURN_MAX) {
    yield items.slice(start, start + PAYOUTS_PER_TURN_MAX)
  }
}

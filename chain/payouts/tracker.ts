/**
 * Follows members' withdrawals to their end (BJ-T19). It keeps nothing that matters, so it may die at any moment: all it
 * needs stands in the core.
 *
 * S2 What no node has is sent again as it is. Nothing is signed here, for nobody here has the key.
 * S3 Whatever is not known is looked at again; only what is final ends a withdrawal.
 * B1 At most LOOKED_AT_ONCE are looked at in a round; the next round goes on behind them.
 */
import type { Logger } from 'pino'
import {
  WITHDRAWALS_PER_TURN_MAX,
  type WithdrawalReport,
  type WithdrawalView,
} from '../../actors/withdrawal/commands.js'
import { DomainError } from '../../engine/errors.js'
import type { ChainWallet, Observation, SignedTransfer } from '../chain.js'
import type { WithdrawalCore } from './member-core-port.js'

const LOOKED_AT_ONCE = WITHDRAWALS_PER_TURN_MAX

export interface TrackerOptions {
  readonly core: WithdrawalCore
  readonly chain: ChainWallet
  readonly log: Logger
}

/** A withdrawal whose bytes are known. */
type Known = WithdrawalView & { readonly transfer: SignedTransfer }

export class Tracker {
  readonly counts = { rounds: 0, sent: 0, unsent: 0, unknown: 0 }
  #after: string | null = null

  constructor(private readonly options: TrackerOptions) {}

  /** One look at the next open withdrawals; returns how many they were. Throws when the core cannot be asked. */
  async round(): Promise<number> {
    const { core } = this.options
    this.counts.rounds += 1
    const open = await core.open(this.#after, LOOKED_AT_ONCE)
    this.#after = open.length < LOOKED_AT_ONCE ? null : (open.at(-1)?.withdrawalId ?? null)
    const identified = await Promise.all(open.filter((each) => !isKnown(each)).map((each) => this.#identify(each)))
    const reports = [...identified.flat(), ...(await this.#follow(open.filter(isKnown)))]
    if (reports.length > 0) await core.report(reports)
    return open.length
  }

  /** Only its hash is known. */
  async #identify({ withdrawalId, hash }: WithdrawalView): Promise<readonly WithdrawalReport[]> {
    try {
      const transfer = await this.options.chain.findSigned(hash)
      return [transfer === null ? { type: 'unseen', withdrawalId } : { type: 'identified', withdrawalId, transfer }]
    } catch (error) {
      if (error instanceof DomainError && error.code === 'withdrawal_unreadable') {
        return [{ type: 'failed', withdrawalId, because: 'not_a_withdrawal', block: null }]
      }
      this.#noteUnknown(hash, error instanceof Error ? error.message : String(error))
      return []
    }
  }

  async #follow(known: readonly Known[]): Promise<readonly WithdrawalReport[]> {
    if (known.length === 0) return []
    const observations = await this.options.chain.trace(known.map(({ transfer }) => transfer))
    const missing: SignedTransfer[] = []
    const reports = known.flatMap((each, index) => {
      const seen = observations[index]
      if (seen === undefined) throw new RangeError(`the chain answered for ${observations.length} of ${known.length}`)
      if (seen.kind === 'unknown') this.#noteUnknown(each.hash, seen.message)
      if (seen.kind === 'missing') missing.push(each.transfer)
      return reportOn(each, seen) ?? []
    })
    await this.#send(missing)
    return reports
  }

  async #send(missing: readonly SignedTransfer[]): Promise<void> {
    if (missing.length === 0) return
    const outcomes = await this.options.chain.broadcast(missing)
    for (const [index, outcome] of outcomes.entries()) {
      if (outcome.kind === 'accepted') this.counts.sent += 1
      else {
        this.counts.unsent += 1
        this.options.log.info({ hash: missing[index]?.hash, outcome }, 'a withdrawal was sent again and not taken')
      }
    }
  }

  #noteUnknown(hash: string, message: string): void {
    this.counts.unknown += 1
    this.options.log.warn({ hash, message }, 'it is not known what became of a withdrawal; it is looked at again')
  }
}

const isKnown = (each: WithdrawalView): each is Known => each.transfer !== null

/** What the core is to hear of an observation; null when it knows already. */
function reportOn({ withdrawalId, state, block }: Known, seen: Observation): WithdrawalReport | null {
  switch (seen.kind) {
    case 'final':
      if (seen.ok) return { type: 'completed', withdrawalId, block: seen.block }
      return { type: 'failed', withdrawalId, because: 'reverted', block: seen.block }
    case 'mined': {
      const isSame = block?.height === seen.block.height && block.hash === seen.block.hash
      return isSame ? null : { type: 'mined', withdrawalId, block: seen.block }
    }
    case 'lost':
      return { type: 'failed', withdrawalId, because: seen.because, block: null }
    case 'pending':
    case 'missing':
      return state === 'mined' ? { type: 'unmined', withdrawalId } : null
    case 'unknown':
      return null
  }
}

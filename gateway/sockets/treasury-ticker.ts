/**
 * Asks every few seconds what the pools hold (BJ-T37), and only while somebody listens.
 *
 * B1 One question is under way at a time, and none comes sooner than the interval after the one before, however often
 *    listeners come and go.
 */
import { asError } from '../../engine/outcome.js'
import type { Environment } from '../../engine/store.js'
import type { SocketLog } from './metrics.js'

const INTERVAL_MS = 5_000

/** In minor units. */
export interface PoolBalance {
  readonly pool: string
  /** What its wallet holds on chain; null when the chain cannot be asked. */
  readonly onChain: bigint | null
  /** What it must hold by the ledger; of that, what is free, and what is set aside for payouts. */
  readonly ledger: bigint
  readonly available: bigint
  readonly held: bigint
}

export interface TreasuryTickerOptions {
  readonly environment: Pick<Environment, 'now' | 'wakeAt'>
  readonly ask: () => Promise<readonly PoolBalance[]>
  readonly tell: (balances: readonly PoolBalance[]) => void
  readonly log: SocketLog
}

export class TreasuryTicker {
  #isWanted = false
  #isAsking = false
  #askedAt = Number.NEGATIVE_INFINITY
  #cancel: (() => void) | undefined

  constructor(private readonly options: TreasuryTickerOptions) {}

  start(): void {
    this.#isWanted = true
    this.#schedule()
  }

  stop(): void {
    this.#isWanted = false
    this.#cancel?.()
    this.#cancel = undefined
  }

  #schedule(): void {
    if (!this.#isWanted || this.#isAsking || this.#cancel !== undefined) return // B1
    const { environment } = this.options
    const now = environment.now()
    const dueAt = Math.min(this.#askedAt, now) + INTERVAL_MS // the clock may have been set back
    this.#cancel = environment.wakeAt(Math.max(now, dueAt), () => void this.#ask())
  }

  async #ask(): Promise<void> {
    const { environment, ask, tell, log } = this.options
    this.#cancel = undefined
    this.#askedAt = environment.now()
    this.#isAsking = true
    try {
      const balances = await ask()
      if (this.#isWanted) tell(balances)
    } catch (error) {
      log.error({ err: asError(error) }, 'what the treasury holds is not known')
    } finally {
      this.#isAsking = false
    }
    this.#schedule()
  }
}

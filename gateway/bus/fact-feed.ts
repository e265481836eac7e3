/**
 * The gateway's side of the facts: every batch once and in order, however Redis behaves.
 *
 * X1 Batches of one run follow each other by number. What is missing is asked for; when the engine does not have it any
 *    more, or runs anew, every client of this gateway is told to come back with its positions. G2 Whoever waits for a
 *    batch gets on when it is published, and is refused when it never will be.
 */
import { DomainError } from '../../engine/errors.js'
import type { Environment } from '../../engine/store.js'
import type { Batch } from './fact-log.js'
import type { BusLog } from './wire.js'

/** Several beats long. */
const ENGINE_SILENCE_MS = 3_500
const REACH_TIMEOUT_MS = 5_000

export interface FactFeedOptions {
  readonly environment: Pick<Environment, 'now' | 'wakeAt'>
  /** The batches after `seq`; null when they are not known any more. */
  readonly missed: (
    run: string,
    seq: number,
  ) => Promise<{ readonly upTo: number; readonly batches: readonly Batch[] | null }>
  readonly publish: (bytes: Uint8Array) => void
  /** Clients may have missed something: they are to come back. */
  readonly resync: (because: string) => void
  /** The engine was started, or is heard of for the first time. */
  readonly onRun: () => void
  readonly log: BusLog
}

interface Waiting {
  readonly seq: number
  readonly resolve: () => void
  readonly reject: (error: Error) => void
  readonly cancelTimeout: () => void
}

export class FactFeed {
  readonly #options: FactFeedOptions
  readonly #waiting = new Set<Waiting>()
  #run: string | null = null
  /** Published up to here. */
  #seq = 0
  /** What came up to here was not all published. */
  #knownAfter = 0
  #heardAt = Number.NEGATIVE_INFINITY
  #isRepairing = false
  #repairs = 0
  #resyncs = 0

  constructor(options: FactFeedOptions) {
    this.#options = options
  }

  get hearsEngine(): boolean {
    return this.#options.environment.now() - this.#heardAt < ENGINE_SILENCE_MS
  }

  gauges() {
    return {
      facts_seq: this.#seq,
      facts_waiting: this.#waiting.size,
      gaps_repaired: this.#repairs,
      resyncs: this.#resyncs,
      engine_heard: this.hearsEngine ? 1 : 0,
    }
  }

  /** A batch, or with `bytes` null a beat: that there are batches up to `seq`. */
  take(run: string, seq: number, bytes: Uint8Array | null): void {
    this.#heardAt = this.#options.environment.now()
    if (run !== this.#run) this.#begin(run, seq)
    else if (bytes !== null && seq === this.#seq + 1) this.#publish(seq, bytes)
    else if (seq > this.#seq) void this.#repair(run)
  }

  /** Returns undefined when batch `seq` is published already; rejects with `busy` when it cannot be waited for. */
  reached(run: string, seq: number): Promise<void> | undefined {
    if (run !== this.#run) this.#begin(run, seq)
    if (seq < this.#knownAfter) return Promise.reject(busy())
    if (seq <= this.#seq) return undefined
    const { environment } = this.#options
    return new Promise((resolve, reject) => {
      const cancelTimeout = environment.wakeAt(environment.now() + REACH_TIMEOUT_MS, () => {
        this.#waiting.delete(waiting)
        reject(busy())
      })
      const waiting = { seq, resolve, reject, cancelTimeout }
      this.#waiting.add(waiting)
    })
  }

  #begin(run: string, seq: number): void {
    const isFirst = this.#run === null
    this.#run = run
    this.#skipTo(seq)
    if (!isFirst) this.#resync('the engine was started anew')
    this.#options.onRun()
  }

  #publish(seq: number, bytes: Uint8Array): void {
    this.#seq = seq
    try {
      this.#options.publish(bytes)
    } catch (error) {
      this.#options.log.error({ err: error, seq }, 'facts could not be published')
      this.#resync('facts could not be published')
    }
    for (const waiting of this.#waiting) {
      if (waiting.seq <= seq) this.#forget(waiting).resolve()
    }
  }

  /** Asks for what is missing until there is nothing; if that fails, the next beat begins anew. */
  async #repair(run: string): Promise<void> {
    if (this.#isRepairing) return
    this.#isRepairing = true
    const { missed, log } = this.#options
    try {
      for (;;) {
        const after = this.#seq
        const { upTo, batches } = await missed(run, after)
        if (this.#run !== run) return
        // What was late came after all: what follows it is asked for anew.
        if (batches === null && this.#seq !== after) continue
        if (batches === null) {
          this.#skipTo(upTo)
          this.#resync('what was missed is not known any more')
          return
        }
        for (const { seq, bytes } of batches) if (seq === this.#seq + 1) this.#publish(seq, bytes)
        this.#repairs += 1
        log.info({ after, to: this.#seq }, 'facts that were missed were made good')
        if (this.#seq >= upTo || batches.length === 0) return
      }
    } catch (error) {
      log.warn({ err: error }, 'facts that were missed could not be asked for yet')
    } finally {
      this.#isRepairing = false
    }
  }

  #skipTo(seq: number): void {
    this.#seq = seq
    this.#knownAfter = seq
    for (const waiting of this.#waiting) this.#forget(waiting).reject(busy())
  }

  #resync(because: string): void {
    this.#resyncs += 1
    this.#options.resync(because)
  }

  #forget(waiting: Waiting): Waiting {
    this.#waiting.delete(waiting)
    waiting.cancelTimeout()
    return waiting
  }
}

function busy(): DomainError {
  return new DomainError('unavailable', 'busy', 'This gateway is catching up with the engine; try again.', {
    retryAfterMs: 1_000,
  })
}

/**
 * What dashboards show, as the engine tells it.
 *
 * X1 The copy has everything the engine told, once and in order; it is asked for anew with each run of the engine and
 *    after a gap. Until it is there nobody is let in.
 */
import { z } from 'zod'
import type { Environment } from '../../engine/store.js'
import type { FeedEntry } from '../sockets/client-out.js'
import { InsightsState, type InsightTiding } from '../sockets/insights-state.js'
import type { Insights } from '../sockets/live-insights.js'
import { ScanVelocity } from '../sockets/scan-velocity.js'
import { Stream } from '../sockets/stream.js'
import { Replica } from './replica.js'
import { type BusLog, engineUnavailable } from './wire.js'

const RETRY_MS = 1_000
/** A third of the time after which the engine takes it that nobody watches. */
const WATCHED_INTERVAL_MS = 5_000

const count = z.int().nonnegative()
const entry = z.custom<FeedEntry>((value) => typeof value === 'object' && value !== null)
const keptSchema = z.object({
  feed: z.object({ epoch: z.string(), offset: count, events: z.array(entry) }),
  counter: z.object({ name: z.literal('scans'), value: count, at: z.string(), epoch: z.string(), offset: count }),
  velocity: z.object({ second: z.int().nullable(), perMinute: count, peak: count, counts: z.array(count) }),
})

export interface RemoteInsightsOptions {
  readonly environment: Pick<Environment, 'now' | 'wakeAt'>
  readonly feedItemsKept: number
  /** What the engine answers. */
  readonly load: () => Promise<unknown>
  /** Says to the engine that members watch. */
  readonly sayWatched: () => Promise<unknown>
  /** Tells those who watch here. */
  readonly tell: (tiding: InsightTiding) => void
  readonly log: BusLog
}

export class RemoteInsights implements Insights {
  readonly #options: RemoteInsightsOptions
  #replica: Replica<InsightsState, InsightTiding> | undefined
  #state: InsightsState
  #cancelRetry = () => {}

  constructor(options: RemoteInsightsOptions) {
    this.#options = options
    const unknown = { name: 'scans' as const, value: 0, at: '', epoch: '', offset: 0 }
    this.#state = new InsightsState(new Stream('', options.feedItemsKept), unknown, new ScanVelocity())
  }

  get state(): InsightsState {
    return this.#state
  }

  get isKnown(): boolean {
    return this.#replica?.state !== undefined
  }

  async ready(): Promise<void> {
    if (this.#replica === undefined) throw engineUnavailable()
    await this.#replica.loading
  }

  /** Begins anew, with what the engine has now. */
  begin(): void {
    const { environment, feedItemsKept, load, log } = this.#options
    this.#cancelRetry()
    const replica = new Replica<InsightsState, InsightTiding>({
      load: async () => InsightsState.restored(keptSchema.parse(await load()), feedItemsKept),
      take: (state, tiding) => {
        if (state.has(tiding)) return false
        state.take(tiding)
        return true
      },
    })
    this.#replica = replica
    replica.loading.then(
      (state) => {
        if (this.#replica === replica) this.#state = state
      },
      (error: unknown) => {
        if (this.#replica !== replica) return
        log.warn({ err: error }, 'what dashboards show could not be asked for yet')
        this.#cancelRetry = environment.wakeAt(environment.now() + RETRY_MS, () => this.begin())
      },
    )
  }

  take(tiding: InsightTiding): void {
    if (this.#replica?.take(tiding) === true) this.#options.tell(tiding)
  }

  watch(): () => void {
    const { environment, sayWatched } = this.#options
    let cancel = () => {}
    const say = () => {
      // An engine that cannot be told is told again soon.
      sayWatched().catch(() => {})
      cancel = environment.wakeAt(environment.now() + WATCHED_INTERVAL_MS, say)
    }
    say()
    return () => cancel()
  }

  stop(): void {
    this.#cancelRetry()
  }
}

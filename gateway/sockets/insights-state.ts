/**
 * What dashboards show, as every process that serves `/insights/live` has it: kept up to date by what the one source
 * tells, each thing once and in order.
 *
 * X1 The feed and the ticks of the counter are numbered without gaps; what is missing would throw, and whoever keeps a
 *    copy begins anew.
 */
import { assert } from '../../engine/assert.js'
import type { Counter, FeedEntry, TreasuryBalance, Velocity } from './client-out.js'
import { type KeptVelocity, ScanVelocity } from './scan-velocity.js'
import { type KeptStream, Stream } from './stream.js'

/** A tick of the counter, with the scans since the one before by the second they were accepted in. */
export interface CounterTick {
  readonly event: 'counter'
  readonly data: Counter
  readonly seconds: readonly (readonly [second: number, scans: number])[]
}

/** What the source tells, as it is sent to clients. */
export type InsightTiding =
  | CounterTick
  | FeedEntry
  | { readonly event: 'velocity'; readonly data: Velocity }
  | { readonly event: 'treasury'; readonly data: TreasuryBalance }

/** As it travels to another process. */
export interface KeptInsights {
  readonly feed: KeptStream<FeedEntry>
  readonly counter: Counter
  readonly velocity: KeptVelocity
}

export class InsightsState {
  #counter: Counter

  constructor(
    readonly feed: Stream<FeedEntry>,
    counter: Counter,
    readonly velocity: ScanVelocity,
  ) {
    this.#counter = counter
  }

  static restored({ feed, counter, velocity }: KeptInsights, feedItemsKept: number): InsightsState {
    return new InsightsState(Stream.restored(feed, feedItemsKept), counter, ScanVelocity.restored(velocity))
  }

  get kept(): KeptInsights {
    return { feed: this.feed.kept, counter: this.#counter, velocity: this.velocity.kept }
  }

  get counter(): Counter {
    return this.#counter
  }

  /** Whether it has this already: a copy may be newer than what is told of it. */
  has(tiding: InsightTiding): boolean {
    if (tiding.event === 'counter') return tiding.data.offset <= this.#counter.offset
    return tiding.event === 'feed' && tiding.data.offset <= this.feed.offset
  }

  take(tiding: InsightTiding): void {
    if (tiding.event === 'feed') {
      const { epoch, offset } = this.feed.position
      assert(tiding.data.epoch === epoch && tiding.data.offset === offset + 1, 'the feed has no gaps')
      this.feed.append(() => tiding)
    } else if (tiding.event === 'counter') {
      const { epoch, offset } = this.#counter
      assert(tiding.data.epoch === epoch && tiding.data.offset === offset + 1, 'the counter misses no tick')
      this.#counter = tiding.data
      for (const [second, scans] of tiding.seconds) this.velocity.add(second * 1_000, scans)
    }
  }
}

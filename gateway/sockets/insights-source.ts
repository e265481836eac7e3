/**
 * The one source of what dashboards show (BJ-INS-07, 08, 11, BJ-T38), in the process of the engine; every process that
 * serves `/insights/live` tells its clients the same.
 *
 * X1 The feed is a numbered stream. X3 The counter and the velocity are latest-wins and coalesced, and so are scans in
 *    the feed; comps and rises in tier are each an item. B1 At most ten ticks of the counter and five items of scans a
 *    second, whoever watches.
 */
import { tierNames } from '../../actors/user/facts.js'
import type { Environment } from '../../engine/store.js'
import { usdOf } from '../money.js'
import type { CompAwarded, FeedItem, PayoutSettled, TierChanged } from './client-out.js'
import { compItem, isoTime, payoutItem, scanItem, tierItem } from './client-out.js'
import { Coalescer } from './coalescer.js'
import { InsightsState, type InsightTiding } from './insights-state.js'
import type { SocketLog } from './metrics.js'
import type { ScanVelocity } from './scan-velocity.js'
import { Stream } from './stream.js'
import { type PoolBalance, TreasuryTicker, type TreasuryTickerOptions } from './treasury-ticker.js'

const COUNTER_INTERVAL_MS = 100
/** At most five scan items a second. */
const SCAN_ITEM_INTERVAL_MS = 200
const VELOCITY_INTERVAL_MS = 1_000
/** For so long members are taken to watch at gateways after one of them has said so. */
const WATCHED_ELSEWHERE_MS = 15_000

export interface InsightsSourceOptions {
  readonly epoch: string
  readonly environment: Pick<Environment, 'now' | 'wakeAt'>
  readonly velocity: ScanVelocity
  /** Scans accepted so far. */
  readonly scans: number
  readonly feedItemsKept: number
  /** What the pools of the treasury hold now. */
  readonly treasury: TreasuryTickerOptions['ask']
  /** Hears everything in order, after {@link InsightsSource.state} has it. */
  readonly tell: (tiding: InsightTiding) => void
  readonly log: SocketLog
}

export class InsightsSource {
  readonly state: InsightsState
  readonly #options: InsightsSourceOptions
  readonly #counterTicks: Coalescer
  readonly #scanItems: Coalescer
  readonly #treasury: TreasuryTicker
  #scans: number
  #scannedAtMs: number
  /** Scans since the last tick of the counter, by second. */
  readonly #unticked = new Map<number, number>()
  /** Scans no feed item tells of yet. */
  #untoldScans = 0
  #velocityOffset = 0
  #treasuryOffset = 0
  #watchers = 0
  #cancelVelocity = () => {}
  #cancelElsewhere: (() => void) | undefined

  constructor(options: InsightsSourceOptions) {
    const { environment, epoch, feedItemsKept, treasury: ask, log, velocity, scans } = options
    this.#options = options
    this.#scans = scans
    this.#scannedAtMs = environment.now()
    this.state = new InsightsState(new Stream(epoch, feedItemsKept), this.#counterAt(0), velocity)
    this.#counterTicks = new Coalescer(COUNTER_INTERVAL_MS, environment, () => this.#tick())
    this.#scanItems = new Coalescer(SCAN_ITEM_INTERVAL_MS, environment, () => this.#tellScans())
    this.#treasury = new TreasuryTicker({ environment, ask, tell: (balances) => this.#tellTreasury(balances), log })
  }

  scanAccepted(ordinal: number, atMs: number): void {
    const second = Math.floor(atMs / 1_000)
    this.#scans = Math.max(this.#scans, ordinal)
    this.#scannedAtMs = atMs
    this.#unticked.set(second, (this.#unticked.get(second) ?? 0) + 1)
    this.#untoldScans += 1
    this.#counterTicks.touch()
    this.#scanItems.touch()
  }

  compAwarded(fact: CompAwarded, atMs: number): void {
    this.#tellItem(compItem(fact, atMs))
  }

  /** BJ-WS-09 */
  compPaid(fact: PayoutSettled, atMs: number): void {
    this.#tellItem(payoutItem(fact, atMs))
  }

  /** Only rises are announced: a quarter's end lowers thousands at once, and nobody's fall is the public's business. */
  tierChanged(fact: TierChanged, atMs: number): void {
    if (tierNames.indexOf(fact.to) > tierNames.indexOf(fact.from)) this.#tellItem(tierItem(fact, atMs))
  }

  /** A member watches; call what is returned when they do no more. */
  watch(): () => void {
    this.#watchers += 1
    if (this.#watchers === 1) {
      this.#awaitVelocity()
      this.#treasury.start()
    }
    return () => {
      this.#watchers -= 1
      if (this.#watchers === 0) this.#unwatched()
    }
  }

  /** Members watch at a gateway, which says so again before long. */
  watchedElsewhere(): void {
    const { environment } = this.#options
    const leave = this.watch()
    this.#cancelElsewhere?.()
    const cancel = environment.wakeAt(environment.now() + WATCHED_ELSEWHERE_MS, () => this.#cancelElsewhere?.())
    this.#cancelElsewhere = () => {
      this.#cancelElsewhere = undefined
      cancel()
      leave()
    }
  }

  stop(): void {
    this.#counterTicks.stop()
    this.#scanItems.stop()
    this.#cancelElsewhere?.()
    this.#unwatched()
  }

  #unwatched(): void {
    this.#cancelVelocity()
    this.#treasury.stop()
  }

  #counterAt(offset: number) {
    const { epoch } = this.#options
    return { name: 'scans' as const, value: this.#scans, at: isoTime(this.#scannedAtMs), epoch, offset }
  }

  #tick(): void {
    const seconds = [...this.#unticked]
    this.#unticked.clear()
    this.#tell({ event: 'counter', data: this.#counterAt(this.state.counter.offset + 1), seconds })
  }

  #tellScans(): void {
    const count = this.#untoldScans
    this.#untoldScans = 0
    this.#tellItem(scanItem(count, this.#scannedAtMs))
  }

  #tellItem(item: FeedItem): void {
    const { epoch, offset } = this.state.feed
    this.#tell({ event: 'feed', data: { ...item, epoch, offset: offset + 1 } })
  }

  /** BJ-WS-04, BJ-INS-09 */
  #tellTreasury(balances: readonly PoolBalance[]): void {
    const { environment, epoch } = this.#options
    const at = isoTime(environment.now())
    this.#treasuryOffset += 1
    for (const { pool, onChain, ledger, available, held } of balances) {
      const balance = {
        pool,
        balance: onChain === null ? null : usdOf(onChain),
        ledger_balance: usdOf(ledger),
        available: usdOf(available),
        held: usdOf(held),
        ...{ at, epoch, offset: this.#treasuryOffset },
      }
      this.#tell({ event: 'treasury', data: balance })
    }
  }

  #awaitVelocity(): void {
    const { environment } = this.#options
    this.#cancelVelocity = environment.wakeAt(environment.now() + VELOCITY_INTERVAL_MS, () => {
      this.#tellVelocity()
      this.#awaitVelocity()
    })
  }

  #tellVelocity(): void {
    const { environment, epoch } = this.#options
    const now = environment.now()
    this.#velocityOffset += 1
    this.#tell({
      event: 'velocity',
      data: {
        scans_per_minute: this.state.velocity.scansPerMinute(now),
        peak_today: this.state.velocity.peakToday(now),
        at: isoTime(now),
        epoch,
        offset: this.#velocityOffset,
      },
    })
  }

  #tell(tiding: InsightTiding): void {
    this.state.take(tiding)
    this.#options.tell(tiding)
  }
}

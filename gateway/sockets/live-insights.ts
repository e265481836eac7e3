/**
 * `/insights/live`: what everybody may watch, and a little more for members (BJ-INS-07, 08, 11, BJ-T38).
 *
 * X1 The feed is a numbered stream. X3 The counter and the velocity are latest-wins and coalesced, and so are scans in
 *    the feed; comps and rises in tier are each an item. All of it is encoded once, however many are watching.
 */
import { tierNames } from '../../actors/user/facts.js'
import type { Environment } from '../../engine/store.js'
import { usdOf } from '../money.js'
import { type Commands, resumeCommand } from './client-in.js'
import type {
  CompAwarded,
  FeedEntry,
  FeedItem,
  Milestone,
  PayoutSettled,
  ServerSocket,
  SocketNamespace,
  TierChanged,
  TreasuryBalance,
} from './client-out.js'
import { compItem, isoTime, payoutItem, scanItem, tierItem } from './client-out.js'
import { Coalescer } from './coalescer.js'
import type { SocketLog, SocketMetrics } from './metrics.js'
import type { ScanVelocity } from './scan-velocity.js'
import { Stream } from './stream.js'
import { type PoolBalance, TreasuryTicker, type TreasuryTickerOptions } from './treasury-ticker.js'

const COUNTER_INTERVAL_MS = 100
/** At most five scan items a second. */
const SCAN_ITEM_INTERVAL_MS = 200
const VELOCITY_INTERVAL_MS = 1_000
const SNAPSHOT_ITEMS = 20
const RECENT_STEP_SECONDS = 5

const EVERYBODY = 'everybody'
const MEMBERS = 'members'

export interface LiveInsightsOptions {
  readonly namespace: SocketNamespace
  readonly epoch: string
  readonly environment: Pick<Environment, 'now' | 'wakeAt'>
  readonly velocity: ScanVelocity
  /** Scans accepted so far. */
  readonly scans: number
  readonly milestones: readonly Milestone[]
  readonly feedItemsKept: number
  readonly metrics: SocketMetrics
  /** What the pools of the treasury hold now. */
  readonly treasury: TreasuryTickerOptions['ask']
  readonly log: SocketLog
}

export class LiveInsights {
  readonly #options: LiveInsightsOptions
  readonly #feed: Stream<FeedEntry>
  readonly #counterTicks: Coalescer
  readonly #scanItems: Coalescer
  readonly #commands: Commands
  #scans: number
  #scannedAtMs: number
  #counterOffset = 0
  /** Scans no feed item tells of yet. */
  #untoldScans = 0
  #members = 0
  #velocityOffset = 0
  readonly #treasury: TreasuryTicker
  /** What was told last, by pool. */
  readonly #balances = new Map<string, TreasuryBalance>()
  #treasuryOffset = 0
  #cancelVelocity: (() => void) | undefined

  constructor(options: LiveInsightsOptions) {
    const { environment, epoch, feedItemsKept, treasury: ask, log } = options
    this.#options = options
    this.#scans = options.scans
    this.#scannedAtMs = environment.now()
    this.#feed = new Stream(epoch, feedItemsKept)
    this.#counterTicks = new Coalescer(COUNTER_INTERVAL_MS, environment, () => this.#sendCounter())
    this.#scanItems = new Coalescer(SCAN_ITEM_INTERVAL_MS, environment, () => this.#tellScans())
    this.#treasury = new TreasuryTicker({ environment, ask, tell: (balances) => this.#tellTreasury(balances), log })
    this.#commands = new Map([['resume', resumeCommand('feed', this.#feed)]])
  }

  get feedOffset(): number {
    return this.#feed.offset
  }

  scanAccepted(ordinal: number, atMs: number): void {
    this.#options.velocity.add(atMs)
    this.#scans = Math.max(this.#scans, ordinal)
    this.#scannedAtMs = atMs
    this.#untoldScans += 1
    this.#counterTicks.touch()
    this.#scanItems.touch()
  }

  compAwarded(fact: CompAwarded, atMs: number): void {
    this.#tell(compItem(fact, atMs))
  }

  /** BJ-WS-09 */
  compPaid(fact: PayoutSettled, atMs: number): void {
    this.#tell(payoutItem(fact, atMs))
  }

  /** Only rises are announced: a quarter's end lowers thousands at once, and nobody's fall is the public's business. */
  tierChanged(fact: TierChanged, atMs: number): void {
    if (tierNames.indexOf(fact.to) > tierNames.indexOf(fact.from)) this.#tell(tierItem(fact, atMs))
  }

  /** Brings a new socket up to date; what happens from here on it gets as it happens. */
  welcome(socket: ServerSocket): Commands {
    socket.emit('snapshot', this.#snapshot())
    socket.emit('counter', this.#counter())
    void socket.join(EVERYBODY)
    if (socket.data.member !== undefined) this.#welcomeMember(socket)
    return this.#commands
  }

  stop(): void {
    this.#counterTicks.stop()
    this.#scanItems.stop()
    this.#cancelVelocity?.()
    this.#treasury.stop()
  }

  #welcomeMember(socket: ServerSocket): void {
    void socket.join(MEMBERS)
    this.#members += 1
    for (const balance of this.#balances.values()) socket.emit('treasury', balance)
    if (this.#members === 1) {
      this.#scheduleVelocity()
      this.#treasury.start()
    }
    socket.once('disconnect', () => {
      this.#members -= 1
      if (this.#members > 0) return
      this.#cancelVelocity?.()
      this.#treasury.stop()
      this.#balances.clear() // too old for whoever comes next
    })
  }

  #snapshot() {
    const { velocity, environment, milestones } = this.#options
    const now = environment.now()
    return {
      ...this.#feed.position,
      at: isoTime(now),
      counter: this.#counter(),
      feed: this.#feed.latest(SNAPSHOT_ITEMS).map(({ data }) => data),
      scans_per_minute: velocity.scansPerMinute(now),
      peak_today: velocity.peakToday(now),
      recent: { step_seconds: RECENT_STEP_SECONDS, scans: velocity.recent(now, RECENT_STEP_SECONDS) },
      milestones,
    }
  }

  #counter() {
    const { epoch } = this.#options
    return {
      name: 'scans' as const,
      value: this.#scans,
      at: isoTime(this.#scannedAtMs),
      epoch,
      offset: this.#counterOffset,
    }
  }

  #sendCounter(): void {
    this.#counterOffset += 1
    this.#options.namespace.to(EVERYBODY).emit('counter', this.#counter())
    this.#options.metrics.published('counter')
  }

  #tellScans(): void {
    const count = this.#untoldScans
    this.#untoldScans = 0
    this.#tell(scanItem(count, this.#scannedAtMs))
  }

  #tell(item: FeedItem): void {
    const { data } = this.#feed.append((position) => ({ event: 'feed', data: { ...item, ...position } }))
    this.#options.namespace.to(EVERYBODY).emit('feed', data)
    this.#options.metrics.published('feed')
  }

  /** BJ-WS-04, BJ-INS-09 */
  #tellTreasury(balances: readonly PoolBalance[]): void {
    const { namespace, environment, epoch, metrics } = this.#options
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
      this.#balances.set(pool, balance)
      namespace.to(MEMBERS).emit('treasury', balance)
      metrics.published('treasury')
    }
  }

  #scheduleVelocity(): void {
    const { environment } = this.#options
    this.#cancelVelocity = environment.wakeAt(environment.now() + VELOCITY_INTERVAL_MS, () => {
      this.#sendVelocity()
      this.#scheduleVelocity()
    })
  }

  #sendVelocity(): void {
    const { namespace, environment, velocity, epoch, metrics } = this.#options
    const now = environment.now()
    this.#velocityOffset += 1
    namespace.to(MEMBERS).emit('velocity', {
      scans_per_minute: velocity.scansPerMinute(now),
      peak_today: velocity.peakToday(now),
      at: isoTime(now),
      epoch,
      offset: this.#velocityOffset,
    })
    metrics.published('velocity')
  }
}

/**
 * `/insights/live`: what everybody may watch, and a little more for members. It tells its sockets what the source tells;
 * all of it is encoded once, however many are watching.
 *
 * X1 A socket learns where the feed stands and joins in one step, so that history and live flow meet without gap or
 *    overlap.
 */
import type { Environment } from '../../engine/store.js'
import { type Command, type Commands, resumeCommand } from './client-in.js'
import type { Milestone, ServerSocket, SocketNamespace, TreasuryBalance } from './client-out.js'
import { isoTime } from './client-out.js'
import type { InsightsState, InsightTiding } from './insights-state.js'
import type { SocketMetrics } from './metrics.js'

const SNAPSHOT_ITEMS = 20
const RECENT_STEP_SECONDS = 5

const EVERYBODY = 'everybody'
const MEMBERS = 'members'

/** Where it comes from, in this process or in another. */
export interface Insights {
  /** What was told last is in it. */
  readonly state: InsightsState
  /** Resolves when there is something to show; rejects with `engine_unavailable`. */
  ready(): Promise<void>
  /** Members watch here; call what is returned when they do no more. */
  watch(): () => void
}

export interface LiveInsightsOptions {
  readonly namespace: SocketNamespace
  readonly environment: Pick<Environment, 'now'>
  readonly insights: Insights
  readonly milestones: readonly Milestone[]
  readonly metrics: SocketMetrics
}

export class LiveInsights {
  readonly #options: LiveInsightsOptions
  readonly #commands: Commands
  #members = 0
  /** What was told last, by pool. */
  readonly #balances = new Map<string, TreasuryBalance>()
  #unwatch = () => {}

  constructor(options: LiveInsightsOptions) {
    this.#options = options
    const resume: Command = (payload) => resumeCommand('feed', options.insights.state.feed)(payload)
    this.#commands = new Map([['resume', resume]])
  }

  /** Tells those who watch, in order. */
  take(tiding: InsightTiding): void {
    const { namespace, metrics } = this.#options
    switch (tiding.event) {
      case 'counter':
        namespace.to(EVERYBODY).emit('counter', tiding.data)
        break
      case 'feed':
        namespace.to(EVERYBODY).emit('feed', tiding.data)
        break
      case 'velocity':
        namespace.to(MEMBERS).emit('velocity', tiding.data)
        break
      case 'treasury':
        if (this.#members > 0) this.#balances.set(tiding.data.pool, tiding.data)
        namespace.to(MEMBERS).emit('treasury', tiding.data)
        break
    }
    metrics.published(tiding.event)
  }

  /** Brings a new socket up to date; what happens from here on it gets as it happens. */
  welcome(socket: ServerSocket): Commands {
    socket.emit('snapshot', this.#snapshot())
    socket.emit('counter', this.#options.insights.state.counter)
    void socket.join(EVERYBODY)
    if (socket.data.member !== undefined) this.#welcomeMember(socket)
    return this.#commands
  }

  #welcomeMember(socket: ServerSocket): void {
    void socket.join(MEMBERS)
    this.#members += 1
    for (const balance of this.#balances.values()) socket.emit('treasury', balance)
    if (this.#members === 1) this.#unwatch = this.#options.insights.watch()
    socket.once('disconnect', () => {
      this.#members -= 1
      if (this.#members > 0) return
      this.#unwatch()
      this.#balances.clear() // too old for whoever comes next
    })
  }

  #snapshot() {
    const { environment, milestones, insights } = this.#options
    const { feed, counter, velocity } = insights.state
    const now = environment.now()
    return {
      ...feed.position,
      at: isoTime(now),
      counter,
      feed: feed.latest(SNAPSHOT_ITEMS).map(({ data }) => data),
      scans_per_minute: velocity.scansPerMinute(now),
      peak_today: velocity.peakToday(now),
      recent: { step_seconds: RECENT_STEP_SECONDS, scans: velocity.recent(now, RECENT_STEP_SECONDS) },
      milestones,
    }
  }
}

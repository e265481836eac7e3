/**
 * Live events on `/social/ws`: who watches what, and what watchers are told (BJ-LIVE-06, BJ-WS-08).
 *
 * G1 Facts are published in record order, once durable. X3 Viewers are counted by member, however many sockets they
 *    have; watchers are told at most once a second and the core at most once in five, the latest always. B1 See
 *    `LiveEventLimits`.
 */
import type { LiveEventRow, liveEventChanged, liveReminderDue } from '../../actors/live-event/facts.js'
import { isOver } from '../../actors/live-event/queries.js'
import { assert } from '../../engine/assert.js'
import { DomainError } from '../../engine/errors.js'
import type { TurnRecord } from '../../engine/record.js'
import type { Environment } from '../../engine/store.js'
import type { LiveEvents } from '../live-events.js'
import { type Attendance, nobodyElsewhere } from './attendance.js'
import { type Command, type Commands, parse } from './client-in.js'
import type { ServerSocket, SocketNamespace } from './client-out.js'
import { onEvent } from './live-event-schemas.js'
import type { SocketLog, SocketMetrics } from './metrics.js'
import { type RightsFact, RightsWatch } from './rights-watch.js'
import { type Audience, Audiences } from './viewers.js'

export interface LiveEventLimits {
  /** Events one socket may watch. */
  readonly eventsPerSocketMax: number
  /** Events whose last change is remembered, to notice what happened while the engine was asked. */
  readonly versionsKept: number
  /** Members who are reminded before others get their turn. */
  readonly membersAtOnce: number
}

export const defaultLiveEventLimits: LiveEventLimits = { eventsPerSocketMax: 20, versionsKept: 512, membersAtOnce: 100 }

const WATCH_ATTEMPTS_MAX = 5

export interface LiveEventSocketsOptions {
  readonly namespace: SocketNamespace
  readonly live: LiveEvents
  readonly environment: Pick<Environment, 'now' | 'wakeAt'>
  readonly metrics: SocketMetrics
  readonly log: SocketLog
  readonly limits?: LiveEventLimits
  /** Who watches in other processes. */
  readonly attendance?: Attendance
  /** This process tells the core how many watch, over all processes. */
  readonly tellsCore: boolean
}

type Told = ReturnType<typeof liveEventChanged.make> | ReturnType<typeof liveReminderDue.make> | RightsFact

const roomOf = (eventId: string) => `event:${eventId}`
const roomOfMember = (userId: string) => `member:${userId}`

export class LiveEventSockets {
  readonly #options: LiveEventSocketsOptions
  readonly #limits: LiveEventLimits
  readonly #audiences: Audiences
  /** By socket: the events it watches. */
  readonly #watched = new Map<string, Set<string>>()
  /** By event: the version that was published last. */
  readonly #versions = new Map<string, number>()
  readonly #rights: RightsWatch
  #isStopped = false

  constructor(options: LiveEventSocketsOptions) {
    this.#options = options
    this.#limits = options.limits ?? defaultLiveEventLimits
    const { environment, attendance = nobodyElsewhere, tellsCore } = options
    this.#audiences = new Audiences(environment, attendance, {
      tell: (event, count, peak) => this.#emit(roomOf(event), 'viewers', { event, count, peak }),
      report: tellsCore ? (eventId, viewers, peak) => this.#report(eventId, viewers, peak) : null,
      watchedElsewhere: (eventId) => {
        if (tellsCore) void this.#adopt(eventId)
      },
    })
    this.#rights = new RightsWatch({
      environment: options.environment,
      present: () => this.#audiences.memberIds,
      recheck: (userId) => this.#recheck(userId),
    })
  }

  gauges() {
    return { live_audiences: this.#audiences.size, live_viewers: this.#audiences.viewers }
  }

  /** After a start nobody watches yet, whatever was counted before. */
  begin(): void {
    const { live, log, tellsCore } = this.#options
    if (!tellsCore) return
    live.current().then(
      (rows) => {
        for (const row of rows) if (row.viewers > 0) this.#audiences.of(row).report.touch()
      },
      (error: unknown) => log.error({ err: error }, 'viewers of live events are those of before the start'),
    )
  }

  stop(): void {
    this.#isStopped = true
    this.#rights.stop()
    this.#audiences.stop()
  }

  /** Tells everybody concerned of a durable record. */
  publish({ facts }: Pick<TurnRecord, 'facts'>): void {
    for (const fact of facts as readonly Told[]) {
      switch (fact.type) {
        case 'live.event_changed':
          this.#changed(fact)
          break
        case 'live.reminder_due':
          void this.#remind(fact.event)
          break
        case 'tier.changed':
        case 'user.administrator_changed':
          this.#rights.hear(fact)
          break
      }
    }
  }

  welcome(socket: ServerSocket): Commands {
    const { member } = socket.data
    assert(member !== undefined, 'only members enter the chat')
    const { userId } = member.principal
    this.#watched.set(socket.id, new Set())
    this.#rights.start()
    socket.once('disconnect', () => {
      if (this.#isStopped) return
      for (const eventId of this.#watched.get(socket.id) ?? []) this.#audiences.leave(eventId, userId, socket.id)
      this.#watched.delete(socket.id)
      if (this.#watched.size === 0) this.#rights.stop()
    })
    const watch: Command = (payload) => this.#watch(socket, userId, parse(onEvent, payload).event)
    const unwatch: Command = (payload) => this.#unwatch(socket, userId, parse(onEvent, payload).event)
    return new Map([
      ['event:watch', watch],
      ['event:unwatch', unwatch],
    ])
  }

  async #watch(socket: ServerSocket, userId: string, eventId: string) {
    const watched = this.#watched.get(socket.id)
    if (watched !== undefined && !watched.has(eventId) && watched.size >= this.#limits.eventsPerSocketMax) {
      throw new DomainError('too_many', 'too_many_events', 'This connection watches too many events. Leave one.')
    }
    for (let attempt = 0; attempt < WATCH_ATTEMPTS_MAX; attempt++) {
      const row = await this.#options.live.watchable(userId, eventId)
      // It has changed since: perhaps it is over, or for higher tiers.
      if ((this.#versions.get(eventId) ?? 0) > row.version) continue
      // Not when the socket went away while the engine was asked.
      if (socket.connected && watched !== undefined) {
        void socket.join(roomOf(eventId))
        watched.add(eventId)
        this.#audiences.of(row).enter(userId, socket.id)
      }
      const { count = 0, peak = 0 } = this.#audiences.find(eventId) ?? {}
      return { event: eventId, count, peak, state: this.#options.live.json(row) }
    }
    throw new DomainError('unavailable', 'busy', 'This event changes too fast to be watched now.', {
      retryAfterMs: 1_000,
    })
  }

  /** An event that nobody watches here, but somebody elsewhere. */
  async #adopt(eventId: string): Promise<void> {
    const { live, log } = this.#options
    try {
      let row = await live.find(eventId)
      while (row !== null && (this.#versions.get(eventId) ?? 0) > row.version) row = await live.find(eventId)
      if (row !== null && !this.#isStopped) this.#audiences.of(row).counted()
    } catch (error) {
      log.error({ err: error, eventId }, 'an event that is watched elsewhere is not known; it is counted later')
    }
  }

  #unwatch(socket: ServerSocket, userId: string, eventId: string) {
    void socket.leave(roomOf(eventId))
    if (this.#watched.get(socket.id)?.delete(eventId) === true) this.#audiences.leave(eventId, userId, socket.id)
    return { event: eventId }
  }

  #changed({ event: row, change }: ReturnType<typeof liveEventChanged.make>): void {
    const { eventId } = row
    this.#remember(row)
    const audience = this.#audiences.find(eventId)
    if (audience === undefined) return
    const wasFor = audience.row.minimumTier
    this.#audiences.changed(audience, row)
    if (change === 'viewers_counted') return
    this.#emit(roomOf(eventId), 'event:changed', { ...this.#options.live.json(row), change })
    if (isOver(row)) this.#end(audience)
    else if (row.minimumTier !== wasFor) void this.#rights.recheckAll(audience.memberIds)
  }

  #remember({ eventId, version }: LiveEventRow): void {
    this.#versions.delete(eventId)
    this.#versions.set(eventId, version)
    if (this.#versions.size <= this.#limits.versionsKept) return
    for (const oldest of this.#versions.keys()) {
      this.#versions.delete(oldest)
      return
    }
  }

  /** Nobody watches it any more. */
  #end(audience: Audience): void {
    const { eventId } = audience.row
    for (const socketId of audience.socketIds) {
      void this.#options.namespace.sockets.get(socketId)?.leave(roomOf(eventId))
      this.#watched.get(socketId)?.delete(eventId)
    }
    this.#audiences.end(audience)
  }

  #emit(room: string, event: 'viewers' | 'event:changed' | 'event:reminder', data: object): void {
    this.#options.namespace.local.to(room).emit(event, data as never)
    this.#options.metrics.published(event)
  }

  /** What the core does not take now, it is told again. */
  #report(eventId: string, viewers: number, peak: number): void {
    const { live, log } = this.#options
    live.countViewers(eventId, viewers, peak).catch((error: unknown) => {
      if (this.#isStopped) return
      log.error({ err: error, eventId }, 'viewers could not be counted; it is tried again')
      this.#audiences.find(eventId)?.report.touch()
    })
  }

  /** BJ-LIVE-07 */
  async #remind(row: LiveEventRow): Promise<void> {
    const { namespace, live, log, metrics } = this.#options
    const online = [...new Set([...namespace.sockets.values()].flatMap(({ data }) => memberOf(data)))]
    const { membersAtOnce } = this.#limits
    metrics.published('event:reminder')
    for (let start = 0; start < online.length; start += membersAtOnce) {
      const some = online.slice(start, start + membersAtOnce)
      const reminded = await live.audience(row.minimumTier, some).catch((error: unknown) => {
        log.error({ err: error, eventId: row.eventId }, 'members could not be reminded of a live event')
        return []
      })
      if (reminded.length > 0) namespace.local.to(reminded.map(roomOfMember)).emit('event:reminder', live.json(row))
    }
  }

  /** Takes a member out of events that are not theirs to see any more. Whom the engine cannot tell of, leaves all. */
  async #recheck(userId: string): Promise<void> {
    const { live, log } = this.#options
    const watched = this.#audiences.watchedBy(userId)
    if (watched.length === 0) return
    const seen = await live.seenBy(userId, watched).catch((error: unknown) => {
      log.error({ err: error, userId }, 'what a member may watch is not known; they are taken out of every event')
      return new Set<string>()
    })
    for (const eventId of watched) if (!seen.has(eventId)) this.#close(eventId, userId)
  }

  #close(eventId: string, userId: string): void {
    for (const socketId of this.#audiences.find(eventId)?.socketsOf(userId) ?? []) {
      const socket = this.#options.namespace.sockets.get(socketId)
      if (socket === undefined) continue
      this.#unwatch(socket, userId, eventId)
      socket.emit('event:closed', { event: eventId, code: 'tier_too_low' })
    }
  }
}

const memberOf = ({ member }: ServerSocket['data']) => (member === undefined ? [] : [member.principal.userId])

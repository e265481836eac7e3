/** Who watches a live event: counted by member, told to those who watch and to the core, the latest always (X3). */
import type { LiveEventRow } from '../../actors/live-event/facts.js'
import type { Environment } from '../../engine/store.js'
import type { Attendance, SharedRooms } from './attendance.js'
import { Coalescer } from './coalescer.js'

const TELL_INTERVAL_MS = 1_000
const REPORT_INTERVAL_MS = 5_000

export interface ViewerOutputs {
  /** To those who watch. */
  tell(eventId: string, count: number, peak: number): void
  /** To the core; null where another process does. */
  readonly report: ((eventId: string, viewers: number, peak: number) => void) | null
  /** Members watch an event in other processes only. */
  watchedElsewhere(eventId: string): void
}

export class Audience {
  readonly #members = new Map<string, Set<string>>()
  readonly tell: Coalescer
  readonly report: Coalescer
  #peak: number

  constructor(
    public row: LiveEventRow,
    environment: Pick<Environment, 'now' | 'wakeAt'>,
    private readonly outputs: Pick<ViewerOutputs, 'tell' | 'report'>,
    private readonly shared: SharedRooms,
  ) {
    this.#peak = row.peakViewers
    this.tell = new Coalescer(TELL_INTERVAL_MS, environment, () => this.#tell())
    this.report = new Coalescer(REPORT_INTERVAL_MS, environment, () => this.reportNow())
  }

  /** Members, not sockets: who reconnects, or watches twice, counts once. Over all processes. */
  get count(): number {
    return this.shared.count(this.row.eventId)
  }

  /** Members in this process. */
  get here(): number {
    return this.#members.size
  }

  /** The most there were while it was live. */
  get peak(): number {
    return this.#peak
  }

  get memberIds(): readonly string[] {
    return [...this.#members.keys()]
  }

  get socketIds(): readonly string[] {
    return [...this.#members.values()].flatMap((sockets) => [...sockets])
  }

  socketsOf(userId: string): readonly string[] {
    return [...(this.#members.get(userId) ?? [])]
  }

  has(userId: string): boolean {
    return this.#members.has(userId)
  }

  enter(userId: string, socketId: string): void {
    const sockets = this.#members.get(userId)
    if (sockets !== undefined) {
      sockets.add(socketId)
      return
    }
    this.#members.set(userId, new Set([socketId]))
    this.shared.entered(this.row.eventId, userId, '')
    this.counted()
  }

  leave(userId: string, socketId: string): void {
    const sockets = this.#members.get(userId)
    if (sockets?.delete(socketId) !== true || sockets.size > 0) return
    this.#members.delete(userId)
    this.shared.left(this.row.eventId, userId)
    this.counted()
  }

  /** Nobody watches here any more. */
  empty(): void {
    const memberIds = [...this.#members.keys()]
    this.#members.clear()
    for (const userId of memberIds) this.shared.left(this.row.eventId, userId)
  }

  /** The count has changed, or whether it matters. */
  counted(): void {
    this.#peak = Math.max(this.#peak, this.row.peakViewers)
    if (this.row.status === 'live') {
      this.#peak = Math.max(this.#peak, this.count)
      this.report.touch()
    }
    this.tell.touch()
  }

  /** What the core has already is not told again. */
  reportNow(): void {
    const { eventId, viewers, peakViewers, status } = this.row
    const isNews = (status === 'live' && this.count !== viewers) || this.#peak > peakViewers
    if (isNews) this.outputs.report?.(eventId, this.count, this.#peak)
  }

  stop(): void {
    this.tell.stop()
    this.report.stop()
  }

  #tell(): void {
    if (this.here > 0) this.outputs.tell(this.row.eventId, this.count, this.#peak)
  }
}

/** The audiences of events that are watched, and of those that are live. */
export class Audiences {
  readonly #byEvent = new Map<string, Audience>()
  readonly #shared: SharedRooms

  constructor(
    readonly environment: Pick<Environment, 'now' | 'wakeAt'>,
    attendance: Attendance,
    readonly outputs: ViewerOutputs,
  ) {
    this.#shared = attendance.share('event', {
      rooms: () => this.#watchedHere(),
      members: (eventId) => (this.find(eventId)?.memberIds ?? []).map((userId) => [userId, ''] as const),
      has: (eventId, userId) => this.find(eventId)?.has(userId) ?? false,
      count: (eventId) => this.find(eventId)?.here ?? 0,
      changed: (eventId) => this.#changedElsewhere(eventId),
    })
  }

  get size(): number {
    return this.#byEvent.size
  }

  get viewers(): number {
    return [...this.#byEvent.values()].reduce((sum, { here }) => sum + here, 0)
  }

  get memberIds(): readonly string[] {
    return [...new Set([...this.#byEvent.values()].flatMap(({ memberIds }) => memberIds))]
  }

  find(eventId: string): Audience | undefined {
    return this.#byEvent.get(eventId)
  }

  of(row: LiveEventRow): Audience {
    const known = this.#byEvent.get(row.eventId)
    if (known !== undefined) {
      if (row.version > known.row.version) this.changed(known, row)
      return known
    }
    const audience = new Audience(row, this.environment, this.outputs, this.#shared)
    this.#byEvent.set(row.eventId, audience)
    return audience
  }

  watchedBy(userId: string): readonly string[] {
    return [...this.#byEvent.values()].filter((each) => each.has(userId)).map(({ row }) => row.eventId)
  }

  leave(eventId: string, userId: string, socketId: string): void {
    const audience = this.#byEvent.get(eventId)
    if (audience === undefined) return
    audience.leave(userId, socketId)
    this.#forgetEmpty(audience)
  }

  changed(audience: Audience, row: LiveEventRow): void {
    const hasStarted = audience.row.status !== 'live' && row.status === 'live'
    audience.row = row
    if (hasStarted) audience.counted()
  }

  /** The peak that the core has not been told of is told once more. */
  end(audience: Audience): void {
    audience.reportNow()
    audience.empty()
    this.#forget(audience)
  }

  stop(): void {
    for (const audience of this.#byEvent.values()) audience.stop()
  }

  *#watchedHere(): Iterable<string> {
    for (const [eventId, { here }] of this.#byEvent) if (here > 0) yield eventId
  }

  #changedElsewhere(eventId: string): void {
    const audience = this.#byEvent.get(eventId)
    if (audience !== undefined) {
      audience.counted()
      this.#forgetEmpty(audience)
    } else if (this.#shared.count(eventId) > 0) this.outputs.watchedElsewhere(eventId)
  }

  /** Where the core is told, it is also told that nobody watches a live event. */
  #forgetEmpty(audience: Audience): void {
    const isNeeded = this.outputs.report !== null && (audience.count > 0 || audience.row.status === 'live')
    if (audience.here === 0 && !isNeeded) this.#forget(audience)
  }

  #forget(audience: Audience): void {
    audience.stop()
    this.#byEvent.delete(audience.row.eventId)
  }
}

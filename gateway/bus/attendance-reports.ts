/**
 * The gateway's side of who is where: it reports its own members, and hears how many there are over all processes.
 *
 * X3 Hints: reports are one after the other and acknowledged; after one that failed, or when the engine does not know
 *    this gateway, all of it is reported anew. B1 Changes that wait are bounded by that, too: past the limit they are
 *    dropped for a whole report.
 */
import type { Environment } from '../../engine/store.js'
import type { Attendance, Here, RoomKind, SharedRooms } from '../sockets/attendance.js'
import { Coalescer } from '../sockets/coalescer.js'
import {
  type AttendanceChange,
  type AttendanceReceipt,
  type AttendanceReport,
  CHANGES_PER_REPORT_MAX,
  REPORT_BEAT_MS,
  type RoomTotal,
  roomName,
} from './attendance-messages.js'

const REPORT_INTERVAL_MS = 100
const RETRY_MS = 1_000
const CHANGES_WAITING_MAX = 100_000

export interface AttendanceReportsOptions {
  readonly environment: Pick<Environment, 'now' | 'wakeAt'>
  /** Resolves when the engine has it. */
  readonly report: (report: Omit<AttendanceReport, 'gateway'>) => Promise<AttendanceReceipt>
}

export class AttendanceReports implements Attendance {
  readonly #options: AttendanceReportsOptions
  readonly #here = new Map<RoomKind, Here>()
  /** As they were told last, of rooms with somebody here. */
  readonly #totals = new Map<string, RoomTotal>()
  readonly #soon: Coalescer
  #changes: AttendanceChange[] = []
  #isWholeDue = true
  #isReporting = false
  #isStopped = false
  #cancelNext = () => {}

  constructor(options: AttendanceReportsOptions) {
    this.#options = options
    this.#soon = new Coalescer(REPORT_INTERVAL_MS, options.environment, () => void this.#report())
  }

  gauges() {
    return { attendance_changes: this.#changes.length, attendance_changes_max: CHANGES_WAITING_MAX }
  }

  share(kind: RoomKind, here: Here): SharedRooms {
    this.#here.set(kind, here)
    return {
      entered: (key, userId, username) => this.#change([kind, key, userId, username]),
      left: (key, userId) => {
        if (here.count(key) === 0) this.#totals.delete(roomName(kind, key))
        this.#change([kind, key, userId, null])
      },
      // What was told may be older than whoever came here since.
      count: (key) => Math.max(this.#totals.get(roomName(kind, key))?.count ?? 0, here.count(key)),
      sample: (key) => this.#totals.get(roomName(kind, key))?.sample ?? [],
    }
  }

  /** An engine that knows nothing of this gateway has started. */
  begin(): void {
    this.#totals.clear()
    this.#reportAnew()
  }

  /** How many there are in a room over all processes. */
  take(total: RoomTotal): void {
    const { kind, key } = total
    const here = this.#here.get(kind)
    if (here === undefined || here.count(key) === 0) return
    const before = this.#totals.get(roomName(kind, key))
    // Receipts and what is told come by two ways.
    if (before !== undefined && before.number > total.number) return
    this.#totals.set(roomName(kind, key), total)
    if (before?.count !== total.count || before.sample.join() !== total.sample.join()) here.changed(key)
  }

  /** Nobody is here any more. */
  async stop(): Promise<void> {
    this.#isStopped = true
    this.#soon.stop()
    this.#cancelNext()
    // An engine that cannot be told notices by the silence.
    await this.#options.report({ isWhole: true, changes: [] }).catch(() => {})
  }

  #reportAnew(): void {
    this.#isWholeDue = true
    this.#changes = []
    this.#soon.touch()
  }

  #change(change: AttendanceChange): void {
    if (this.#isWholeDue) return // it will be in the whole
    this.#changes.push(change)
    if (this.#changes.length > CHANGES_WAITING_MAX) this.#reportAnew()
    else this.#soon.touch()
  }

  async #report(): Promise<void> {
    if (this.#isReporting || this.#isStopped) return
    this.#isReporting = true
    let nextInMs = REPORT_BEAT_MS
    try {
      do {
        const isWhole = this.#isWholeDue
        if (isWhole) this.#changes = this.#everybody()
        this.#isWholeDue = false
        const changes = this.#changes.splice(0, CHANGES_PER_REPORT_MAX)
        const { isKnown, totals } = await this.#options.report({ isWhole, changes })
        if (!isKnown) this.#isWholeDue = true
        for (const total of totals) this.take(total)
      } while (this.#isWholeDue || this.#changes.length > 0)
    } catch {
      // What the engine has of it is not known now.
      this.#isWholeDue = true
      this.#changes = []
      nextInMs = RETRY_MS
    }
    this.#isReporting = false
    this.#awaitNext(nextInMs)
  }

  #awaitNext(inMs: number): void {
    const { environment } = this.#options
    this.#cancelNext()
    if (this.#isStopped) return
    this.#cancelNext = environment.wakeAt(environment.now() + inMs, () => void this.#report())
  }

  #everybody(): AttendanceChange[] {
    return [...this.#here].flatMap(([kind, here]) =>
      [...here.rooms()].flatMap((key) =>
        [...here.members(key)].map(([userId, username]): AttendanceChange => [kind, key, userId, username]),
      ),
    )
  }
}

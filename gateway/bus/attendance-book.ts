/**
 * Who is where over all processes, kept by the engine: its own sockets, and what its gateways report.
 *
 * X3 Members are counted once however many processes they are connected to; gateways are told at most twice a second and
 *    room, the latest always. What a gateway reports is the truth about it until it reports anew; one that is silent is
 *    forgotten. B1 Gateways, and members at them, are bounded; whoever comes past that is not counted.
 */
import { DomainError } from '../../engine/errors.js'
import type { Environment } from '../../engine/store.js'
import type { Attendance, Here, RoomKind, SharedRooms } from '../sockets/attendance.js'
import { Coalescer } from '../sockets/coalescer.js'
import { SAMPLE_MAX } from '../sockets/presence.js'
import {
  type AttendanceChange,
  type AttendanceReceipt,
  type AttendanceReport,
  GATEWAY_SILENCE_MAX_MS,
  REPORT_BEAT_MS,
  type RoomTotal,
  roomName,
} from './attendance-messages.js'

const TELL_INTERVAL_MS = 500
const GATEWAYS_MAX = 1_000
/** Of one member in one room at one gateway. */
const ENTRIES_MAX = 2_000_000

/** A room with members at gateways. */
interface Room {
  readonly kind: RoomKind
  readonly key: string
  readonly members: Map<string, { readonly username: string; gateways: number }>
  readonly tell: Coalescer
}

interface Gateway {
  heardAt: number
  readonly rooms: Map<Room, Set<string>>
}

export interface AttendanceBookOptions {
  readonly environment: Pick<Environment, 'now' | 'wakeAt'>
  /** Tells every gateway. */
  readonly tell: (total: RoomTotal) => void
}

export class AttendanceBook implements Attendance {
  readonly #options: AttendanceBookOptions
  readonly #here = new Map<RoomKind, Here>()
  readonly #rooms = new Map<string, Room>()
  readonly #gateways = new Map<string, Gateway>()
  #entries = 0
  #totals = 0
  #cancelSweep = () => {}

  constructor(options: AttendanceBookOptions) {
    this.#options = options
    this.#awaitSweep()
  }

  gauges() {
    return {
      gateways: this.#gateways.size,
      gateways_max: GATEWAYS_MAX,
      attendance_entries: this.#entries,
      attendance_entries_max: ENTRIES_MAX,
    }
  }

  share(kind: RoomKind, here: Here): SharedRooms {
    this.#here.set(kind, here)
    const touch = (key: string) => this.#rooms.get(roomName(kind, key))?.tell.touch()
    return {
      entered: touch,
      left: touch,
      count: (key) => this.#count(kind, key),
      sample: (key) => this.#sample(this.#rooms.get(roomName(kind, key))),
    }
  }

  /** What a gateway says of its members. Throws `overloaded`. */
  take({ gateway: id, isWhole, changes }: AttendanceReport): AttendanceReceipt {
    const concerned = new Set<Room>()
    if (isWhole) this.#leaveAll(id, concerned)
    else if (!this.#gateways.has(id)) return { isKnown: false, totals: [] }
    const gateway = this.#gateways.get(id) ?? this.#admit(id)
    gateway.heardAt = this.#options.environment.now()
    for (const change of changes) this.#apply(gateway, change, concerned)
    this.#announce(concerned)
    return { isKnown: true, totals: [...concerned].map((room) => this.#totalOf(room)) }
  }

  stop(): void {
    this.#cancelSweep()
    for (const { tell } of this.#rooms.values()) tell.stop()
  }

  #admit(id: string): Gateway {
    if (this.#gateways.size >= GATEWAYS_MAX) {
      throw new DomainError('unavailable', 'overloaded', 'There are too many gateways.')
    }
    const gateway = { heardAt: 0, rooms: new Map() }
    this.#gateways.set(id, gateway)
    return gateway
  }

  #apply(gateway: Gateway, [kind, key, userId, username]: AttendanceChange, concerned: Set<Room>): void {
    if (username === null) {
      const room = this.#rooms.get(roomName(kind, key))
      if (room !== undefined) this.#leave(gateway, room, userId, concerned)
      return
    }
    if (this.#entries >= ENTRIES_MAX) return // B1
    const room = this.#room(kind, key)
    const attending = gateway.rooms.get(room) ?? new Set()
    if (attending.has(userId)) return
    gateway.rooms.set(room, attending.add(userId))
    this.#entries += 1
    const known = room.members.get(userId)
    if (known === undefined) room.members.set(userId, { username, gateways: 1 })
    else known.gateways += 1
    concerned.add(room)
  }

  #leave(gateway: Gateway, room: Room, userId: string, concerned: Set<Room>): void {
    const attending = gateway.rooms.get(room)
    if (attending?.delete(userId) !== true) return
    if (attending.size === 0) gateway.rooms.delete(room)
    this.#entries -= 1
    concerned.add(room)
    const known = room.members.get(userId)
    if (known === undefined) return
    known.gateways -= 1
    if (known.gateways === 0) room.members.delete(userId)
  }

  #leaveAll(id: string, concerned: Set<Room>): void {
    const gateway = this.#gateways.get(id)
    if (gateway === undefined) return
    for (const [room, attending] of gateway.rooms) {
      for (const userId of attending) this.#leave(gateway, room, userId, concerned)
    }
    this.#gateways.delete(id)
  }

  #room(kind: RoomKind, key: string): Room {
    const name = roomName(kind, key)
    const known = this.#rooms.get(name)
    if (known !== undefined) return known
    const { environment, tell } = this.#options
    const room: Room = {
      ...{ kind, key, members: new Map() },
      tell: new Coalescer(TELL_INTERVAL_MS, environment, () => tell(this.#totalOf(room))),
    }
    this.#rooms.set(name, room)
    return room
  }

  /** Rooms with nobody at a gateway are of no concern to gateways any more. */
  #announce(concerned: ReadonlySet<Room>): void {
    for (const room of concerned) {
      const { kind, key, members, tell } = room
      if (members.size > 0) tell.touch()
      else {
        tell.stop()
        this.#rooms.delete(roomName(kind, key))
      }
      this.#here.get(kind)?.changed(key)
    }
  }

  #totalOf(room: Room): RoomTotal {
    const { kind, key } = room
    const names = new Set(this.#sample(room))
    for (const [, username] of this.#here.get(kind)?.members(key) ?? []) {
      if (names.size >= SAMPLE_MAX) break
      names.add(username)
    }
    this.#totals += 1
    return { kind, key, number: this.#totals, count: this.#count(kind, key), sample: [...names] }
  }

  #count(kind: RoomKind, key: string): number {
    const here = this.#here.get(kind)
    let count = here?.count(key) ?? 0
    const elsewhere = this.#rooms.get(roomName(kind, key))?.members
    if (count === 0) return elsewhere?.size ?? 0
    for (const userId of elsewhere?.keys() ?? []) if (here?.has(key, userId) !== true) count += 1
    return count
  }

  #sample(room: Room | undefined): string[] {
    const names: string[] = []
    for (const { username } of room?.members.values() ?? []) {
      if (names.length >= SAMPLE_MAX) break
      names.push(username)
    }
    return names
  }

  #awaitSweep(): void {
    const { environment } = this.#options
    this.#cancelSweep = environment.wakeAt(environment.now() + REPORT_BEAT_MS, () => {
      const concerned = new Set<Room>()
      for (const [id, { heardAt }] of this.#gateways) {
        if (environment.now() - heardAt > GATEWAY_SILENCE_MAX_MS) this.#leaveAll(id, concerned)
      }
      this.#announce(concerned)
      this.#awaitSweep()
    })
  }
}

/**
 * Who is in which channel, by member however many sockets they have. Never journaled; told at most once in
 * `PRESENCE_INTERVAL_MS` a channel, while somebody is in it here.
 */
import type { Environment } from '../../engine/store.js'
import type { Attendance, SharedRooms } from './attendance.js'
import { Coalescer } from './coalescer.js'

const PRESENCE_INTERVAL_MS = 2_000
export const SAMPLE_MAX = 20

interface ChannelAttendance {
  readonly members: Map<string, { readonly username: string; sockets: number }>
  readonly tell: Coalescer
}

export interface PresenceOptions {
  readonly environment: Pick<Environment, 'now' | 'wakeAt'>
  readonly attendance: Attendance
  /** Tells those who are in the channel here. */
  readonly tell: (channelId: string) => void
}

export class Presence {
  readonly #options: PresenceOptions
  readonly #channels = new Map<string, ChannelAttendance>()
  readonly #shared: SharedRooms

  constructor(options: PresenceOptions) {
    this.#options = options
    this.#shared = options.attendance.share('channel', {
      rooms: () => this.#channels.keys(),
      members: (channelId) => this.#named(channelId),
      has: (channelId, userId) => this.#channels.get(channelId)?.members.has(userId) ?? false,
      count: (channelId) => this.here(channelId),
      changed: (channelId) => this.#channels.get(channelId)?.tell.touch(),
    })
  }

  /** How many are in a channel in this process. */
  here(channelId: string): number {
    return this.#channels.get(channelId)?.members.size ?? 0
  }

  /** Over all processes. */
  count(channelId: string): number {
    return this.#shared.count(channelId)
  }

  /** Some of those who are there, whoever is here first. */
  sample(channelId: string): string[] {
    const sample = new Set<string>()
    for (const [, username] of this.#named(channelId)) {
      if (sample.size >= SAMPLE_MAX) break
      sample.add(username)
    }
    return [...new Set([...sample, ...this.#shared.sample(channelId)])].slice(0, SAMPLE_MAX)
  }

  /** Returns whether that is news, of which everybody in the channel will be told. */
  enter(channelId: string, userId: string, username: string): boolean {
    const { members, tell } = this.#attendance(channelId)
    const known = members.get(userId)
    if (known !== undefined) {
      known.sockets += 1
      return false
    }
    members.set(userId, { username, sockets: 1 })
    this.#shared.entered(channelId, userId, username)
    tell.touch()
    return true
  }

  leave(channelId: string, userId: string): void {
    const attendance = this.#channels.get(channelId)
    const known = attendance?.members.get(userId)
    if (attendance === undefined || known === undefined) return
    known.sockets -= 1
    if (known.sockets > 0) return
    attendance.members.delete(userId)
    if (attendance.members.size > 0) attendance.tell.touch()
    else {
      attendance.tell.stop()
      this.#channels.delete(channelId)
    }
    this.#shared.left(channelId, userId)
  }

  stop(): void {
    for (const { tell } of this.#channels.values()) tell.stop()
  }

  *#named(channelId: string): Iterable<readonly [string, string]> {
    for (const [userId, { username }] of this.#channels.get(channelId)?.members ?? []) yield [userId, username]
  }

  #attendance(channelId: string): ChannelAttendance {
    let attendance = this.#channels.get(channelId)
    if (attendance === undefined) {
      const { environment, tell } = this.#options
      attendance = {
        members: new Map(),
        tell: new Coalescer(PRESENCE_INTERVAL_MS, environment, () => tell(channelId)),
      }
      this.#channels.set(channelId, attendance)
    }
    return attendance
  }
}

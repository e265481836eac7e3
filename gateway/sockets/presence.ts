/**
 * Who is in which channel here, by member however many sockets they have. Never journaled; told at most once in
 * `PRESENCE_INTERVAL_MS` a channel while somebody is in it, and when it has become empty.
 */
import type { Environment } from '../../engine/store.js'
import { Coalescer } from './coalescer.js'

const PRESENCE_INTERVAL_MS = 2_000
export const SAMPLE_MAX = 20

interface Attendance {
  readonly members: Map<string, { readonly username: string; sockets: number }>
  readonly tell: Coalescer
}

export class Presence {
  readonly #channels = new Map<string, Attendance>()

  constructor(
    readonly environment: Pick<Environment, 'now' | 'wakeAt'>,
    readonly tell: (channelId: string, count: number, sample: string[]) => void,
  ) {}

  count(channelId: string): number {
    return this.#channels.get(channelId)?.members.size ?? 0
  }

  /** Some of those who are there. */
  sample(channelId: string): string[] {
    const members = this.#channels.get(channelId)?.members.values() ?? []
    const sample: string[] = []
    for (const { username } of members) {
      if (sample.length >= SAMPLE_MAX) break
      sample.push(username)
    }
    return sample
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
    if (attendance.members.size > 0) {
      attendance.tell.touch()
      return
    }
    attendance.tell.stop()
    this.#channels.delete(channelId)
    this.tell(channelId, 0, [])
  }

  /** Elsewhere somebody came or went: those who are here are told. */
  touch(channelId: string): void {
    this.#channels.get(channelId)?.tell.touch()
  }

  stop(): void {
    for (const { tell } of this.#channels.values()) tell.stop()
  }

  #attendance(channelId: string): Attendance {
    let attendance = this.#channels.get(channelId)
    if (attendance === undefined) {
      const tell = new Coalescer(PRESENCE_INTERVAL_MS, this.environment, () => this.#tell(channelId))
      attendance = { members: new Map(), tell }
      this.#channels.set(channelId, attendance)
    }
    return attendance
  }

  #tell(channelId: string): void {
    this.tell(channelId, this.count(channelId), this.sample(channelId))
  }
}

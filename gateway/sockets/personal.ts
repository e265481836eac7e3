/**
 * `/`: what members are told of themselves, and their commands.
 *
 * X1 Each member has a numbered stream; a socket learns its position and joins in one step, so that history and live
 *    flow meet without gap or overlap.
 */
import type { z } from 'zod'
import { DomainError } from '../../engine/errors.js'
import type { Principal } from '../http/toolkit/principal.js'
import { type Command, type Commands, parse, resumeCommand } from './client-in.js'
import {
  type PersonalEntry,
  type PersonalFact,
  personalEvent,
  type ServerSocket,
  type SocketNamespace,
} from './client-out.js'
import type { Member } from './members.js'
import type { SocketLog, SocketMetrics } from './metrics.js'
import type { Followed, PersonalStreams } from './personal-streams.js'
import type { Stream } from './stream.js'

export interface PersonalOptions<Scan> {
  readonly namespace: SocketNamespace
  /** The stream of a member, in this process or from another. */
  readonly follow: (userId: string) => Followed<PersonalEntry>
  readonly parseScan: z.ZodType<Scan>
  readonly submitScan: (principal: Principal, scan: Scan, context: { readonly ip: string }) => Promise<unknown>
  readonly metrics: SocketMetrics
  readonly log: SocketLog
}

const roomOf = (userId: string) => `member:${userId}`

export class Personal<Scan> {
  constructor(readonly options: PersonalOptions<Scan>) {}

  /** Tells a member who is here; the stream has it already. */
  tell(userId: string, { event, data }: PersonalEntry): void {
    const { namespace, metrics } = this.options
    namespace.to(roomOf(userId)).emit(event, data)
    metrics.published(event)
  }

  /** Closes the connections of a member, who comes back with their position. */
  dismiss(userId: string): void {
    const { adapter, sockets } = this.options.namespace
    for (const id of adapter.rooms.get(roomOf(userId)) ?? []) sockets.get(id)?.conn.close()
  }

  /** Tells a new socket where its stream stands; what happens from here on it gets as it happens. */
  welcome(socket: ServerSocket, { principal }: Member, ip: string): Commands {
    const { userId } = principal
    const { stream, leave } = this.options.follow(userId)
    socket.once('disconnect', leave)
    const joined = this.#join(socket, userId, stream)
    return this.#commands(principal, joined, ip)
  }

  /** A stream that cannot be had ends the connection: the client comes back by itself, and is let in or told why not. */
  async #join(socket: ServerSocket, userId: string, known: Followed<PersonalEntry>['stream']) {
    try {
      const stream = await known
      if (!socket.connected) return stream
      socket.emit('position', { stream: 'personal', ...stream.position })
      void socket.join(roomOf(userId))
      return stream
    } catch (error) {
      this.options.log.error({ err: error, userId }, 'what a member was told is not known; they are to come back')
      socket.conn.close()
      return null
    }
  }

  #commands(principal: Principal, joined: Promise<Stream<PersonalEntry> | null>, ip: string): Commands {
    const { parseScan, submitScan } = this.options
    const submit: Command = (payload) => submitScan(principal, parse(parseScan, payload), { ip })
    const resume: Command = async (payload) => {
      const stream = await joined
      if (stream === null) throw new DomainError('unavailable', 'engine_unavailable', 'Connect again.')
      return resumeCommand('personal', stream)(payload)
    }
    return new Map([
      ['scan:submit', submit],
      ['resume', resume],
    ])
  }
}

/** Gives what happened to a member its place in their stream; null when nobody may ask for it. */
export function entered(streams: PersonalStreams<PersonalEntry>, fact: PersonalFact, atMs: number) {
  const found = streams.find(fact.userId)
  if (found === undefined) return null
  const { event, data } = personalEvent(fact, atMs)
  const entry = found.stream.append((position) => ({ event, data: { ...data, ...position } }))
  return { ...found, entry }
}

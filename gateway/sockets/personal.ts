/**
 * `/`: what members are told of themselves, and their commands.
 *
 * X1 Each member has a numbered stream; a socket learns its position and joins in one step, so that history and live
 *    flow meet without gap or overlap.
 */
import type { z } from 'zod'
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
import type { SocketMetrics } from './metrics.js'
import type { PersonalStreams } from './personal-streams.js'
import type { Stream } from './stream.js'

export interface PersonalOptions<Scan> {
  readonly namespace: SocketNamespace
  readonly streams: PersonalStreams<PersonalEntry>
  readonly parseScan: z.ZodType<Scan>
  readonly submitScan: (principal: Principal, scan: Scan, context: { readonly ip: string }) => Promise<unknown>
  readonly metrics: SocketMetrics
}

const roomOf = (userId: string) => `member:${userId}`

export class Personal<Scan> {
  constructor(readonly options: PersonalOptions<Scan>) {}

  /** Tells a member of what happened to him, and keeps it if he was here not long ago. */
  tell(fact: PersonalFact, atMs: number): void {
    const { namespace, streams, metrics } = this.options
    const found = streams.find(fact.userId)
    if (found === undefined) return
    const { event, data } = personalEvent(fact, atMs)
    const entry = found.stream.append((position) => ({ event, data: { ...data, ...position } }))
    if (!found.present) return
    namespace.to(roomOf(fact.userId)).emit(event, entry.data)
    metrics.published(event)
  }

  /** Tells a new socket where its stream stands; what happens from here on it gets as it happens. */
  welcome(socket: ServerSocket, { principal }: Member, ip: string): Commands {
    const { streams } = this.options
    const { userId } = principal
    const stream = streams.enter(userId)
    socket.once('disconnect', () => streams.leave(userId))
    socket.emit('position', { stream: 'personal', ...stream.position })
    void socket.join(roomOf(userId))
    return this.#commands(principal, stream, ip)
  }

  #commands(principal: Principal, stream: Stream<PersonalEntry>, ip: string): Commands {
    const { parseScan, submitScan } = this.options
    const submit: Command = (payload) => submitScan(principal, parse(parseScan, payload), { ip })
    return new Map([
      ['scan:submit', submit],
      ['resume', resumeCommand('personal', stream)],
    ])
  }
}

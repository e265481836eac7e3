/**
 * Socket.IO on the gateway's uWS app: `/` and `/social/ws` for members, `/insights/live` for everybody.
 *
 * G1 Records come in order and after the gate; each is told in the turn it comes.
 */

import type { HttpRequest, HttpResponse, TemplatedApp } from 'uWebSockets.js'
import type { Registry } from 'prom-client'
import type { z } from 'zod'
import { assert } from '../../engine/assert.js'
import type { TurnRecord } from '../../engine/record.js'
import type { Environment } from '../../engine/store.js'
import type { Chat } from '../chat.js'
import type { Client } from '../http/toolkit/client-address.js'
import type { Principal } from '../http/toolkit/principal.js'
import type { LiveEvents } from '../live-events.js'
import { ChatSockets, defaultChatSocketLimits } from './chat-sockets.js'
import { handshake } from './client-in.js'
import {
  milestonesOf,
  type PayoutSettled,
  type PersonalEntry,
  type PersonalFact,
  type ServerSocket,
  type SessionClosed,
  type SocketNamespace,
} from './client-out.js'
import { CommandsUnderWay } from './commands-under-way.js'
import { Connections } from './connections.js'
import { defaultSocketLimits, type SocketLimits } from './limits.js'
import { LiveEventSockets } from './live-events.js'
import { LiveInsights } from './live-insights.js'
import { type Authenticated, Members } from './members.js'
import { type SocketLog, SocketMetrics } from './metrics.js'
import { Personal } from './personal.js'
import { PersonalStreams } from './personal-streams.js'
import { SafeApp } from './safe-app.js'
import type { ScanVelocity } from './scan-velocity.js'
import { type ChatAdapter, letGo, openServer, serveNamespace } from './serving.js'
import type { PoolBalance } from './treasury-ticker.js'

export interface SocketsOptions<Scan> {
  readonly app: TemplatedApp
  /** Random for each start of the process (X1). */
  readonly epoch: string
  readonly environment: Pick<Environment, 'now' | 'wakeAt'>
  /** Whom a token speaks for and until when; throws `unauthorized` or `token_expired`. */
  readonly authenticate: (token: string, context: { readonly ip: string }) => Authenticated | Promise<Authenticated>
  /** Rejects when the session has ended. */
  readonly checkSession: (principal: Principal) => Promise<void>
  readonly parseScan: z.ZodType<Scan>
  /** Resolves to what the REST route would answer; rejects with a DomainError. */
  readonly submitScan: (principal: Principal, scan: Scan, context: { readonly ip: string }) => Promise<unknown>
  readonly clientOf: (res: HttpResponse, req: HttpRequest) => Client
  readonly chat: Chat
  readonly liveEvents: LiveEvents
  /** Counts new connections by address, shared with HTTP. */
  readonly addressBucket: { take(key: string): number }
  /** Counted by {@link Sockets.publish}; may be warmed with the scans of the last minutes. */
  readonly velocity: ScanVelocity
  /** Scans accepted before the first record published. */
  readonly scansSoFar: number
  /** What wins at which multiples of the counter; amounts are micro-units. */
  readonly milestones: readonly { readonly every: number; readonly amount: bigint }[]
  /** What the pools of the treasury hold now; asked every few seconds while members watch. */
  readonly treasury: () => Promise<readonly PoolBalance[]>
  readonly metrics: Registry
  readonly log: SocketLog
  readonly limits?: Partial<SocketLimits>
  /** Count loopback clients against the limits per address too, instead of exempting them. */
  readonly limitLoopback?: boolean
  /** Origins of web pages elsewhere that may connect by polling; none by default. */
  readonly allowedOrigins?: readonly string[]
  /** Reaches other processes that serve `/social/ws` too. */
  readonly chatAdapter?: ChatAdapter
}

export interface Sockets {
  /** Where `/social/ws` tells other processes, and hears of them. */
  readonly chatNamespace: SocketNamespace
  /** Tells everybody concerned of a durable record. */
  publish(record: TurnRecord): void
  gauges(): Readonly<Record<string, number>>
  /** Refuses new connections and closes the open ones; clients come back to whoever serves then. */
  close(): Promise<void>
}

/** Serves Socket.IO at `/socket.io/` of the app. One per process: Socket.IO patches its adapter for the last app. */
export function attachSockets<Scan>(options: SocketsOptions<Scan>): Sockets {
  const limits = { ...defaultSocketLimits, ...options.limits }
  const { environment, epoch, log } = options
  const metrics = new SocketMetrics(options.metrics)
  const safeApp = new SafeApp(options.app, {
    ...limits,
    clientOf: options.clientOf,
    log,
    onDropped: () => metrics.dropped(),
  })
  const { addressBucket, limitLoopback = false } = options
  const connections = new Connections(safeApp, metrics, { limits, limitLoopback, addressBucket })
  const io = openServer(safeApp, connections, { ...options, limits })
  const members = new Members(limits.socketsPerMemberMax, environment)
  const streams = new PersonalStreams<PersonalEntry>(epoch, limits.personalEventsKept, limits.absentMembersMax)
  const personal = new Personal({ ...options, namespace: io.of('/'), streams, metrics })
  const live = new LiveInsights({
    ...options,
    namespace: io.of('/insights/live'),
    scans: options.scansSoFar,
    milestones: milestonesOf(options.milestones),
    feedItemsKept: limits.feedItemsKept,
    metrics,
  })
  const chat = new ChatSockets({
    ...options,
    limits: defaultChatSocketLimits,
    namespace: io.of('/social/ws'),
    isShared: options.chatAdapter !== undefined,
    metrics,
  })
  const events = new LiveEventSockets({
    ...{ environment, metrics, log },
    live: options.liveEvents,
    namespace: io.of('/social/ws'),
  })
  events.begin()
  const ipOf = (socket: ServerSocket) => safeApp.clientOf(socket.conn.request).ip
  const entry = { ...options, members, metrics, ipOf }
  const underWay = new CommandsUnderWay()
  const commandOptions = { limits, underWay, now: () => environment.now(), metrics, log }
  serveNamespace(io.of('/'), handshake(entry, false), commandOptions, (socket) => {
    const { member } = socket.data
    assert(member !== undefined, 'only members enter /')
    return personal.welcome(socket, member, ipOf(socket))
  })
  const chatEntry = {
    ...entry,
    checkSession: async (principal: Principal) => {
      await options.checkSession(principal)
      await options.chat.enter(principal.userId)
    },
  }
  serveNamespace(io.of('/social/ws'), handshake(chatEntry, false), commandOptions, (socket) => {
    return new Map([...chat.welcome(socket), ...events.welcome(socket)])
  })
  serveNamespace(io.of('/insights/live'), handshake(entry, true), commandOptions, (socket) => live.welcome(socket))

  const gauges = () => ({
    connections: connections.open,
    connections_max: limits.connectionsMax,
    web_sockets: safeApp.webSockets,
    addresses: connections.addresses,
    members: members.online,
    commands_under_way: underWay.count,
    personal_streams_present: streams.present,
    personal_streams_absent: streams.absent,
    personal_streams_absent_max: limits.absentMembersMax,
    feed_offset: live.feedOffset,
    ...chat.gauges(),
    ...events.gauges(),
  })
  metrics.expose(gauges)

  let closed = false
  let closing: Promise<void> | undefined
  const close = async () => {
    await letGo(connections, underWay)
    closed = true
    live.stop()
    chat.stop()
    events.stop()
    await io.close()
  }
  return {
    chatNamespace: io.of('/social/ws'),
    publish: (record) => {
      if (closed) return
      publish(record, { live, personal, members })
      chat.publish(record)
      events.publish(record)
    },
    gauges,
    close: () => {
      closing ??= close()
      return closing
    },
  }
}

interface Audience {
  readonly live: LiveInsights
  readonly personal: { tell(fact: PersonalFact, atMs: number): void }
  readonly members: Members
}

type Told = PersonalFact | PayoutSettled | SessionClosed

function publish({ input, facts }: TurnRecord, { live, personal, members }: Audience): void {
  for (const fact of facts as readonly Told[]) {
    switch (fact.type) {
      case 'scan.accepted':
        live.scanAccepted(fact.ordinal, input.at)
        personal.tell(fact, input.at)
        break
      case 'comp.awarded':
        live.compAwarded(fact, input.at)
        personal.tell(fact, input.at)
        break
      case 'tier.changed':
        live.tierChanged(fact, input.at)
        personal.tell(fact, input.at)
        break
      case 'withdrawal.completed':
        personal.tell(fact, input.at)
        break
      case 'payout.settled':
        if (fact.kind === 'comp') live.compPaid(fact, input.at)
        break
      case 'session.closed':
        members.endSession(fact.sessionId, fact.because)
        break
    }
  }
}

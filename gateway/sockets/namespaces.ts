/**
 * Every namespace of a process, whether it is the engine's or a gateway's: the same code for the same contract. What
 * differs is where streams, dashboards and counts come from.
 *
 * G1 Facts come in order and after the gate; each is told in the turn it comes.
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
import type { Attendance } from './attendance.js'
import { ChatSockets, defaultChatSocketLimits } from './chat-sockets.js'
import { type CommandOptions, type HandshakeOptions, handshake } from './client-in.js'
import {
  milestonesOf,
  type PersonalEntry,
  type ServerSocket,
  type SessionClosed,
  type SocketServer,
} from './client-out.js'
import { CommandsUnderWay } from './commands-under-way.js'
import { Connections } from './connections.js'
import { defaultSocketLimits, type SocketLimits } from './limits.js'
import { LiveEventSockets } from './live-events.js'
import { type Insights, LiveInsights } from './live-insights.js'
import { type Authenticated, Members } from './members.js'
import { type SocketLog, SocketMetrics } from './metrics.js'
import { Personal } from './personal.js'
import type { Followed } from './personal-streams.js'
import { SafeApp } from './safe-app.js'
import { CHAT, type ChatAdapter, letGo, openServer, serveNamespace } from './serving.js'

const INSIGHTS = '/insights/live'

export interface NamespacesOptions<Scan> {
  readonly app: TemplatedApp
  readonly environment: Pick<Environment, 'now' | 'wakeAt'>
  /** Whom a token speaks for and until when; throws `unauthorized`, `token_expired` or `engine_unavailable`. */
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
  /** What wins at which multiples of the counter; amounts are micro-units. */
  readonly milestones: readonly { readonly every: number; readonly amount: bigint }[]
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

/** Where a process has it from. */
export interface SocketSources {
  readonly insights: Insights
  readonly follow: (userId: string) => Followed<PersonalEntry>
  readonly attendance: Attendance
  /** The one process that tells the core how many watch a live event. */
  readonly tellsCore: boolean
  gauges(): Readonly<Record<string, number>>
}

/** Serves Socket.IO at `/socket.io/` of the app. One per process: Socket.IO patches its adapter for the last app. */
export function serveNamespaces<Scan>(options: NamespacesOptions<Scan>, sources: SocketSources) {
  const limits = { ...defaultSocketLimits, ...options.limits }
  const { environment, log, addressBucket, limitLoopback = false } = options
  const metrics = new SocketMetrics(options.metrics)
  const safeApp = new SafeApp(options.app, {
    ...limits,
    clientOf: options.clientOf,
    log,
    onDropped: () => metrics.dropped(),
  })
  const connections = new Connections(safeApp, metrics, { limits, limitLoopback, addressBucket })
  const io = openServer(safeApp, connections, { ...options, limits })
  const members = new Members(limits.socketsPerMemberMax, environment)
  const handlers = createHandlers(io, options, sources, metrics)
  const { personal, live, chat, events } = handlers
  events.begin()
  const underWay = new CommandsUnderWay()
  const ipOf = (socket: ServerSocket) => safeApp.clientOf(socket.conn.request).ip
  const commandOptions = { limits, underWay, now: () => environment.now(), metrics, log }
  letIn(io, options, handlers, sources.insights, { members, metrics, ipOf }, commandOptions)
  const gauges = () => ({
    connections: connections.open,
    connections_max: limits.connectionsMax,
    web_sockets: safeApp.webSockets,
    addresses: connections.addresses,
    members: members.online,
    commands_under_way: underWay.count,
    feed_offset: sources.insights.state.feed.offset,
    ...sources.gauges(),
    ...chat.gauges(),
    ...events.gauges(),
  })
  metrics.expose(gauges)
  return {
    ...{ live, personal, gauges },
    chatNamespace: io.of(CHAT),
    /** Tells everybody concerned of what became true, as far as it is neither numbered nor counted first. */
    publish: (facts: TurnRecord['facts']) => {
      endSessions(members, facts)
      chat.publish({ facts })
      events.publish({ facts })
    },
    /** Closes every connection, so that clients come back with their positions. */
    dismissAll: () => connections.closeAll(),
    /** Closes the connections of a member in `/`. */
    dismiss: (userId: string) => personal.dismiss(userId),
    /** Answers what clients have sent by now; from then on nobody new is admitted. */
    letGo: () => letGo(connections, underWay),
    close: async () => {
      chat.stop()
      events.stop()
      await io.close()
    },
  }
}

type Handlers<Scan> = ReturnType<typeof createHandlers<Scan>>

function createHandlers<Scan>(
  io: SocketServer,
  options: NamespacesOptions<Scan>,
  { insights, follow, attendance, tellsCore }: SocketSources,
  metrics: SocketMetrics,
) {
  const { environment, log } = options
  return {
    personal: new Personal({ ...options, namespace: io.of('/'), follow, metrics }),
    live: new LiveInsights({
      ...{ environment, insights, metrics },
      namespace: io.of(INSIGHTS),
      milestones: milestonesOf(options.milestones),
    }),
    chat: new ChatSockets({
      ...options,
      ...{ attendance, metrics },
      limits: defaultChatSocketLimits,
      namespace: io.of(CHAT),
      isShared: options.chatAdapter !== undefined,
    }),
    events: new LiveEventSockets({
      ...{ environment, metrics, log, attendance, tellsCore },
      live: options.liveEvents,
      namespace: io.of(CHAT),
    }),
  }
}

/** Who may enter where, and what they may say there. */
function letIn<Scan>(
  io: SocketServer,
  options: NamespacesOptions<Scan>,
  { personal, live, chat, events }: Handlers<Scan>,
  insights: Insights,
  known: Pick<HandshakeOptions, 'members' | 'metrics' | 'ipOf'>,
  commandOptions: CommandOptions,
): void {
  const entry = { ...options, ...known }
  serveNamespace(io.of('/'), handshake(entry, false), commandOptions, (socket) => {
    const { member } = socket.data
    assert(member !== undefined, 'only members enter /')
    return personal.welcome(socket, member, known.ipOf(socket))
  })
  const chatEntry = {
    ...entry,
    checkSession: async (principal: Principal) => {
      await options.checkSession(principal)
      await options.chat.enter(principal.userId)
    },
  }
  serveNamespace(io.of(CHAT), handshake(chatEntry, false), commandOptions, (socket) => {
    return new Map([...chat.welcome(socket), ...events.welcome(socket)])
  })
  const insightsEntry = { ...entry, ready: () => insights.ready() }
  serveNamespace(io.of(INSIGHTS), handshake(insightsEntry, true), commandOptions, (socket) => live.welcome(socket))
}

function endSessions(members: Members, facts: TurnRecord['facts']): void {
  for (const fact of facts as readonly SessionClosed[]) {
    if (fact.type === 'session.closed') members.endSession(fact.sessionId, fact.because)
  }
}

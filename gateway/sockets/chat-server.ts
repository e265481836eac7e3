/**
 * `/social/ws` alone, for an engine in another process: the same rooms and the same contract, many processes.
 *
 * G1 Facts come in record order and are told in the turn they come. X1 Clients that may have missed something lose their
 *    connection: they come back with their positions and get what they missed.
 */
import type { HttpRequest, HttpResponse, TemplatedApp } from 'uWebSockets.js'
import type { Registry } from 'prom-client'
import type { sessionClosed } from '../../actors/user/facts.js'
import type { TurnRecord } from '../../engine/record.js'
import type { Environment } from '../../engine/store.js'
import type { Chat } from '../chat.js'
import type { Client } from '../http/toolkit/client-address.js'
import type { Principal } from '../http/toolkit/principal.js'
import { ChatSockets, defaultChatSocketLimits } from './chat-sockets.js'
import { handshake } from './client-in.js'
import type { ServerSocket, SocketNamespace } from './client-out.js'
import { CommandsUnderWay } from './commands-under-way.js'
import { Connections } from './connections.js'
import { defaultSocketLimits, type SocketLimits } from './limits.js'
import { type Authenticated, Members } from './members.js'
import { type SocketLog, SocketMetrics } from './metrics.js'
import { SafeApp } from './safe-app.js'
import { CHAT, type ChatAdapter, letGo, openServer, serveNamespace } from './serving.js'

export interface ChatServerOptions {
  readonly app: TemplatedApp
  readonly environment: Pick<Environment, 'now' | 'wakeAt'>
  /** Whom a token speaks for and until when; throws `unauthorized`, `token_expired` or `engine_unavailable`. */
  readonly authenticate: (token: string, context: { readonly ip: string }) => Authenticated | Promise<Authenticated>
  /** Rejects when the session has ended. */
  readonly checkSession: (principal: Principal) => Promise<void>
  readonly clientOf: (res: HttpResponse, req: HttpRequest) => Client
  readonly chat: Chat
  readonly chatAdapter: ChatAdapter
  /** Counts new connections by address. */
  readonly addressBucket: { take(key: string): number }
  readonly metrics: Registry
  readonly log: SocketLog
  readonly limits?: Partial<SocketLimits>
  readonly limitLoopback?: boolean
  readonly allowedOrigins?: readonly string[]
}

export interface ChatServer {
  readonly namespace: SocketNamespace
  publish(facts: TurnRecord['facts']): void
  /** Closes every connection, so that clients come back with their positions. */
  dismissAll(): void
  close(): Promise<void>
}

export function attachChat(options: ChatServerOptions): ChatServer {
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
  const namespace = io.of(CHAT)
  const chat = new ChatSockets({ ...options, limits: defaultChatSocketLimits, namespace, isShared: true, metrics })
  const underWay = new CommandsUnderWay()
  const entry = {
    authenticate: options.authenticate,
    ...{ members, metrics, log },
    ipOf: (socket: ServerSocket) => safeApp.clientOf(socket.conn.request).ip,
    checkSession: async (principal: Principal) => {
      await options.checkSession(principal)
      await options.chat.enter(principal.userId)
    },
  }
  const commandOptions = { limits, underWay, now: () => environment.now(), metrics, log }
  serveNamespace(namespace, handshake(entry, false), commandOptions, (socket) => chat.welcome(socket))
  metrics.expose(() => ({
    connections: connections.open,
    connections_max: limits.connectionsMax,
    web_sockets: safeApp.webSockets,
    addresses: connections.addresses,
    members: members.online,
    commands_under_way: underWay.count,
    ...chat.gauges(),
  }))

  return {
    namespace,
    publish: (facts) => {
      chat.publish({ facts })
      for (const fact of facts as readonly ReturnType<typeof sessionClosed.make>[]) {
        if (fact.type === 'session.closed') members.endSession(fact.sessionId, fact.because)
      }
    },
    dismissAll: () => connections.closeAll(),
    close: async () => {
      await letGo(connections, underWay)
      chat.stop()
      await io.close()
    },
  }
}

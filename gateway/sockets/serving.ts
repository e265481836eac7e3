/** What every Socket.IO server here has in common, whichever namespaces it serves. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Namespace, Server } from 'socket.io'
import { type CommandOptions, type Commands, type handshake, serveCommands } from './client-in.js'
import type { ServerSocket, SocketNamespace, SocketServer } from './client-out.js'
import type { CommandsUnderWay } from './commands-under-way.js'
import type { Connections } from './connections.js'
import type { SocketLimits } from './limits.js'
import { knowPolling } from './polling.js'
import { passReadyJson } from './ready-json.js'
import type { SafeApp } from './safe-app.js'

export const CHAT = '/social/ws'
const CLOSE_TIMEOUT_MS = 2_000
const LINGER_MS = 250

type Adapter = Namespace['adapter']
/** Makes the adapter of the chat's namespace. */
export type ChatAdapter = (namespace: Namespace) => Adapter

export interface ServerOptions {
  readonly limits: SocketLimits
  /** Origins of web pages elsewhere that may connect by polling; none by default. */
  readonly allowedOrigins?: readonly string[]
  readonly chatAdapter?: ChatAdapter
}

export function openServer(
  app: SafeApp,
  connections: Connections,
  { limits, allowedOrigins = [], chatAdapter }: ServerOptions,
): SocketServer {
  const io: SocketServer = new Server({
    serveClient: false,
    connectTimeout: limits.connectTimeoutMs,
    maxHttpBufferSize: limits.messageBytesMax,
    httpCompression: false,
    perMessageDeflate: false,
    // Must answer at once: uWS forgets the request when its handler returns.
    allowRequest: (request, answer) => {
      const refusal = connections.refusal(app.clientOf(request))
      answer(refusal?.message, refusal === undefined)
    },
    ...(allowedOrigins.length === 0 ? {} : { cors: { origin: [...allowedOrigins] } }),
  })
  if (chatAdapter !== undefined) io.adapter(withChatAdapter(io, chatAdapter))
  passReadyJson(io)
  io.attachApp(app)
  io.engine.on('connection', (connection: ServerSocket['conn']) => connections.watch(connection))
  return io
}

/**
 * Rooms stay those of this process: what happens reaches the others as facts, and a Redis that is away must not keep a
 * broadcast from those who are here. The adapter carries what processes tell each other.
 */
function withChatAdapter(io: SocketServer, chatAdapter: ChatAdapter) {
  const InMemory = io.of('/').adapter.constructor as new (namespace: Namespace) => Adapter
  // Socket.IO calls it with `new`, which only a function that is declared as one can be.
  function adapterOf(namespace: Namespace): Adapter {
    if (namespace.name !== CHAT) return new InMemory(namespace)
    const adapter = chatAdapter(namespace)
    adapter.broadcast = InMemory.prototype.broadcast
    return adapter
  }
  return adapterOf
}

export function serveNamespace(
  namespace: SocketNamespace,
  enter: ReturnType<typeof handshake>,
  options: CommandOptions,
  welcome: (socket: ServerSocket) => Commands,
): void {
  knowPolling(namespace)
  namespace.use(enter)
  namespace.on('connection', (socket) => {
    leaveTopicsAtEnd(socket)
    const { member } = socket.data
    if (member?.endedBecause !== undefined)
      member.end(member.endedBecause) // since the handshake (M1)
    else serveCommands(socket, welcome(socket), options)
  })
}

/**
 * Socket.IO forgets to unsubscribe a WebSocket that leaves a namespace but stays open for another: the next member to
 * join on it would get what is meant for the one before.
 */
function leaveTopicsAtEnd(socket: ServerSocket): void {
  socket.once('disconnecting', () => {
    if (socket.conn.readyState !== 'open') return
    for (const room of socket.rooms) void socket.leave(room)
  })
}

/** What clients have sent by now is read, and answered or refused, before they are let go. */
export async function letGo(connections: Connections, underWay: CommandsUnderWay): Promise<void> {
  connections.stop()
  if (connections.open === 0) return
  const answered = underWay.stop(CLOSE_TIMEOUT_MS)
  const latest = performance.now() + CLOSE_TIMEOUT_MS
  // While somebody is still told, more may be on its way: a busy machine reads late.
  for (let refused = -1; refused !== underWay.refused && performance.now() < latest; ) {
    refused = underWay.refused
    await sleep(LINGER_MS)
  }
  await answered
}

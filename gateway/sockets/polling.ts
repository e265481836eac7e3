/**
 * Events for a room go to its WebSockets by one publish of uWS. Socket.IO then looks at every socket of the room for those
 * that poll: a tenth to an eighth of all its CPU at 2,000 to 8,000 sockets. Here those that poll are known.
 *
 * P1 A socket is known to poll from the moment it connects, before anything can be told, until it is upgraded, when the
 *    adapter subscribes it to the topics of its rooms, or is gone.
 */
import type { ServerSocket, SocketNamespace } from './client-out.js'

interface Target {
  readonly rooms: ReadonlySet<string>
  readonly except?: ReadonlySet<string>
}

/** Makes broadcasts of a namespace to one room, or to all, look only at sockets that poll. Before anybody connects. */
export function knowPolling(namespace: SocketNamespace): void {
  const polling = new Set<ServerSocket>()
  namespace.on('connection', (socket) => watch(socket, polling))
  const { adapter } = namespace
  const broadcast = adapter.broadcast
  const amongPolling = Object.create(adapter, {
    apply: {
      value: ({ rooms: [room] }: Target, tell: (socket: ServerSocket) => void) => {
        for (const socket of polling) if (room === undefined ? socket.connected : socket.rooms.has(room)) tell(socket)
      },
    },
  })
  adapter.broadcast = (packet, options) => {
    const { rooms, except }: Target = options
    const isPublished = rooms.size <= 1 && (except?.size ?? 0) === 0
    broadcast.call(isPublished ? amongPolling : adapter, packet, options)
  }
}

/** P1 */
function watch(socket: ServerSocket, polling: Set<ServerSocket>): void {
  const { conn } = socket
  if (conn.transport.name !== 'polling') return
  polling.add(socket)
  const forget = () => polling.delete(socket)
  conn.once('upgrade', forget)
  socket.once('disconnect', () => {
    conn.off('upgrade', forget)
    forget()
  })
}

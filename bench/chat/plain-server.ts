/** Socket.IO as most people run it: on Node's HTTP server and ws. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Server } from 'socket.io'
import { answerCalls } from './calls.js'
import type { Told } from './connection.js'
import { type ReferenceCalls, type ReferenceInput, ReferenceRoom, usage } from './reference.js'

const ROOM = 'room'
type Ack = (answer: object) => void

async function listen({ sample }: ReferenceInput): Promise<string> {
  const http = createServer()
  const io = new Server(http, { serveClient: false, transports: ['websocket'], perMessageDeflate: false })
  const room = new ReferenceRoom(sample)
  const namespace = io.of('/social/ws')
  namespace.on('connection', (socket) => {
    socket.on('join', (_: Told, ack: Ack) => {
      void socket.join(ROOM)
      ack(room.position)
    })
    socket.on('leave', (_: Told, ack: Ack) => {
      void socket.leave(ROOM)
      ack({})
    })
    socket.on('message:send', (said: Told, ack: Ack) => {
      namespace.to(ROOM).emit('message:new', room.say(said))
      ack({})
    })
  })
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  return `http://127.0.0.1:${(http.address() as AddressInfo).port}`
}

answerCalls({ listen, usage } satisfies ReferenceCalls)

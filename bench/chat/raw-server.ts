/** uWebSockets.js and nothing else: publishes the bytes Socket.IO would send, to sockets that said they want them. */
import { App, us_listen_socket_close, us_socket_local_port, type WebSocket } from 'uWebSockets.js'
import { answerCalls } from './calls.js'
import { type ReferenceCalls, type ReferenceInput, ReferenceRoom, usage } from './reference.js'

const TOPIC = 'room'
const BACKPRESSURE_BYTES_MAX = 512 * 1024
const CONNECT = '40/social/ws,'
const COMMAND = /^42(\/social\/ws),(\d+)(\[.*)$/

function listen({ sample }: ReferenceInput): Promise<string> {
  const room = new ReferenceRoom(sample)
  const app = App()

  const command = (ws: WebSocket<unknown>, [name, payload]: [string, { readonly text: string }]): object => {
    if (name === 'join') ws.subscribe(TOPIC)
    else if (name === 'leave') ws.unsubscribe(TOPIC)
    else app.publish(TOPIC, `42/social/ws,${JSON.stringify(['message:new', room.say(payload)])}`)
    return room.position
  }
  app.ws('/socket.io/*', {
    idleTimeout: 0,
    maxBackpressure: BACKPRESSURE_BYTES_MAX,
    closeOnBackpressureLimit: true,
    open: (ws) => void ws.send('0{}'),
    message: (ws, message) => {
      const text = Buffer.from(message).toString()
      if (text.startsWith(CONNECT)) return void ws.send(`${CONNECT}{}`)
      const [, namespace, id, called] = COMMAND.exec(text) ?? []
      if (called !== undefined) ws.send(`43${namespace},${id}${JSON.stringify([command(ws, JSON.parse(called))])}`)
    },
  })
  return new Promise((resolve, reject) => {
    app.listen('127.0.0.1', 0, (listening) => {
      if (listening === false) return reject(new Error('no port to listen on'))
      process.once('SIGTERM', () => {
        us_listen_socket_close(listening)
        process.exit()
      })
      resolve(`http://127.0.0.1:${us_socket_local_port(listening)}`)
    })
  })
}

answerCalls({ listen, usage } satisfies ReferenceCalls)

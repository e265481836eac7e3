/** The ceiling: uWebSockets.js parses the body of a scan and echoes it. Nothing is checked, decided or stored. */
import { App, us_socket_local_port } from 'uWebSockets.js'
import { answerCalls } from '../chat/calls.js'

export type CeilingCalls = {
  /** Returns the URL. */
  listen: () => Promise<string>
  pid: () => number
}

function listen(): Promise<string> {
  const app = App()
  app.post('/v1/scans/submit', (response) => {
    const parts: Buffer[] = []
    response.onAborted(() => {})
    response.onData((chunk, isLast) => {
      // The chunk is gone after this call; most bodies come as one.
      if (!isLast || parts.length > 0) parts.push(Buffer.from(Buffer.from(chunk)))
      if (!isLast) return
      const body = parts.length > 0 ? Buffer.concat(parts) : Buffer.from(chunk)
      const echo = JSON.stringify(JSON.parse(body.toString()))
      response.cork(() => {
        response.writeHeader('content-type', 'application/json').end(echo)
      })
    })
  })
  return new Promise((resolve, reject) => {
    app.listen('127.0.0.1', 0, (listening) => {
      if (listening === false) reject(new Error('no port to listen on'))
      else resolve(`http://127.0.0.1:${us_socket_local_port(listening)}`)
    })
  })
}

answerCalls({ listen, pid: () => process.pid } satisfies CeilingCalls)

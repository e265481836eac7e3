// A Postgres that dies at a moment of our choosing: a proxy in front of a real one, which cuts every connection when a
// client sends a certain text.
import { connect, createServer, type Socket } from 'node:net'
import type { TestScope } from '../support/server.js'

export interface CuttingProxy {
  readonly port: number
  /** Cuts at the next message with this text, and refuses connections for `awayMs` then. */
  cutAt(text: string, awayMs: number): void
  /** How often it has cut. */
  readonly cuts: number
}

export async function cuttingProxy(t: TestScope, targetPort: number): Promise<CuttingProxy> {
  const sockets = new Set<Socket>()
  const state = { cuts: 0, at: '', awayMs: 0, backAt: 0 }
  const cut = () => {
    state.cuts += 1
    state.at = ''
    state.backAt = performance.now() + state.awayMs
    for (const socket of sockets) socket.destroy()
  }
  const server = createServer((client) => {
    if (performance.now() < state.backAt) {
      client.destroy()
      return
    }
    const target = connect(targetPort, '127.0.0.1')
    for (const socket of [client, target]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        sockets.delete(socket)
        client.destroy()
        target.destroy()
      })
    }
    client.on('data', (data) => {
      if (state.at !== '' && data.includes(state.at)) cut()
      else target.write(data)
    })
    target.pipe(client)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(async () => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('it has no port')
  return {
    port: address.port,
    cutAt: (text, awayMs) => Object.assign(state, { at: text, awayMs }),
    get cuts() {
      return state.cuts
    },
  }
}

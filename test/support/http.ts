import { connect, type Socket } from 'node:net'
import { Registry } from 'prom-client'
import { DomainError } from '../../engine/errors.js'
import type { Principal } from '../../gateway/http/toolkit/principal.js'
import { RateLimiter } from '../../gateway/http/toolkit/rate-limit.js'
import type { Route } from '../../gateway/http/toolkit/route.js'
import { createHttpServer, type HttpServerOptions } from '../../gateway/http/toolkit/server.js'

export const member: Principal = { userId: 'u1', sessionId: 's1', role: 'member' }
export const admin: Principal = { userId: 'a1', sessionId: 's2', role: 'admin' }

/** `member` and `admin` are known at once, `late-member` after a while, everything else is refused. */
export function authenticate(token: string): Principal | Promise<Principal> {
  if (token === 'member') return member
  if (token === 'admin') return admin
  if (token === 'late-member') return new Promise((resolve) => setImmediate(() => setImmediate(() => resolve(member))))
  const refusal = new DomainError('unauthorized', 'unauthorized', 'This token is not valid.')
  if (token.startsWith('late')) return Promise.reject(refusal)
  throw refusal
}

export interface LoggedFailure {
  readonly err: unknown
  readonly requestId: string
}

/** Starts a server on a free port, closed when the test ends. */
export async function startHttp(
  t: { teardown(handler: () => Promise<void>): unknown },
  routes: readonly Route[],
  options: Partial<HttpServerOptions> = {},
) {
  const failures: LoggedFailure[] = []
  const metrics = new Registry()
  const server = createHttpServer({
    info: { title: 'Test <API>', version: '1.2.3' },
    routes,
    authenticate,
    limits: new RateLimiter(),
    metrics,
    log: { error: (context) => failures.push(context as LoggedFailure) },
    ready: () => ({ ok: true, reasons: [] }),
    closeTimeoutMs: 200,
    lingerMs: 0,
    ...options,
  })
  const port = await server.listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  return { server, port, url: `http://127.0.0.1:${port}`, failures, metrics }
}

/** Requests without a complete answer, as the gauge tells. */
export async function inFlight(metrics: Registry): Promise<number> {
  const gauge = await metrics.getSingleMetric('comptroller_http_requests_in_flight')?.get()
  return gauge?.values[0]?.value ?? Number.NaN
}

/** Lets the event loop turn until `condition` holds. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setImmediate(resolve))
}

/** A raw connection that gathers everything it is sent. */
export interface RawClient {
  readonly socket: Socket
  readonly text: () => string
  readonly ended: Promise<void>
}

export function rawClient(port: number): RawClient {
  const socket = connect(port, '127.0.0.1')
  const chunks: Buffer[] = []
  socket.on('data', (chunk) => chunks.push(chunk))
  socket.on('error', () => {})
  const ended = new Promise<void>((resolve) => socket.on('close', () => resolve()))
  return { socket, text: () => Buffer.concat(chunks).toString('latin1'), ended }
}

/** Sends bytes as they are and resolves to the first whole answer, or to what came before the connection closed. */
export async function rawExchange(port: number, request: string): Promise<string> {
  const { socket, text } = rawClient(port)
  socket.write(request, 'latin1')
  await until(() => socket.closed || isWhole(text()))
  socket.destroy()
  return text()
}

function isWhole(text: string): boolean {
  const headEnd = text.indexOf('\r\n\r\n')
  if (headEnd < 0) return false
  const length = /\r\ncontent-length: (\d+)/i.exec(text.slice(0, headEnd))?.[1]
  return text.length >= headEnd + 4 + Number(length ?? 0)
}

import {
  App,
  type TemplatedApp,
  type us_listen_socket,
  us_listen_socket_close,
  us_socket_local_port,
} from 'uWebSockets.js'
import { randomBytes } from 'node:crypto'
import type { Registry } from 'prom-client'
import { assert } from '../../../engine/assert.js'
import { ClientAddresses } from './client-address.js'
import type { Authenticate, HttpLog, Plan, ServerContext } from './context.js'
import { serveDocs } from './docs.js'
import { endpoint } from './endpoint.js'
import { fallback } from './fallback.js'
import { packHeaders, securityHeaders } from './headers.js'
import { HttpMetrics } from './metrics.js'
import { type ApiInfo, openApiDocument } from './openapi.js'
import { operationsRoutes, type Readiness } from './operations.js'
import type { RateLimiter } from './rate-limit.js'
import { defineRoute, isStream, type Method, paramNames, type Route } from './route.js'

const BODY_BYTES_MAX = 64 * 1024
const UPLOAD_BYTES_MAX = 1024 * 1024 * 1024
const IN_FLIGHT_MAX = 10_000
const CLOSE_TIMEOUT_MS = 10_000
const LINGER_MS = 250
const EXCLUSIVE_PORT = 1

export interface HttpServerOptions {
  /** The app to serve on, shared with the sockets; a new one by default. */
  readonly app?: TemplatedApp
  readonly info: ApiInfo
  readonly routes: readonly Route[]
  readonly authenticate: Authenticate
  readonly limits: RateLimiter
  readonly metrics: Registry
  readonly log: HttpLog
  readonly ready: () => Readiness
  /** Addresses and CIDR ranges of the proxies whose `X-Forwarded-For` is believed; none by default. */
  readonly trustedProxies?: readonly string[]
  /** Origins of web pages elsewhere that may call the API; none by default. */
  readonly allowedOrigins?: readonly string[]
  /** Count loopback clients against the limits per address too, instead of exempting them. */
  readonly rateLimitLoopback?: boolean
  /** Largest JSON body, 64 KiB by default. */
  readonly bodyBytesMax?: number
  /** Largest streamed upload, 1 GiB by default. */
  readonly uploadBytesMax?: number
  /** Requests worked on at once, 10,000 by default; more are answered 503 `overloaded`. */
  readonly inFlightMax?: number
  /** Answer 500 when a handler's answer is not exactly what its schema documents: for tests, off by default. */
  readonly checkResponses?: boolean
  /** How long `close` waits for requests in flight, 10 s by default. */
  readonly closeTimeoutMs?: number
  /** How long `close` at least refuses requests that were on their way, instead of cutting them; 250 ms by default. */
  readonly lingerMs?: number
}

export interface HttpServer {
  readonly app: TemplatedApp
  /** Starts to accept; resolves to the port (useful with 0), rejects when it is taken. */
  listen(port: number, host: string): Promise<number>
  /** Stops accepting, lets requests in flight finish within `closeTimeoutMs`, then closes every socket. */
  close(): Promise<void>
}

/** Serves `routes` on uWebSockets.js, with their documentation, metrics and health. */
export function createHttpServer(options: HttpServerOptions): HttpServer {
  const app = options.app ?? App()
  const context = contextOf(options)
  const routes = [...options.routes, ...operationsRoutes(options.metrics, options.ready)]
  const documented = [...routes, documentRoute(routes, options.info)]
  register(app, documented, context, options.limits)
  serveDocs(app, documented, options.info.title)
  const { closeTimeoutMs = CLOSE_TIMEOUT_MS, lingerMs = LINGER_MS } = options
  return { app, ...lifecycle(app, context, { closeTimeoutMs, lingerMs }) }
}

function contextOf(options: HttpServerOptions): ServerContext {
  const { limits, allowedOrigins = [] } = options
  const clients = new ClientAddresses(options.trustedProxies ?? [])
  const prefix = randomBytes(6).toString('base64url')
  let requests = 0
  const cors = allowedOrigins.map(
    (origin) =>
      [
        origin,
        { 'access-control-allow-origin': origin, 'access-control-expose-headers': 'retry-after', vary: 'origin' },
      ] as const,
  )
  const context: ServerContext = {
    clients,
    addressBucket: limits.bucket('ip'),
    rateLimitLoopback: options.rateLimitLoopback ?? false,
    authenticate: options.authenticate,
    metrics: new HttpMetrics(options.metrics, limits, clients, () => context.inFlight),
    log: options.log,
    bodyBytesMax: options.bodyBytesMax ?? BODY_BYTES_MAX,
    uploadBytesMax: options.uploadBytesMax ?? UPLOAD_BYTES_MAX,
    inFlightMax: options.inFlightMax ?? IN_FLIGHT_MAX,
    checkResponses: options.checkResponses ?? false,
    corsHeaders: cors.length === 0 ? undefined : new Map(cors),
    newRequestId: () => `${prefix}-${(++requests).toString(36)}`,
    onIdle: undefined,
    stopping: false,
    inFlight: 0,
  }
  return context
}

const registrars = { GET: 'get', POST: 'post', PUT: 'put', PATCH: 'patch', DELETE: 'del' } as const satisfies Record<
  Method,
  string
>

function register(app: TemplatedApp, routes: readonly Route[], context: ServerContext, limits: RateLimiter): void {
  const taken = new Set<string>()
  for (const route of routes) {
    const name = `${route.method} ${route.path.replace(/:\w+/g, ':')}`
    assert(!taken.has(name), `two routes are ${name}`)
    taken.add(name)
    const plan = planOf(route, route.method, context, limits)
    app[registrars[route.method]](route.path, endpoint(plan, context))
    if (route.method !== 'GET') continue
    app.head(route.path, endpoint({ ...planOf(route, 'HEAD', context, limits), headOnly: true }, context))
  }
  const body = planOf(unmatched, 'other', context, limits)
  app.any('/*', fallback(routes, { body, head: { ...body, headOnly: true } }, context))
}

/** Stands for every request no route takes, in metrics and limits. */
const unmatched: Route = {
  method: 'GET',
  path: 'unmatched',
  who: 'public',
  tag: 'Operations',
  summary: 'Requests no route takes',
  status: 204,
  response: { stream: 'text/plain' },
  handle: () => undefined,
}

function planOf(route: Route, method: string, context: ServerContext, limits: RateLimiter): Plan {
  const { response } = route
  const contentType = isStream(response) ? response.stream : 'application/json'
  const bodyType = route.upload === undefined ? 'application/json' : 'text/csv'
  return {
    route,
    paramNames: paramNames(route.path),
    status: route.status ?? 200,
    headers: packHeaders({ 'content-type': contentType, ...securityHeaders }),
    responseSchema: isStream(response) ? undefined : response,
    headOnly: false,
    bucket: limits.bucket(route.limit ?? (route.who === 'public' ? 'ip' : 'member')),
    durations: context.metrics.durationsOf(route.path, method),
    bodyType: route.body === undefined && route.upload === undefined ? undefined : bodyType,
  }
}

function documentRoute(routes: readonly Route[], info: ApiInfo): Route {
  let document = ''
  const route = defineRoute({
    method: 'GET',
    path: '/openapi.json',
    who: 'public',
    tag: 'Operations',
    summary: 'This API as an OpenAPI 3.1 document',
    response: { stream: 'application/json' },
    handle: () => document,
  })
  document = JSON.stringify(openApiDocument([...routes, route], info))
  return route
}

function lifecycle(
  app: TemplatedApp,
  context: ServerContext,
  { closeTimeoutMs, lingerMs }: { readonly closeTimeoutMs: number; readonly lingerMs: number },
) {
  let listening: us_listen_socket | undefined
  let closed: Promise<void> | undefined

  /** Without "exclusive", a second server on the same port would silently take half of the connections. */
  const listenExclusively = app.listen as unknown as (
    this: TemplatedApp,
    host: string,
    port: number,
    options: typeof EXCLUSIVE_PORT,
    callback: (socket: us_listen_socket | false) => void,
  ) => void

  const idle = async () => {
    if (context.inFlight === 0) return
    let timer: NodeJS.Timeout | undefined
    await new Promise<void>((resolve) => {
      context.onIdle = resolve
      timer = setTimeout(resolve, closeTimeoutMs)
    })
    clearTimeout(timer)
  }

  const close = async () => {
    if (listening !== undefined) us_listen_socket_close(listening)
    context.stopping = true
    await Promise.all([idle(), new Promise((resolve) => setTimeout(resolve, lingerMs))])
    await new Promise((resolve) => setImmediate(resolve)) // the last answer is still on its way out of uWS
    app.close()
  }

  return {
    listen: (port: number, host: string) =>
      new Promise<number>((resolve, reject) => {
        listenExclusively.call(app, host, port, EXCLUSIVE_PORT, (socket) => {
          if (socket === false) return reject(new Error(`cannot listen on ${host}:${port}; is the port taken?`))
          listening = socket
          resolve(us_socket_local_port(socket))
        })
      }),
    close: () => {
      closed ??= close()
      return closed
    },
  }
}

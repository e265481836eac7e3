import type { HttpRequest, HttpResponse } from 'uWebSockets.js'
import { DomainError } from '../../../engine/errors.js'
import type { Plan, ServerContext } from './context.js'
import { identify } from './endpoint.js'
import { Exchange } from './exchange.js'
import { HttpProblem } from './problem.js'
import { type Method, type Route, reply } from './route.js'

const PREFLIGHT_MAX_AGE_SECONDS = 600
const preflightHeaders = 'authorization, content-type, idempotency-key'

interface KnownPath {
  readonly pattern: RegExp
  readonly methods: Set<Method | 'HEAD' | 'OPTIONS'>
}

/** The uWS handler of every request no route takes: 404, 405 with what is allowed, or the answer to OPTIONS. */
export function fallback(
  routes: readonly Route[],
  plans: { readonly body: Plan; readonly head: Plan },
  server: ServerContext,
): (res: HttpResponse, req: HttpRequest) => void {
  const paths = knownPaths(routes)
  return (res, req) => {
    const method = req.getMethod()
    const exchange = new Exchange(res, method === 'head' ? plans.head : plans.body, server)
    try {
      if (!identify(exchange, req)) return exchange.leaveCallback()
      exchange.countAddress()
      const url = req.getUrl()
      const allowed = [...(paths.find(({ pattern }) => pattern.test(url))?.methods ?? [])].join(', ')
      exchange.succeed(answer(exchange, method, allowed))
    } catch (error) {
      exchange.fail(error)
    }
  }
}

function answer({ corsHeaders }: Exchange, method: string, allowed: string) {
  if (allowed === '') throw new DomainError('not_found', 'no_such_path', 'There is nothing at this path.')
  const headers = { allow: allowed }
  if (method !== 'options') {
    throw new HttpProblem(405, 'method_not_allowed', `This path allows ${allowed}.`, { headers })
  }
  if (corsHeaders === undefined) return reply(undefined, { headers })
  const preflight = {
    'access-control-allow-methods': allowed,
    'access-control-allow-headers': preflightHeaders,
    'access-control-max-age': String(PREFLIGHT_MAX_AGE_SECONDS),
  }
  return reply(undefined, { headers: { ...headers, ...preflight } })
}

function knownPaths(routes: readonly Route[]): KnownPath[] {
  const byPath = new Map<string, KnownPath>()
  for (const { path, method } of routes) {
    const source = path.replace(/[.+*?^$()[\]{}|\\]/g, '\\$&').replace(/:\w+/g, '[^/]+')
    const known = byPath.get(path) ?? { pattern: new RegExp(`^${source}$`), methods: new Set(['OPTIONS']) }
    known.methods.add(method)
    if (method === 'GET') known.methods.add('HEAD')
    byPath.set(path, known)
  }
  return [...byPath.values()]
}

import type { Registry } from 'prom-client'
import { z } from 'zod'
import { DomainError } from '../../../engine/errors.js'
import { defineRoute, type Route } from './route.js'

export interface Readiness {
  readonly ok: boolean
  /** Why not, for operators; empty when ready. */
  readonly reasons: readonly string[]
  /** What an operator should look after although requests are served. */
  readonly warnings?: readonly string[]
}

const alive = z.object({ status: z.literal('ok') })
const serving = alive.extend({ warnings: z.array(z.string()).optional() })

/** `/healthz`, `/readyz` and `/metrics`: what orchestrators and Prometheus ask for. */
export function operationsRoutes(metrics: Registry, ready: () => Readiness): Route[] {
  return [
    defineRoute({
      method: 'GET',
      path: '/healthz',
      who: 'public',
      tag: 'Operations',
      summary: 'Is the process alive?',
      response: alive,
      handle: () => ({ status: 'ok' as const }),
    }),
    defineRoute({
      method: 'GET',
      path: '/readyz',
      who: 'public',
      tag: 'Operations',
      summary: 'Can requests be served now?',
      response: serving,
      errors: [{ status: 503, code: 'not_ready', when: 'Something this server needs is not there yet, or no more.' }],
      handle: () => {
        const { ok, reasons, warnings = [] } = ready()
        if (!ok) throw new DomainError('unavailable', 'not_ready', `Not ready: ${reasons.join('; ')}`)
        return { status: 'ok' as const, ...(warnings.length === 0 ? {} : { warnings: [...warnings] }) }
      },
    }),
    defineRoute({
      method: 'GET',
      path: '/metrics',
      who: 'public',
      tag: 'Operations',
      summary: 'Metrics in the Prometheus text format',
      response: { stream: metrics.contentType },
      handle: () => metrics.metrics(),
    }),
  ]
}

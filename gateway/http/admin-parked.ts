/** Rows that Postgres refused (P3), for operators: to see them, and to write them after all. */
import { z } from 'zod'
import { DomainError } from '../../engine/errors.js'
import type { ParkedSummary } from '../../engine/parked-row.js'
import type { Services } from '../services.js'
import { defineRoute, type Route } from './toolkit/route.js'

/** Rows or keys one request retries: each is a transaction. */
const RETRIES_PER_REQUEST_MAX = 200

const parkedSchema = z
  .object({
    id: z.number(),
    /** The record of the journal it comes from. */
    seq: z.number(),
    /** Where it belongs; `fact <type>` if no row could be made of that fact. */
    table: z.string(),
    kind: z.enum(['put', 'patch', 'remove', 'fact']),
    /** Rows under one key are retried together, in order. */
    key: z.string().nullable(),
    error_code: z.string().meta({ description: 'Of Postgres, or `unreadable`, `no_row`, `behind`, `not_retryable`' }),
    error: z.string(),
    parked_at: z.string(),
    attempts: z.number(),
    tried_at: z.string().nullable(),
    resolved_at: z.string().nullable(),
  })
  .meta({ id: 'ParkedRow' })
const detailSchema = parkedSchema.extend({ row: z.unknown() }).meta({ id: 'ParkedRowDetail' })
const id = z.coerce.number().int().positive()
const parkedUnknown = { status: 404, code: 'parked_row_unknown', when: 'No row was ever parked under this number.' }

export function adminParkedRoutes({ shard, program, parked }: Services): Route[] {
  const { adminSession } = program.queries

  const list = defineRoute({
    method: 'GET',
    path: '/v1/admin/parked-rows',
    who: 'admin',
    tag: 'Operations',
    summary: 'Rows that Postgres refused, oldest first',
    query: z.object({
      state: z.enum(['parked', 'resolved']).default('parked'),
      limit: z.coerce.number().int().min(1).max(100).default(20),
      cursor: id.optional(),
    }),
    response: z.object({
      parked_now: z.number(),
      rows: z.array(parkedSchema),
      next_cursor: z.string().nullable(),
    }),
    handle: async ({ query: { state, limit, cursor = 0 }, principal }) => {
      await shard.query(adminSession, principal)
      const rows = await parked.list({ isResolved: state === 'resolved', afterId: cursor, limit })
      const last = rows.at(-1)
      return {
        parked_now: parked.count,
        rows: rows.map(parkedJson),
        next_cursor: rows.length === limit && last !== undefined ? String(last.id) : null,
      }
    },
  })

  const show = defineRoute({
    method: 'GET',
    path: '/v1/admin/parked-rows/:id',
    who: 'admin',
    tag: 'Operations',
    summary: 'One row that Postgres refused, with its contents',
    params: z.object({ id }),
    response: detailSchema,
    errors: [parkedUnknown],
    handle: async ({ params, principal }) => {
      await shard.query(adminSession, principal)
      const found = await parked.find(params.id)
      if (found === null) throw unknown()
      return { ...parkedJson(found), row: found.row }
    },
  })

  const retryOne = defineRoute({
    method: 'POST',
    path: '/v1/admin/parked-rows/:id/retry',
    who: 'admin',
    tag: 'Operations',
    summary: 'Write a parked row after all, with those under its key; repeating it is harmless',
    params: z.object({ id }),
    response: z.object({
      /** Rows that are now where they belong. */
      resolved: z.number(),
      error_code: z.string().nullable(),
      /** Why it stays parked; null if it does not. */
      error: z.string().nullable(),
    }),
    errors: [parkedUnknown],
    handle: async ({ params, principal }) => {
      await shard.query(adminSession, principal)
      const { found, resolved, errorCode, error } = await parked.retry(params.id)
      if (!found) throw unknown()
      return { resolved, error_code: errorCode, error }
    },
  })

  const retryAll = defineRoute({
    method: 'POST',
    path: '/v1/admin/parked-rows/retry',
    who: 'admin',
    tag: 'Operations',
    summary: `Write parked rows after all, oldest first, ${RETRIES_PER_REQUEST_MAX} a request`,
    body: z.object({
      cursor: z
        .string()
        .regex(/^\d{1,15}$/)
        .optional(),
    }),
    response: z.object({
      resolved: z.number(),
      /** Rows, or first rows of a key, that stay parked. */
      refused: z.number(),
      /** Send it with the next request; null when all were tried. */
      next_cursor: z.string().nullable(),
    }),
    handle: async ({ body, principal }) => {
      await shard.query(adminSession, principal)
      const afterId = Number(body.cursor ?? 0)
      const { resolved, refused, nextAfterId } = await parked.retryAll({ afterId, limit: RETRIES_PER_REQUEST_MAX })
      return { resolved, refused, next_cursor: nextAfterId === null ? null : String(nextAfterId) }
    },
  })

  return [list, show, retryOne, retryAll]
}

const unknown = () => new DomainError('not_found', 'parked_row_unknown', 'There is no such parked row.')
const iso = (at: number) => new Date(at).toISOString()

function parkedJson(row: ParkedSummary): z.output<typeof parkedSchema> {
  const { id: number, seq, table, kind, key, error, attempts } = row
  return {
    id: number,
    seq,
    table,
    kind,
    key,
    error_code: row.errorCode,
    error,
    parked_at: iso(row.parkedAt),
    attempts,
    tried_at: row.triedAt === null ? null : iso(row.triedAt),
    resolved_at: row.resolvedAt === null ? null : iso(row.resolvedAt),
  }
}

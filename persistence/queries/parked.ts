/** Parked rows (P3) for operators. Times are milliseconds. */

import type { ParkedDetail, ParkedSummary } from '../../engine/parked-row.js'
import type { Sql } from '../postgres/connection.js'

interface Stored {
  id: bigint
  seq: bigint
  table_name: string
  kind: ParkedSummary['kind']
  row_key: string | null
  error_code: string
  error: string
  parked_at: Date
  attempts: number
  tried_at: Date | null
  resolved_at: Date | null
}

export async function countParked(sql: Sql, shard: string): Promise<number> {
  const [found] = await sql<{ count: bigint }[]>`
    select count(*) from dead_letters where shard = ${shard} and resolved_at is null`
  return Number(found?.count ?? 0)
}

/** Oldest first: in the order in which they are retried. */
export async function listParked(
  sql: Sql,
  shard: string,
  page: { readonly isResolved: boolean; readonly afterId: number; readonly limit: number },
): Promise<ParkedSummary[]> {
  const rows = await sql<Stored[]>`
    select id, seq, table_name, kind, row_key, error_code, error, parked_at, attempts, tried_at, resolved_at
    from dead_letters
    where shard = ${shard} and id > ${page.afterId}
      and ${page.isResolved ? sql`resolved_at is not null` : sql`resolved_at is null`}
    order by id limit ${page.limit}`
  return rows.map(summaryOf)
}

export async function findParked(sql: Sql, shard: string, id: number): Promise<ParkedDetail | null> {
  const [found] = await sql<(Stored & { row: unknown })[]>`
    select id, seq, table_name, kind, row_key, error_code, error, parked_at, attempts, tried_at, resolved_at, row
    from dead_letters where shard = ${shard} and id = ${id}`
  return found === undefined ? null : { ...summaryOf(found), row: found.row }
}

function summaryOf(stored: Stored): ParkedSummary {
  const { kind, error, attempts } = stored
  return {
    id: Number(stored.id),
    seq: Number(stored.seq),
    table: stored.table_name,
    kind,
    key: stored.row_key,
    errorCode: stored.error_code,
    error,
    parkedAt: stored.parked_at.getTime(),
    attempts,
    triedAt: stored.tried_at?.getTime() ?? null,
    resolvedAt: stored.resolved_at?.getTime() ?? null,
  }
}

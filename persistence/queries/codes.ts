/** Cold reads of codes and their batches, for the admin pages. Times are milliseconds. */
import type { CodeStatus } from '../../actors/codes/code-book.js'
import type { CodeAttempt, CodeHistory, CodeScan } from '../../actors/codes/code-history.js'
import { codeNumber } from '../code-number.js'
import type { Sql } from '../postgres/connection.js'

const ATTEMPTS_MAX = 100

/** What Postgres knows of a code. `row` is its row in the code book, null if it is not in there (BJ-QR-08). */
export async function codeHistory(
  sql: Sql,
  { row, hi, lo }: { readonly row: number | null; readonly hi: number; readonly lo: number },
): Promise<CodeHistory> {
  const code = codeNumber(hi, lo)
  const [chunk, changes, scan, attempts] = await Promise.all([
    row === null ? undefined : findChunk(sql, row),
    row === null ? [] : statusChanges(sql, row),
    findScan(sql, code),
    findAttempts(sql, code),
  ])
  return { generatedAt: chunk?.generatedAt ?? null, batch: chunk?.batch ?? null, changes, scan, attempts }
}

async function findChunk(sql: Sql, row: number) {
  const [chunk] = await sql<{ batch_id: number; generated_at: Date }[]>`
    select batch_id, generated_at from qr_code_chunks
    where first_row <= ${row} and first_row + code_count > ${row} order by first_row desc limit 1`
  return chunk && { batch: chunk.batch_id, generatedAt: chunk.generated_at.getTime() }
}

async function statusChanges(sql: Sql, row: number) {
  const rows = await sql<{ status: CodeStatus; changed_at: Date }[]>`
    select status, changed_at from qr_status_changes
    where first_row <= ${row} and end_row > ${row} and exists (
      select from generate_series(1, cardinality(runs), 2) run where runs[run] <= ${row} and ${row} < runs[run] + runs[run + 1])
    order by seq, entry`
  return rows.map(({ status, changed_at }) => ({ status, at: changed_at.getTime() }))
}

async function findScan(sql: Sql, code: bigint): Promise<CodeScan | null> {
  const [scan] = await sql<
    { id: string; ordinal: bigint; user_id: string; scanned_at: Date; device_id: string | null; ip: string | null }[]
  >`
    select id, ordinal, user_id, scanned_at, device_id, host(ip_address) as ip from scans where code = ${code}`
  if (scan === undefined) return null
  return {
    scanId: scan.id,
    ordinal: Number(scan.ordinal),
    userId: scan.user_id,
    at: scan.scanned_at.getTime(),
    deviceId: scan.device_id,
    ip: scan.ip,
  }
}

async function findAttempts(sql: Sql, code: bigint): Promise<CodeAttempt[]> {
  const rows = await sql<
    { id: string; user_id: string; reason: string; attempted_at: Date; device_id: string | null; ip: string | null }[]
  >`
    select id, user_id, reason, attempted_at, device_id, host(ip_address) as ip from scan_attempts
    where code = ${code} order by seq desc, entry limit ${ATTEMPTS_MAX}`
  return rows.map((row) => ({
    attemptId: row.id,
    userId: row.user_id,
    reason: row.reason,
    at: row.attempted_at.getTime(),
    deviceId: row.device_id,
    ip: row.ip,
  }))
}

export interface BatchTimes {
  readonly batch: number
  readonly generatedAt: number
  readonly completedAt: number | null
  readonly exportedAt: number | null
  readonly createdBy: string
}

/** When each batch was generated, completed and exported, newest first. The rest of a batch is in memory. */
export async function batchTimes(sql: Sql): Promise<BatchTimes[]> {
  const rows = await sql<
    { id: number; generated_at: Date; completed_at: Date | null; exported_at: Date | null; created_by: string }[]
  >`
    select id, generated_at, completed_at, exported_at, created_by from qr_batches order by id desc`
  return rows.map((row) => ({
    batch: row.id,
    generatedAt: row.generated_at.getTime(),
    completedAt: row.completed_at?.getTime() ?? null,
    exportedAt: row.exported_at?.getTime() ?? null,
    createdBy: row.created_by,
  }))
}

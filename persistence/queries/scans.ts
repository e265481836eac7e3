/** Cold reads of scans: what memory no longer holds. Times are milliseconds, amounts micro-USDT. */
import type { RecentScan } from '../../actors/user/recent-scans.js'
import type { ScanFlag } from '../../actors/user/scan-flag.js'
import { codeHalves } from '../code-number.js'
import type { Sql } from '../postgres/connection.js'

/** Newest first. Pages by the ordinal of the last scan seen. */
export async function recentScans(
  sql: Sql,
  userId: string,
  { beforeOrdinal = Number.MAX_SAFE_INTEGER, limit }: { readonly beforeOrdinal?: number; readonly limit: number },
): Promise<RecentScan[]> {
  const rows = await sql<ScanRow[]>`
    select id, ordinal, scanned_at, code, product_sku, scan_method, tier, comp_type, milestone_hit,
      (comp_amount * 1000000)::bigint as comp_amount
    from scans where user_id = ${userId} and ordinal < ${beforeOrdinal}
    order by ordinal desc limit ${limit}`
  return rows.map((row) => ({
    scanId: row.id,
    ordinal: Number(row.ordinal),
    at: row.scanned_at.getTime(),
    code: codeHalves(row.code),
    sku: row.product_sku,
    method: row.scan_method,
    tier: row.tier,
    compType: row.comp_type,
    compAmount: row.comp_amount ?? 0n,
    milestone: row.milestone_hit,
  }))
}

interface ScanRow {
  readonly id: string
  readonly ordinal: bigint
  readonly scanned_at: Date
  readonly code: bigint
  readonly product_sku: string
  readonly scan_method: RecentScan['method']
  readonly tier: string
  readonly comp_type: string | null
  readonly comp_amount: bigint | null
  readonly milestone_hit: string | null
}

/** Newest first, of one member or of all. */
export async function scanFlags(
  sql: Sql,
  options: { readonly userId?: string; readonly beforeSeq?: number; readonly limit: number },
): Promise<ScanFlag[]> {
  const { userId, beforeSeq = Number.MAX_SAFE_INTEGER, limit } = options
  const rows = await sql<
    { user_id: string; scan_id: string; rule: string; detail: string; flagged_at: Date; seq: bigint }[]
  >`
    select user_id, scan_id, rule, detail, flagged_at, seq from scan_flags
    where seq < ${beforeSeq} ${userId === undefined ? sql`` : sql`and user_id = ${userId}`}
    order by seq desc, entry limit ${limit}`
  return rows.map((row) => ({
    userId: row.user_id,
    scanId: row.scan_id,
    rule: row.rule,
    detail: row.detail,
    at: row.flagged_at.getTime(),
    seq: Number(row.seq),
  }))
}

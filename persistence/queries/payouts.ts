/** Cold reads of payouts and of the treasury, newest first. Times are milliseconds, amounts micro-USDT. */
import type {
  After,
  CompRow,
  CompStatus,
  PayoutFigures,
  PayoutRow,
  PayoutTrail,
  ReconciliationRow,
  SnapshotRow,
} from '../../actors/payout/rows.js'
import type { CompType } from '../../actors/programs/rules.js'
import type { Pool } from '../../actors/treasury/facts.js'
import type { Sql } from '../postgres/connection.js'

const STEPS_MAX = 500

interface Page {
  readonly after?: After
  readonly limit: number
}

export interface CompFilter extends Page {
  readonly type?: CompType
  readonly status?: CompStatus
  readonly userId?: string
}

export interface PayoutFilter extends Page {
  readonly pool?: Pool
  readonly state?: PayoutRow['state']
  readonly userId?: string
}

export async function comps(sql: Sql, { type, status, userId, after, limit }: CompFilter): Promise<CompRow[]> {
  const rows = await sql<StoredComp[]>`
    select c.id, c.seq, c.user_id, c.type, (c.amount * 1000000)::bigint as amount, c.status, c.funded,
      c.campaign, c.trigger_scan_id, c.milestone, c.awarded_at, c.paid_at,
      coalesce(c.transaction_hash, p.transaction_hash) as hash, p.state, p.because
    from comps c left join payouts p on p.id = c.id::text
    where ${after === undefined ? sql`true` : sql`(c.seq, c.id) < (${after.seq}, ${after.id}::uuid)`}
      ${type === undefined ? sql`` : sql`and c.type = ${type}`}
      ${status === undefined ? sql`` : sql`and c.status = ${status}`}
      ${userId === undefined ? sql`` : sql`and c.user_id = ${userId}`}
    order by c.seq desc, c.id desc limit ${limit}`
  return rows.map((row) => ({
    id: row.id,
    seq: Number(row.seq),
    userId: row.user_id,
    type: row.type,
    amount: row.amount,
    status: row.status,
    isFunded: row.funded,
    campaign: row.campaign,
    scanId: row.trigger_scan_id,
    milestone: row.milestone,
    awardedAt: row.awarded_at.getTime(),
    paidAt: row.paid_at?.getTime() ?? null,
    hash: row.hash,
    payoutState: row.state,
    because: row.because,
  }))
}

interface StoredComp {
  readonly id: string
  readonly seq: bigint
  readonly user_id: string
  readonly type: CompType
  readonly amount: bigint
  readonly status: CompStatus
  readonly funded: boolean
  readonly campaign: string | null
  readonly trigger_scan_id: string | null
  readonly milestone: string | null
  readonly awarded_at: Date
  readonly paid_at: Date | null
  readonly hash: string | null
  readonly state: PayoutRow['state'] | null
  readonly because: string | null
}

const payoutColumns = (sql: Sql) => sql`
  id, seq, wallet, kind, reference, user_id, (amount * 1000000)::bigint as amount, requested_by, requested_at, state,
  attempt, to_address, nonce, transaction_hash, block_height, because, moved_at`

export async function payouts(sql: Sql, { pool, state, userId, after, limit }: PayoutFilter): Promise<PayoutRow[]> {
  const rows = await sql<StoredPayout[]>`
    select ${payoutColumns(sql)} from payouts
    where ${after === undefined ? sql`true` : sql`(seq, id) < (${after.seq}, ${after.id})`}
      ${pool === undefined ? sql`` : sql`and wallet = ${pool}`}
      ${state === undefined ? sql`` : sql`and state = ${state}`}
      ${userId === undefined ? sql`` : sql`and user_id = ${userId}`}
    order by seq desc, id desc limit ${limit}`
  return rows.map(payoutOf)
}

/** A payout with its audit trail (BJ-PAY-06), oldest first; null when there is none. */
export async function payoutTrail(sql: Sql, id: string): Promise<PayoutTrail | null> {
  const [[found], steps, approvals] = await Promise.all([
    sql<StoredPayout[]>`select ${payoutColumns(sql)} from payouts where id = ${id}`,
    sql<StoredStep[]>`
      select moved_at, attempt, state, transaction_hash, because, moved_by from payout_steps
      where payout_id = ${id} order by seq, entry limit ${STEPS_MAX}`,
    sql<{ approved_at: Date; approved_by: string; intent: string }[]>`
      select approved_at, approved_by, intent from payout_approvals
      where payout_id = ${id} order by seq, entry limit ${STEPS_MAX}`,
  ])
  if (found === undefined) return null
  return {
    row: payoutOf(found),
    steps: steps.map(({ moved_at, attempt, state, transaction_hash: hash, because, moved_by: by }) => ({
      ...{ at: moved_at.getTime(), attempt, state, hash, because, by },
    })),
    approvals: approvals.map(({ approved_at, approved_by: by, intent }) => ({ at: approved_at.getTime(), by, intent })),
  }
}

interface StoredStep {
  readonly moved_at: Date
  readonly attempt: number
  readonly state: PayoutRow['state']
  readonly transaction_hash: string | null
  readonly because: string | null
  readonly moved_by: string | null
}

interface StoredPayout {
  readonly id: string
  readonly seq: bigint
  readonly wallet: Pool
  readonly kind: PayoutRow['kind']
  readonly reference: string
  readonly user_id: string | null
  readonly amount: bigint
  readonly requested_by: string
  readonly requested_at: Date
  readonly state: PayoutRow['state']
  readonly attempt: number
  readonly to_address: string | null
  readonly nonce: bigint | null
  readonly transaction_hash: string | null
  readonly block_height: bigint | null
  readonly because: string | null
  readonly moved_at: Date | null
}

function payoutOf(row: StoredPayout): PayoutRow {
  return {
    id: row.id,
    seq: Number(row.seq),
    pool: row.wallet,
    kind: row.kind,
    reference: row.reference,
    userId: row.user_id,
    amount: row.amount,
    requestedBy: row.requested_by,
    requestedAt: row.requested_at.getTime(),
    state: row.state,
    attempt: row.attempt,
    to: row.to_address,
    nonce: row.nonce === null ? null : Number(row.nonce),
    hash: row.transaction_hash,
    height: row.block_height === null ? null : Number(row.block_height),
    because: row.because,
    movedAt: row.moved_at?.getTime() ?? null,
  }
}

interface OfPool {
  readonly pool?: Pool
  readonly beforeSeq?: number
  readonly limit: number
}

export async function reconciliations(
  sql: Sql,
  { pool, beforeSeq = Number.MAX_SAFE_INTEGER, limit }: OfPool,
): Promise<ReconciliationRow[]> {
  const rows = await sql<(StoredSnapshot & Pick<ReconciliationRow, 'difference' | 'status' | 'cause'>)[]>`
    select seq, reconciled_at as at, pool, block_height, (onchain_balance * 1000000)::bigint as onchain,
      (ledger_balance * 1000000)::bigint as ledger, (in_flight * 1000000)::bigint as in_flight,
      (difference * 1000000)::bigint as difference, status, cause
    from treasury_reconciliations where seq < ${beforeSeq} ${pool === undefined ? sql`` : sql`and pool = ${pool}`}
    order by seq desc limit ${limit}`
  return rows.map((row) => {
    const { difference, status, cause } = row
    return { ...snapshotOf(row), difference, status, cause }
  })
}

export async function snapshots(
  sql: Sql,
  { pool, beforeSeq = Number.MAX_SAFE_INTEGER, limit }: OfPool,
): Promise<SnapshotRow[]> {
  const rows = await sql<StoredSnapshot[]>`
    select seq, timestamp as at, pool, block_height, (onchain_balance * 1000000)::bigint as onchain,
      (ledger_balance * 1000000)::bigint as ledger, (in_flight * 1000000)::bigint as in_flight
    from treasury_snapshots
    where seq < ${beforeSeq} and pool is not null ${pool === undefined ? sql`` : sql`and pool = ${pool}`}
    order by seq desc limit ${limit}`
  return rows.map(snapshotOf)
}

interface StoredSnapshot {
  readonly seq: bigint
  readonly at: Date
  readonly pool: Pool
  readonly block_height: bigint
  readonly onchain: bigint
  readonly ledger: bigint
  readonly in_flight: bigint
}

function snapshotOf({ seq, at, pool, block_height, onchain, ledger, in_flight }: StoredSnapshot): SnapshotRow {
  const figures = { onChain: onchain, ledger, inFlight: in_flight }
  return { seq: Number(seq), at: at.getTime(), pool, height: Number(block_height), ...figures }
}

/** Money a member has won and not got yet. */
export async function pendingComps(sql: Sql, userId: string): Promise<{ count: number; amount: bigint }> {
  const [found] = await sql<{ count: bigint; amount: bigint }[]>`
    select count(*) as count, (coalesce(sum(amount), 0) * 1000000)::bigint as amount from comps
    where user_id = ${userId} and status = 'pending' and amount > 0`
  return { count: Number(found?.count ?? 0), amount: found?.amount ?? 0n }
}

/** Payouts that were over since then. */
export async function payoutFigures(sql: Sql, sinceMs: number): Promise<PayoutFigures> {
  const [found] = await sql<{ settled: bigint; failed: bigint; value: bigint; seconds: number | null }[]>`
    select count(*) filter (where state = 'settled') as settled, count(*) filter (where state = 'failed') as failed,
      (coalesce(sum(amount) filter (where state = 'settled'), 0) * 1000000)::bigint as value,
      (avg(extract(epoch from moved_at - signed_at)) filter (where state = 'settled'))::float8 as seconds
    from payouts, lateral (
      select min(s.moved_at) as signed_at from payout_steps s
      where s.payout_id = payouts.id and s.attempt = payouts.attempt and s.state = 'signed') first
    where state in ('settled', 'failed') and moved_at >= ${new Date(sinceMs)}`
  return {
    settled: Number(found?.settled ?? 0),
    failed: Number(found?.failed ?? 0),
    value: found?.value ?? 0n,
    confirmationSeconds: found?.seconds ?? null,
  }
}

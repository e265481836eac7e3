/** Cold reads of members' own wallets. */
import type { PayoutState } from '../../actors/payout/facts.js'
import type { After } from '../../actors/payout/rows.js'
import type { WithdrawalState } from '../../actors/withdrawal/facts.js'
import type { TransactionRow } from '../../actors/withdrawal/rows.js'
import type { Sql } from '../postgres/connection.js'

interface TransactionFilter {
  readonly userId: string
  readonly filter: 'all' | 'deposits' | 'withdrawals'
  readonly after?: After
  readonly limit: number
}

/** What came into a member's wallet and left it, newest first. */
export async function transactions(
  sql: Sql,
  { userId, filter, after, limit }: TransactionFilter,
): Promise<TransactionRow[]> {
  const behind = after === undefined ? sql`true` : sql`(seq, id) < (${after.seq}, ${after.id})`
  const page = sql`user_id = ${userId} and ${behind} order by seq desc, id desc limit ${limit}`
  const comps = sql`
    (select 'comp_deposit' as type, id, seq, amount, transaction_hash, null as from_address, to_address, state, because,
      requested_at as at, moved_at, case when kind = 'comp' then reference end as comp_id from payouts where ${page})`
  const deposits = sql`
    (select 'external_deposit', id, seq, amount, transaction_hash, from_address, to_address, null, null, seen_at,
      seen_at, null from external_deposits where ${page})`
  const withdrawals = sql`
    (select 'withdrawal' as type, id, seq, amount, transaction_hash, from_address, to_address, state, because,
      submitted_at as at, moved_at, null as comp_id from withdrawals where ${page})`
  const both = sql`${comps} union all ${deposits}`
  const listed =
    filter === 'withdrawals' ? withdrawals : filter === 'deposits' ? both : sql`${both} union all ${withdrawals}`
  const rows = await sql<StoredTransaction[]>`
    select type, id, seq, (amount * 1000000)::bigint as amount, transaction_hash, from_address, to_address, state, because,
      at, moved_at, comp_id
    from (${listed}) listed order by seq desc, id desc limit ${limit}`
  return rows.map(transactionOf)
}

interface StoredTransaction {
  readonly type: TransactionRow['type']
  readonly id: string
  readonly seq: bigint
  readonly amount: bigint | null
  readonly transaction_hash: string | null
  readonly from_address: string | null
  readonly to_address: string | null
  readonly state: string | null
  readonly because: string | null
  readonly at: Date
  readonly moved_at: Date | null
  readonly comp_id: string | null
}

function transactionOf(row: StoredTransaction): TransactionRow {
  const { id, amount, because, type } = row
  const base = {
    ...{ id, seq: Number(row.seq), amount, hash: row.transaction_hash, because },
    ...{ from: row.from_address, to: row.to_address, at: row.at.getTime(), movedAt: row.moved_at?.getTime() ?? null },
  }
  switch (type) {
    case 'comp_deposit':
      return { ...base, type, state: row.state as PayoutState, compId: row.comp_id }
    case 'withdrawal':
      return { ...base, type, state: row.state as WithdrawalState }
    case 'external_deposit':
      return { ...base, type }
  }
}

/** Whose wallets these addresses are; who set one last has it. */
export async function walletOwners(sql: Sql, addresses: readonly string[]): Promise<ReadonlyMap<string, string>> {
  const rows = await sql<{ address: string; user_id: string }[]>`
    select distinct on (address) address, user_id from member_wallets where address = any(${[...addresses]})
    order by address, set_at desc, user_id`
  return new Map(rows.map(({ address, user_id }) => [address, user_id]))
}

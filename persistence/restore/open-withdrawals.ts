import type { OpenWithdrawals } from '../../actors/withdrawal/open-withdrawals.js'
import type { Sql, Transaction } from '../postgres/connection.js'

/** Fills an empty list of withdrawals that are not over, oldest first. */
export async function restoreOpenWithdrawals(sql: Sql | Transaction, open: OpenWithdrawals): Promise<void> {
  const rows = await sql<{ withdrawal_id: string; user_id: string }[]>`
    select withdrawal_id, user_id from open_withdrawals order by seq, entry`
  for (const { withdrawal_id: withdrawalId, user_id: userId } of rows) open.apply({ op: 'is', withdrawalId, userId })
}

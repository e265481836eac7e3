import type { UnfundedComps } from '../../actors/treasury/unfunded-comps.js'
import type { Sql, Transaction } from '../postgres/connection.js'

/** Fills an empty list of comps that wait for funds, longest waiting first. */
export async function restoreUnfundedComps(sql: Sql | Transaction, unfunded: UnfundedComps): Promise<void> {
  const rows = await sql<{ comp_id: string; user_id: string; amount: bigint }[]>`
    select comp_id, user_id, amount from unfunded_comps order by seq, entry`
  for (const { comp_id, user_id, amount } of rows) {
    unfunded.apply({ op: 'waits', compId: comp_id, userId: user_id, amount })
  }
}

import type { UnfundedComps } from '../../actors/treasury/unfunded-comps.js'
import type { Sql, Transaction } from '../postgres/connection.js'

/** Fills an empty list of comps that wait for funds, longest waiting first. */
export async function restoreUnfundedComps(sql: Sql | Transaction, unfunded: UnfundedComps): Promise<void> {
  const rows = await sql<{ comp_id: string; user_id: string; amount: bigint; campaign: string | null }[]>`
    select comp_id, user_id, amount, campaign from unfunded_comps order by seq, entry`
  for (const { comp_id: compId, user_id: userId, amount, campaign } of rows) {
    unfunded.apply({ op: 'waits', compId, userId, amount, ...(campaign !== null && { campaign }) })
  }
}

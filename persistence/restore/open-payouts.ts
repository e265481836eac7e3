import { type OpenPayouts, openStates } from '../../actors/payout/open-payouts.js'
import { assert } from '../../engine/assert.js'
import type { Sql, Transaction } from '../postgres/connection.js'

/** Fills an empty list of payouts that are not over, each line oldest first. */
export async function restoreOpenPayouts(sql: Sql | Transaction, open: OpenPayouts): Promise<void> {
  const rows = await sql<{ payout_id: string; wallet: string; state: string; payee: string; amount: bigint }[]>`
    select payout_id, wallet, state, payee, amount from open_payouts order by seq, entry`
  for (const { payout_id: payoutId, wallet, state: stored, payee, amount } of rows) {
    const state = openStates.find((known) => known === stored)
    assert(state !== undefined, `the open payout ${payoutId} is ${stored}, which is no state`)
    open.apply({ op: 'is', payoutId, wallet, state, payee, amount })
  }
}

/** What came into a member's wallet and left it, as it is read back from Postgres. Times are milliseconds. */
import type { PayoutState } from '../payout/facts.js'
import type { After } from '../payout/rows.js'
import type { WithdrawalState } from './facts.js'

interface TransactionBase extends After {
  /** Minor units; null while only the hash of a withdrawal is known. */
  readonly amount: bigint | null
  readonly hash: string | null
  readonly from: string | null
  readonly to: string | null
  readonly because: string | null
  readonly at: number
  readonly movedAt: number | null
}

/** BJ-WAL-07 */
export type TransactionRow = TransactionBase &
  (
    | { readonly type: 'comp_deposit'; readonly state: PayoutState; readonly compId: string | null }
    | { readonly type: 'withdrawal'; readonly state: WithdrawalState }
    | { readonly type: 'external_deposit' }
  )

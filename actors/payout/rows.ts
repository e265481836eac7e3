/** Payouts as they are read back from Postgres, newest first. Times are milliseconds, amounts minor units. */
import type { CompType } from '../programs/rules.js'
import type { Pool } from '../treasury/facts.js'
import type { PayoutKind, PayoutState } from './facts.js'

export const compStatuses = ['pending', 'paid', 'failed', 'cancelled'] as const
export type CompStatus = (typeof compStatuses)[number]

/** Where a page begins: after the row with this place. */
export interface After {
  readonly seq: number
  readonly id: string
}

export interface CompRow extends After {
  readonly userId: string
  readonly type: CompType
  readonly amount: bigint
  readonly status: CompStatus
  readonly isFunded: boolean
  /** That pays for it; null when the pool does. */
  readonly campaign: string | null
  readonly scanId: string | null
  readonly milestone: string | null
  readonly awardedAt: number
  readonly paidAt: number | null
  /** Of the payout, while it is under way the transaction that was signed last. */
  readonly hash: string | null
  /** Null before there is a payout: the comp waits for funds, or is no money. */
  readonly payoutState: PayoutState | null
  readonly because: string | null
}

export interface PayoutRow extends After {
  readonly pool: Pool
  readonly kind: PayoutKind
  readonly reference: string
  readonly userId: string | null
  readonly amount: bigint
  readonly requestedBy: string
  readonly requestedAt: number
  readonly state: PayoutState
  readonly attempt: number
  readonly to: string | null
  readonly nonce: number | null
  readonly hash: string | null
  readonly height: number | null
  readonly because: string | null
  readonly movedAt: number | null
}

export interface PayoutTrail {
  readonly row: PayoutRow
  readonly steps: readonly {
    readonly at: number
    readonly attempt: number
    readonly state: PayoutState
    readonly hash: string | null
    readonly because: string | null
    readonly by: string | null
  }[]
  readonly approvals: readonly { readonly at: number; readonly by: string; readonly intent: string }[]
}

export interface ReconciliationRow {
  readonly seq: number
  readonly at: number
  readonly pool: Pool
  readonly height: number
  readonly onChain: bigint
  readonly ledger: bigint
  readonly inFlight: bigint
  readonly difference: bigint
  readonly status: 'balanced' | 'discrepancy'
  readonly cause: 'daily' | 'demand' | 'continuous'
}

export type SnapshotRow = Pick<ReconciliationRow, 'seq' | 'at' | 'height' | 'onChain' | 'ledger' | 'inFlight'> & {
  readonly pool: Pool
}

/** What the payouts of the last 24 hours came to (BJ-PAY-08). */
export interface PayoutFigures {
  readonly settled: number
  readonly failed: number
  readonly value: bigint
  /** From the first signature to the block that is final; null when nothing was paid. */
  readonly confirmationSeconds: number | null
}

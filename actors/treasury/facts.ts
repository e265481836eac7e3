import { z } from 'zod'
import { defineFact } from '../../engine/fact.js'

export const pools = ['member', 'affiliate', 'wholesale'] as const
export const pool = z.enum(pools)
export type Pool = z.output<typeof pool>

export const treasuryFunded = defineFact(
  'treasury.funded',
  z.object({ pool, amount: z.bigint(), reference: z.string(), by: z.string() }),
)

/** Money set aside for a comp that had waited for funds. */
export const compFunded = defineFact(
  'comp.funded',
  z.object({ compId: z.string(), userId: z.string(), amount: z.bigint() }),
)

const comparison = {
  pool,
  height: z.number(),
  /** What the wallet holds on chain at that height, in minor units. */
  onChain: z.bigint(),
  /** What it must hold by the ledger. */
  ledger: z.bigint(),
  /** Of that, on its way out: prepared, signed or mined (BJ-T40). */
  inFlight: z.bigint(),
}

/** Hourly (BJ-TRS-11, BJ-JOB-01). */
export const treasurySnapshotTaken = defineFact('treasury.snapshot_taken', z.object(comparison))

/** `pending` until there is one. */
export const reconciliationStatuses = ['balanced', 'discrepancy', 'pending'] as const
export type ReconciliationStatus = (typeof reconciliationStatuses)[number]

export const reconcileCause = z.enum(['daily', 'demand', 'continuous'])
export type ReconcileCause = z.output<typeof reconcileCause>

/** Daily, on demand, and all the time with no tolerance (BJ-REC-01, BJ-REC-02, BJ-JOB-03). */
export const treasuryReconciled = defineFact(
  'treasury.reconciled',
  z.object({
    ...comparison,
    difference: z.bigint(),
    status: z.enum(['balanced', 'discrepancy']),
    cause: reconcileCause,
  }),
)

/** An outgoing payment that is no payout of ours: somebody else has the key, or a payout was paid twice. */
export const foreignTransferSeen = defineFact(
  'treasury.foreign_transfer_seen',
  z.object({ pool, hash: z.string(), height: z.number(), to: z.string(), amount: z.bigint() }),
)

import { z } from 'zod'
import { defineFact } from '../../engine/fact.js'

export const withdrawalStates = ['submitted', 'mined', 'completed', 'failed'] as const
export type WithdrawalState = (typeof withdrawalStates)[number]

/** A member's own wallet moves money out (BJ-WAL-04). What it moves is null until a node shows the transaction. */
export const withdrawalSubmitted = defineFact(
  'withdrawal.submitted',
  z.object({
    withdrawalId: z.string(),
    userId: z.string(),
    hash: z.string(),
    from: z.string(),
    to: z.string().nullable(),
    amount: z.bigint().nullable(),
  }),
)

/** What the bytes of that hash say, of which only the hash was known. */
export const withdrawalIdentified = defineFact(
  'withdrawal.identified',
  z.object({ withdrawalId: z.string(), to: z.string(), amount: z.bigint() }),
)

/** It went a step on or back. */
export const withdrawalMoved = defineFact(
  'withdrawal.moved',
  z.object({
    withdrawalId: z.string(),
    state: z.enum(withdrawalStates),
    height: z.number().nullable(),
    because: z.string().nullable(),
  }),
)

/** Done for good: its member is told (BJ-WAL-06). */
export const withdrawalCompleted = defineFact(
  'withdrawal.completed',
  z.object({
    withdrawalId: z.string(),
    userId: z.string(),
    hash: z.string(),
    from: z.string(),
    to: z.string(),
    amount: z.bigint(),
    height: z.number(),
  }),
)

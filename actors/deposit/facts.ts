import { z } from 'zod'
import { defineFact } from '../../engine/fact.js'

/** Money came into a member's own wallet from elsewhere, for good (BJ-WAL-08). Hash and index name it. */
export const depositSeen = defineFact(
  'deposit.seen',
  z.object({
    userId: z.string(),
    hash: z.string(),
    index: z.number(),
    height: z.number(),
    from: z.string(),
    to: z.string(),
    amount: z.bigint(),
  }),
)

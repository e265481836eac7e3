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

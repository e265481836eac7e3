import { z } from 'zod'
import { defineFact } from '../../engine/fact.js'

/** Tins sold, the one measure behind comp unlocks (BJ-T07). */
export const tinsSold = defineFact(
  'tins.sold',
  z.object({
    tins: z.number(),
    userId: z.string().nullable(),
    reference: z.string(),
    /** Tins a month, averaged over this and the two months before. */
    average: z.number(),
    by: z.string(),
  }),
)

/** A comp type became winnable; it stays so (BJ-UNL-02…06, BJ-T08). */
export const compUnlocked = defineFact(
  'comp_type.unlocked',
  z.object({ compType: z.string(), average: z.number(), by: z.string() }),
)

export const unlockThresholdChanged = defineFact(
  'comp_type.threshold_changed',
  z.object({ compType: z.string(), tinsPerMonth: z.number(), by: z.string() }),
)

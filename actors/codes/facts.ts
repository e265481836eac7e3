import { z } from 'zod'
import { defineFact } from '../../engine/fact.js'

/** The codes themselves travel as deltas of the code book, not as facts. */
export const batchCreated = defineFact(
  'batch.created',
  z.object({
    batch: z.number(),
    name: z.string(),
    sku: z.string(),
    quantity: z.number(),
    checksum: z.boolean(),
    by: z.string(),
  }),
)

export const batchCompleted = defineFact('batch.completed', z.object({ batch: z.number(), quantity: z.number() }))
export const batchExported = defineFact('batch.exported', z.object({ batch: z.number(), by: z.string() }))

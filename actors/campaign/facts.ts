import { z } from 'zod'
import { defineFact } from '../../engine/fact.js'
import { pool } from '../treasury/facts.js'

/** Money of a pool was set aside for prizes of these types. Amounts are minor units; times are milliseconds. */
export const campaignOpened = defineFact(
  'campaign.opened',
  z.object({
    campaign: z.string(),
    pool,
    compTypes: z.array(z.string()),
    budget: z.bigint(),
    startsAt: z.number(),
    /** Null when it runs until it is closed. */
    endsAt: z.number().nullable(),
    by: z.string(),
  }),
)

export const campaignRaised = defineFact(
  'campaign.raised',
  z.object({ campaign: z.string(), amount: z.bigint(), by: z.string() }),
)

/** What was left went back to the pool; once more for what came back after that. `by` is `system` at its end. */
export const campaignClosed = defineFact(
  'campaign.closed',
  z.object({ campaign: z.string(), returned: z.bigint(), by: z.string() }),
)

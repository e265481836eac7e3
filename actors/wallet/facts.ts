import { z } from 'zod'
import { defineFact } from '../../engine/fact.js'

/** The wallet is this address on this chain (S4). */
export const walletBound = defineFact(
  'wallet.bound',
  z.object({ wallet: z.string(), chain: z.string(), address: z.string(), nonce: z.number().nullable() }),
)

/** Nothing is prepared or signed any more; what is out is followed to its end (BJ-PAY-07). */
export const walletPaused = defineFact(
  'wallet.paused',
  z.object({ wallet: z.string(), because: z.string(), by: z.string() }),
)

export const walletResumed = defineFact('wallet.resumed', z.object({ wallet: z.string(), by: z.string() }))

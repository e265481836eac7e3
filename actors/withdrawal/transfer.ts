/** A transfer of the asset out of a member's own wallet, as its bytes tell it. */
import { z } from 'zod'

/** Minor units: beyond any real money, and well within the 64 bits that records hold. */
export const TRANSFER_AMOUNT_MAX = 10n ** 18n

/** What ends the chance of signed bytes to be mined. */
const validity = z.discriminatedUnion('kind', [
  /** Another transaction of the same wallet with this nonce. */
  z.object({ kind: z.literal('nonce'), nonce: z.number().int().min(0) }),
  /** The blocks after this height: at the latest, for the bytes do not tell it. */
  z.object({ kind: z.literal('blockhash'), blockhash: z.string(), lastValidBlockHeight: z.number().int() }),
])

export const signedTransfer = z.object({
  hash: z.string(),
  /** As the node takes it: hexadecimal (EVM) or base64 (Solana). */
  raw: z.string(),
  from: z.string(),
  to: z.string(),
  amount: z.bigint().positive().max(TRANSFER_AMOUNT_MAX),
  validity,
})
export type SignedTransfer = z.output<typeof signedTransfer>

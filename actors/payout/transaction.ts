/** What was signed for a payout, and where it was mined, as the core keeps it. */
import { z } from 'zod'

/** What signed bytes depend on besides the transfer. */
export const terms = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('evm'),
    maxFeePerGas: z.bigint(),
    maxPriorityFeePerGas: z.bigint(),
    gas: z.bigint(),
  }),
  z.object({ kind: z.literal('solana'), blockhash: z.string(), lastValidBlockHeight: z.number() }),
])
export type Terms = z.output<typeof terms>

/** Bytes that pay a transfer, once, whenever somebody sends them. */
export const signedTransaction = z.object({
  /** Its hash or first signature: known before it is sent. */
  hash: z.string(),
  /** As the node takes it: hexadecimal (EVM) or base64 (Solana). */
  raw: z.string(),
  terms,
})
export type SignedTransaction = z.output<typeof signedTransaction>

export const block = z.object({ height: z.number(), hash: z.string() })
export type Block = z.output<typeof block>

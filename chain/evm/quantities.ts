/** The few shapes of JSON-RPC answers we read, checked at the edge: a node may say anything. */
import { getAddress, type Hex, isAddress } from 'viem'
import { z } from 'zod'
import { NodeSilent } from './node-errors.js'

const hex = z.string().regex(/^0x[0-9a-fA-F]*$/)
const quantity = z.string().regex(/^0x[0-9a-fA-F]{1,64}$/)
const bigQuantity = quantity.transform((text) => BigInt(text))
const smallQuantity = bigQuantity.refine((value) => value <= BigInt(Number.MAX_SAFE_INTEGER)).transform(Number)
const hash = z
  .string()
  .regex(/^0x[0-9a-fA-F]{64}$/)
  .transform((text) => text.toLowerCase() as Hex)
const address = z
  .string()
  .refine((text) => isAddress(text, { strict: false }))
  .transform((text) => getAddress(text))

const log = z.object({
  address,
  topics: z.array(hash),
  data: hex.transform((text) => text as Hex),
  blockNumber: smallQuantity,
  blockHash: hash,
  transactionHash: hash,
  logIndex: smallQuantity,
})
const receipt = z.object({
  transactionHash: hash,
  blockNumber: smallQuantity,
  blockHash: hash,
  status: quantity.transform((text) => BigInt(text) === 1n),
  gasUsed: bigQuantity,
  effectiveGasPrice: bigQuantity,
  logs: z.array(log),
})
const block = z.object({ number: smallQuantity, hash })
const blockWithTransactions = block.extend({
  transactions: z.array(z.object({ hash, from: address, nonce: smallQuantity })),
})
const feeHistory = z.object({ baseFeePerGas: z.array(bigQuantity).min(1), reward: z.array(z.array(bigQuantity)) })

export type ReceiptLog = z.infer<typeof log>
export type Receipt = z.infer<typeof receipt>

/** An answer nobody can read is as good as none. */
function reader<T>(what: string, schema: z.ZodType<T>): (value: unknown) => T {
  return (value) => {
    const parsed = schema.safeParse(value)
    if (parsed.success) return parsed.data
    throw new NodeSilent(`the answer is no ${what}`)
  }
}

/** Each throws `NodeSilent` when a node answers something else. */
export const read = {
  hex: reader(
    'hexadecimal text',
    hex.transform((text) => text as Hex),
  ),
  number: reader('number', smallQuantity),
  amount: reader('amount', bigQuantity),
  block: reader('block', block),
  blockOrNull: reader('block', block.nullable()),
  blockWithTransactions: reader('block with transactions', blockWithTransactions),
  receiptOrNull: reader('receipt', receipt.nullable()),
  logs: reader('list of logs', z.array(log)),
  feeHistory: reader('fee history', feeHistory),
}

/** A number as JSON-RPC wants it. */
export const toQuantity = (value: number | bigint): Hex => `0x${value.toString(16)}`

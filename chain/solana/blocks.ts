/** Blocks and transactions as a node remembers them. */
import type { Connection, VersionedTransactionResponse } from '@solana/web3.js'
import { z } from 'zod'
import { chunks } from './batches.js'
import { NodeUnfit } from './endpoint.js'

/** In one request. */
const TRANSACTIONS_BATCH = 50

export type FoundTransaction = VersionedTransactionResponse & {
  readonly meta: NonNullable<VersionedTransactionResponse['meta']>
}

const header = z.object({ blockhash: z.string(), blockHeight: z.number().nullable() })

/** Of a block that is final. */
export async function blockHeader(connection: Connection, slot: number) {
  return header.parse(await connection.getBlock(slot, { ...asFinal, transactionDetails: 'none', rewards: false }))
}

/** Transactions that are final, by their hashes. Throws when the node does not know them all. */
export async function finalTransactions(
  connection: Connection,
  hashes: readonly string[],
): Promise<ReadonlyMap<string, FoundTransaction>> {
  const found = new Map<string, FoundTransaction>()
  for (const chunk of chunks(hashes, TRANSACTIONS_BATCH)) {
    const answers = await connection.getTransactions([...chunk], asFinal)
    chunk.forEach((hash, index) => {
      const transaction = answers[index]
      // A batch need not be answered in its order.
      if (!transaction?.meta || transaction.transaction.signatures[0] !== hash) {
        throw new NodeUnfit(`it does not show the transaction ${hash}, which it says is final`)
      }
      found.set(hash, { ...transaction, meta: transaction.meta })
    })
  }
  return found
}

const asFinal = { commitment: 'finalized', maxSupportedTransactionVersion: 0 } as const

/** The first height from which on the node remembers every block. */
export async function historyBegins(connection: Connection): Promise<number> {
  const slot = await connection.getFirstAvailableBlock()
  if (slot === 0) return 0
  return (await blockHeader(connection, slot)).blockHeight ?? Number.POSITIVE_INFINITY
}

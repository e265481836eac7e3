/** Movements of the token into and out of addresses, from its Transfer events. */
import { encodeEventTopics, type Hex, pad } from 'viem'
import type { AssetMovement } from '../chain.js'
import { tokenAbi } from './contracts.js'
import type { Endpoint } from './endpoint.js'
import type { Call } from './json-rpc.js'
import { NodeError, NodeSilent, resultOf } from './node-errors.js'
import { type ReceiptLog, read, toQuantity } from './quantities.js'
import { tokenTransferOf } from './receipts.js'

/** Nodes refuse longer ranges and longer lists of addresses. */
const BLOCKS_PER_CALL = 500
const ADDRESSES_PER_CALL = 100

const [TRANSFER] = encodeEventTopics({ abi: tokenAbi, eventName: 'Transfer' })

/**
 * All in blocks `from` to `through`, oldest first; of everybody when `addresses` is null. Throws when the node does not
 * have all of these blocks.
 */
export async function movementsIn(
  endpoint: Endpoint,
  token: Hex,
  addresses: readonly Hex[] | null,
  from: number,
  through: number,
): Promise<readonly AssetMovement[]> {
  const byPlace = new Map<string, AssetMovement>()
  for (let start = from; start <= through; start += BLOCKS_PER_CALL) {
    const logs = await logsOf(endpoint, token, addresses, start, Math.min(start + BLOCKS_PER_CALL - 1, through))
    for (const log of logs) {
      const transfer = tokenTransferOf(log, token)
      if (transfer === null) continue
      const { blockNumber: height, blockHash, logIndex, transactionHash } = log
      const block = { height, hash: blockHash }
      byPlace.set(`${height}/${logIndex}`, { hash: transactionHash, index: logIndex, block, ...transfer })
    }
  }
  return [...byPlace.values()].toSorted((a, b) => a.block.height - b.block.height || a.index - b.index)
}

async function logsOf(
  endpoint: Endpoint,
  token: Hex,
  addresses: readonly Hex[] | null,
  from: number,
  through: number,
): Promise<readonly ReceiptLog[]> {
  const range = { address: token, fromBlock: toQuantity(from), toBlock: toQuantity(through) }
  const logs = (...parties: readonly (readonly Hex[] | null)[]): Call => ({
    method: 'eth_getLogs',
    params: [{ ...range, topics: [TRANSFER, ...parties] }],
  })
  const calls =
    addresses === null
      ? [logs()]
      : chunks(addresses.map((address) => pad(address))).flatMap((group) => [logs(group), logs(null, group)])
  // A node that does not have the last block yet answers with the logs of the others and says nothing of it.
  const lastBlock = { method: 'eth_getBlockByNumber', params: [toQuantity(through), false] }
  const [last, ...answers] = await endpoint.all([lastBlock, ...calls])
  if (read.blockOrNull(resultOf(last)) === null) throw new NodeSilent(`${endpoint.name} has no block ${through} yet`)
  try {
    return answers.flatMap((answer) => read.logs(resultOf(answer)))
  } catch (error) {
    // Too many at once, for this node: in halves.
    if (!(error instanceof NodeError) || from === through) throw error
    const middle = Math.floor((from + through) / 2)
    const first = await logsOf(endpoint, token, addresses, from, middle)
    return [...first, ...(await logsOf(endpoint, token, addresses, middle + 1, through))]
  }
}

const chunks = <T>(items: readonly T[]): readonly (readonly T[])[] =>
  Array.from({ length: Math.ceil(items.length / ADDRESSES_PER_CALL) }, (_, i) =>
    items.slice(i * ADDRESSES_PER_CALL, (i + 1) * ADDRESSES_PER_CALL),
  )

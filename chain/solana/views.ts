/** What each node says of a set of transactions. */
import type { Connection, SignatureStatus } from '@solana/web3.js'
import { chunks } from './batches.js'
import { type Endpoint, NodeUnfit } from './endpoint.js'
import type { Answers, Endpoints } from './endpoints.js'

const STATUSES_MAX = 256

/** What one node says, its final block read before the statuses, so that nothing final by then can be missing in them. */
export interface View {
  readonly finalSlot: number
  readonly finalHeight: number
  /** The slot of the bank that the statuses were read from; below `finalSlot` when another machine answered. */
  readonly statusSlot: number
  /** Of those it knows. */
  readonly statuses: ReadonlyMap<string, SignatureStatus>
}

/** A transaction found at a node. */
export interface Sighting {
  readonly endpoint: Endpoint
  readonly hash: string
  readonly status: SignatureStatus
}

export function viewsOf(endpoints: Endpoints, hashes: readonly string[]): Promise<Answers<View>> {
  return endpoints.every((connection, endpoint) => viewOf(connection, endpoint, hashes))
}

async function viewOf(connection: Connection, endpoint: Endpoint, hashes: readonly string[]): Promise<View> {
  const { absoluteSlot, blockHeight } = await connection.getEpochInfo('finalized')
  if (blockHeight === undefined) throw new NodeUnfit('it does not tell the height of its final block')
  endpoint.noteFinalSlot(absoluteSlot)
  const statuses = new Map<string, SignatureStatus>()
  let statusSlot = Number.POSITIVE_INFINITY
  for (const chunk of chunks(hashes, STATUSES_MAX)) {
    const { context, value } = await connection.getSignatureStatuses([...chunk], { searchTransactionHistory: true })
    if (value.length !== chunk.length) throw new Error('it answered for another number of transactions')
    statusSlot = Math.min(statusSlot, context.slot)
    chunk.forEach((hash, index) => {
      const status = value[index]
      if (status) statuses.set(hash, status)
    })
  }
  return { finalSlot: absoluteSlot, finalHeight: blockHeight, statusSlot, statuses }
}

export const isFinal = ({ confirmationStatus }: SignatureStatus) => confirmationStatus === 'finalized'

export function sightingsOf({ given }: Answers<View>, hashes: readonly string[]): Sighting[] {
  return given.flatMap(({ endpoint, answer }) =>
    hashes.flatMap((hash) => {
      const status = answer.statuses.get(hash)
      return status ? [{ endpoint, hash, status }] : []
    }),
  )
}

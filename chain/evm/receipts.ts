/** What a receipt says of a payout. */
import { decodeEventLog, type Hex } from 'viem'
import { tokenAbi } from './contracts.js'
import type { Receipt, ReceiptLog } from './quantities.js'

export interface TokenTransfer {
  readonly from: Hex
  readonly to: Hex
  readonly amount: bigint
}

/** The transfer a log tells of; null when it is another event or another contract's. */
export function tokenTransferOf(log: ReceiptLog, token: Hex): TokenTransfer | null {
  if (log.address !== token) return null
  const [topic, ...rest] = log.topics
  if (topic === undefined) return null
  try {
    const { eventName, args } = decodeEventLog({ abi: tokenAbi, topics: [topic, ...rest], data: log.data })
    return eventName === 'Transfer' ? { from: args.from, to: args.to, amount: args.value } : null
  } catch {
    return null
  }
}

/** `other` has moved something else than was asked, and a person must look. */
export type Paid = 'yes' | 'no' | 'other'

/**
 * Whether it paid. A token may also answer `false`, or take a fee out of the amount, without reverting: only its own
 * event tells.
 */
export function paidBy(receipt: Receipt, token: Hex, expected: TokenTransfer): Paid {
  if (!receipt.status) return 'no'
  const moved = receipt.logs
    .map((log) => tokenTransferOf(log, token))
    .filter((transfer) => transfer !== null && transfer.from === expected.from)
  if (moved.length === 0) return 'no'
  const [only, ...more] = moved
  const exact = only?.to === expected.to && only.amount === expected.amount && more.length === 0
  return exact ? 'yes' : 'other'
}

export const feeOf = ({ gasUsed, effectiveGasPrice }: Receipt): bigint => gasUsed * effectiveGasPrice

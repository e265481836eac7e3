/** EIP-1559 fees: the market, and what a stuck transaction has to offer instead. All in wei per gas. */
import { DomainError } from '../../engine/errors.js'
import type { Endpoint } from './endpoint.js'
import { read, toQuantity } from './quantities.js'

export interface FeePolicy {
  /** Never offered more than this, whatever the market is. */
  readonly maxFeePerGasCap: bigint
  /** Nodes of some chains refuse less. */
  readonly priorityFeeMin: bigint
}

export interface Fees {
  readonly maxFeePerGas: bigint
  readonly maxPriorityFeePerGas: bigint
}

export interface Market {
  /** Of the next block. */
  readonly baseFee: bigint
  /** What half of the transactions of the last blocks paid on top. */
  readonly priorityFee: bigint
}

const GWEI = 1_000_000_000n
const HISTORY_BLOCKS = 10
const MEDIAN = 50
/** Nodes ask for 10 % more on both fees; an eighth clears it with every rounding. */
const BUMP_NUMERATOR = 9n
const BUMP_DENOMINATOR = 8n

const polygon: FeePolicy = { maxFeePerGasCap: 2_000n * GWEI, priorityFeeMin: 30n * GWEI }
const elsewhere: FeePolicy = { maxFeePerGasCap: 200n * GWEI, priorityFeeMin: GWEI }

/** Polygon and its test network refuse tips under 25 gwei. */
export const defaultFeePolicy = (chainId: number): FeePolicy =>
  chainId === 137 || chainId === 80_002 ? polygon : elsewhere

export async function readMarket(endpoint: Endpoint): Promise<Market> {
  const params = [toQuantity(HISTORY_BLOCKS), 'latest', [MEDIAN]]
  const { baseFeePerGas, reward } = read.feeHistory(await endpoint.one('eth_feeHistory', params))
  const tips = reward.flatMap(([tip]) => (tip === undefined || tip === 0n ? [] : [tip])) // 0: an empty block
  tips.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))
  return { baseFee: baseFeePerGas.at(-1) ?? 0n, priorityFee: tips[Math.floor(tips.length / 2)] ?? 0n }
}

/** What to offer the first time: room for the base fee to double. Throws `fees_above_cap`. */
export function firstFees({ baseFee, priorityFee }: Market, policy: FeePolicy): Fees {
  const { maxFeePerGasCap: cap, priorityFeeMin } = policy
  if (baseFee + priorityFeeMin > cap) {
    const message = `The base fee is ${baseFee} wei and the cap ${cap}: wait until the chain is cheaper, or raise the cap`
    throw new DomainError('unavailable', 'fees_above_cap', message)
  }
  const tip = min(max(priorityFee, priorityFeeMin), cap - baseFee)
  return { maxFeePerGas: min(2n * baseFee + tip, cap), maxPriorityFeePerGas: tip }
}

/** What replaces everything signed before, and is at least what the market asks. Throws `fee_cap_reached`. */
export function replacementFees(before: readonly Fees[], market: Market, policy: FeePolicy): Fees {
  const { maxFeePerGasCap: cap } = policy
  const maxFeePerGas = max(...before.map((fees) => bumped(fees.maxFeePerGas)))
  const tip = max(...before.map((fees) => bumped(fees.maxPriorityFeePerGas)))
  const least = max(maxFeePerGas, tip)
  if (least > cap || market.baseFee + tip > cap) {
    const message = `Replacing takes ${max(least, market.baseFee + tip)} wei per gas and the cap is ${cap}: wait, or raise the cap`
    throw new DomainError('unavailable', 'fee_cap_reached', message)
  }
  const current = firstFees({ ...market, priorityFee: max(market.priorityFee, tip) }, policy)
  return {
    maxFeePerGas: max(least, current.maxFeePerGas),
    maxPriorityFeePerGas: max(tip, current.maxPriorityFeePerGas),
  }
}

const bumped = (fee: bigint) => (fee * BUMP_NUMERATOR + BUMP_DENOMINATOR - 1n) / BUMP_DENOMINATOR
const min = (a: bigint, b: bigint) => (a < b ? a : b)
const max = (...values: readonly bigint[]) => values.reduce((a, b) => (a > b ? a : b), 0n)

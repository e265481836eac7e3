/**
 * Reads what a wallet asks of its batch contract: leave to take a sum, or payments. Payments carry hashes of payout ids;
 * the request names the ids, and they must give these hashes, so that a payout is one and the same to the memory of the
 * signer however it is paid (S4).
 */
import {
  type Address,
  decodeFunctionData,
  encodeFunctionData,
  erc20Abi,
  type Hex,
  isAddressEqual,
  type TransactionSerializableEIP1559,
} from 'viem'
import { batchIdOf, batchPayoutAbi } from '../evm/contracts.js'
import { refuse } from './intent.js'
import type { EvmWalletPolicy } from './policy.js'
import type { SigningRequest } from './signer.js'

export interface BatchedPayment {
  readonly payoutId: string
  readonly to: Address
  readonly amount: bigint
}

export type BatchCall =
  | { readonly kind: 'allow'; readonly amount: bigint }
  | { readonly kind: 'pay'; readonly payments: readonly BatchedPayment[] }

/** Throws `SignerRefused` unless it is one of these two calls, exactly as it was asked for. */
export function readBatchCall(
  { to, value = 0n, data = '0x' }: TransactionSerializableEIP1559,
  request: SigningRequest,
  { token, batchContract }: EvmWalletPolicy,
  isPayee: (address: Address) => boolean,
): BatchCall {
  if (!to || token === null || batchContract === null) throw refuse('batch_wrong', request, 'it creates a contract.')
  if (value !== 0n) throw refuse('batch_wrong', request, 'it sends coin along.')
  if (isAddressEqual(to, token)) return readAllowance(data, request, batchContract)
  if (isAddressEqual(to, batchContract)) return readPayments(data, request, isPayee)
  throw refuse('batch_wrong', request, `it calls ${to}, which is neither the token nor the batch contract.`)
}

function readAllowance(data: Hex, request: SigningRequest, batchContract: Address): BatchCall {
  const call = decoded(() => decodeFunctionData({ abi: erc20Abi, data }))
  if (call?.functionName !== 'approve') throw refuse('batch_wrong', request, 'of the token it may only call approve.')
  const [spender, amount] = call.args
  const plain = encodeFunctionData({ abi: erc20Abi, functionName: 'approve', args: [spender, amount] })
  if (plain !== data) throw refuse('batch_wrong', request, 'its call carries more than an approval does.')
  if (!isAddressEqual(spender, batchContract)) {
    throw refuse('batch_wrong', request, `it lets ${spender} take money, and only ${batchContract} may.`)
  }
  if (amount !== request.amount) throw notTheSum(request, amount)
  return { kind: 'allow', amount }
}

function readPayments(data: Hex, request: SigningRequest, isPayee: (address: Address) => boolean): BatchCall {
  const [found] = decoded(() => decodeFunctionData({ abi: batchPayoutAbi, data }))?.args ?? []
  if (found === undefined) throw refuse('batch_wrong', request, 'of the batch contract it may only call pay.')
  const plain = encodeFunctionData({ abi: batchPayoutAbi, functionName: 'pay', args: [found] })
  if (plain !== data) throw refuse('batch_wrong', request, 'its call is written in an unusual way.')
  const ids = request.payouts ?? []
  if (ids.length !== found.length || ids.length === 0 || new Set(ids).size !== ids.length) {
    const message = `it has ${found.length} payments, and ${new Set(ids).size} different payouts were named.`
    throw refuse('batch_wrong', request, message)
  }
  const payments = found.map(({ id, to, amount }, index): BatchedPayment => {
    const payoutId = ids[index] ?? ''
    if (id !== batchIdOf(payoutId)) throw refuse('batch_wrong', request, `payment ${index} is not of ${payoutId}.`)
    if (!isPayee(to)) throw refuse('payee_wrong', { payoutId }, `${to} is no payee.`)
    if (amount === 0n) throw refuse('amount_wrong', { payoutId }, 'it pays nothing.')
    return { payoutId, to, amount }
  })
  const sum = payments.reduce((total, { amount }) => total + amount, 0n)
  if (sum !== request.amount) throw notTheSum(request, sum)
  return { kind: 'pay', payments }
}

function decoded<Call>(decode: () => Call): Call | null {
  try {
    return decode()
  } catch {
    return null
  }
}

const notTheSum = (request: SigningRequest, sum: bigint) =>
  refuse('amount_wrong', request, `it is about ${sum}, and ${request.amount} was asked for.`)

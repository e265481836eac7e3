/** Reads unsigned EVM bytes, believes nothing but them, and signs them. */
import {
  type Address,
  decodeFunctionData,
  encodeFunctionData,
  erc20Abi,
  getAddress,
  type Hex,
  hexToBytes,
  isAddress,
  isAddressEqual,
  keccak256,
  numberToHex,
  parseTransaction,
  serializeTransaction,
  type TransactionSerializableEIP1559,
  zeroAddress,
} from 'viem'
import type { EvmKey } from '../keys/key-provider.js'
import { type BatchCall, readBatchCall } from './evm-batch.js'
import { fingerprintOf, type Intent, refuse } from './intent.js'
import type { EvmWalletPolicy } from './policy.js'
import type { SigningRequest } from './signer.js'

/** 32 KiB; a transfer has under 200 bytes. */
const UNSIGNED_CHARACTERS_MAX = 2 ** 16
const UNSIGNED_EIP1559 = /^0x02[0-9a-f]+$/

export interface EvmIntent extends Intent {
  readonly nonce: number
  readonly transaction: TransactionSerializableEIP1559
  readonly digest: Uint8Array
  /** Null for a plain transfer. */
  readonly batch: BatchCall | null
}

/**
 * Throws `SignerRefused` unless it is the plain transfer that was asked for, or, where the policy names a batch contract
 * and the request is for it, an allowance or payments; within the policy.
 */
export function readEvmIntent(request: SigningRequest, policy: EvmWalletPolicy, wallet: Address): EvmIntent {
  const { batchContract } = policy
  const isBatch = batchContract !== null && isAddress(request.to) && isAddressEqual(request.to, batchContract)
  const payee = isBatch ? null : payeeOf(request, policy, wallet)
  const transaction = parse(request)
  const { chainId, nonce = 0, gas = 0n, maxFeePerGas = 0n, maxPriorityFeePerGas = 0n } = transaction
  if (chainId !== policy.chainId) {
    throw refuse('chain_wrong', request, `it is for chain ${chainId}, and the wallet pays on ${policy.chainId}.`)
  }
  const isPayee = (address: Address) => !isSenseless(address, policy, wallet)
  const batch = payee === null ? readBatchCall(transaction, request, policy, isPayee) : null
  if (payee !== null) checkTransfer(transaction, request, policy, payee)
  if (gas === 0n || maxPriorityFeePerGas > maxFeePerGas) {
    throw refuse('bytes_unreadable', request, 'its gas and fees make no sense; prepare it again.')
  }
  if (gas * maxFeePerGas > policy.feeMax) {
    const most = `${gas * maxFeePerGas} wei, and the policy allows ${policy.feeMax}`
    throw refuse('fee_too_high', request, `it may cost ${most}. Wait for lower fees or raise fee_max.`)
  }
  const digest = hexToBytes(keccak256(request.unsigned as Hex))
  // What a batch does is known by the hash of its call: under its id that is the same for ever (S4).
  const to = payee ?? keccak256(transaction.data ?? '0x')
  return { to, nonce, transaction, fingerprint: fingerprintOf(digest), digest, batch }
}

export async function signEvmIntent({ transaction, digest }: EvmIntent, key: EvmKey): Promise<string> {
  const { r, s, yParity } = await key.signDigest(digest)
  return serializeTransaction(transaction, {
    r: numberToHex(r, { size: 32 }),
    s: numberToHex(s, { size: 32 }),
    yParity,
  })
}

function payeeOf(request: SigningRequest, policy: EvmWalletPolicy, wallet: Address): Address {
  const { to } = request
  if (!isAddress(to)) throw refuse('payee_wrong', request, `${to} is no address (or its checksum is wrong).`)
  if (isSenseless(to, policy, wallet))
    throw refuse('payee_wrong', request, `${to} is no payee: it is zero, the token or the wallet itself.`)
  return getAddress(to)
}

/** Money sent to any of these is gone, or went nowhere. */
const isSenseless = (to: Address, { token, batchContract }: EvmWalletPolicy, wallet: Address) =>
  [zeroAddress, wallet, token, batchContract].some((other) => other !== null && isAddressEqual(to, other))

/** The one way of writing it: what was read, written again, must give the same bytes. */
function parse(request: SigningRequest): TransactionSerializableEIP1559 {
  const { unsigned } = request
  if (unsigned.length > UNSIGNED_CHARACTERS_MAX || !UNSIGNED_EIP1559.test(unsigned)) {
    throw refuse('bytes_unreadable', request, 'it is no EIP-1559 transaction in lower-case hexadecimal.')
  }
  const rebuilt = rebuild(unsigned as `0x02${string}`)
  if (rebuilt === null) {
    throw refuse(
      'bytes_unreadable',
      request,
      'it cannot be decoded, is signed already or is written in an unusual way.',
    )
  }
  const { accessList, ...transaction } = rebuilt
  if ((accessList?.length ?? 0) === 0) return transaction
  throw refuse('no_plain_transfer', request, 'it has an access list, which a transfer does not need.')
}

/** From what was read and nothing else; null unless that gives the same bytes. */
function rebuild(unsigned: `0x02${string}`): TransactionSerializableEIP1559 | null {
  try {
    const { chainId, nonce, gas, maxFeePerGas, maxPriorityFeePerGas, to, value, data, accessList } =
      parseTransaction(unsigned)
    const read = { chainId, nonce, gas, maxFeePerGas, maxPriorityFeePerGas, to, value, data, accessList }
    const known = Object.fromEntries(Object.entries(read).filter(([, field]) => field !== undefined))
    const rebuilt = { ...(known as Omit<TransactionSerializableEIP1559, 'type'>), type: 'eip1559' } as const
    return serializeTransaction(rebuilt) === unsigned ? rebuilt : null
  } catch {
    return null
  }
}

function checkTransfer(
  { to, value = 0n, data = '0x' }: TransactionSerializableEIP1559,
  request: SigningRequest,
  { token }: EvmWalletPolicy,
  payee: Address,
): void {
  if (!to) throw refuse('no_plain_transfer', request, 'it would create a contract.')
  if (token === null) {
    if (data !== '0x') throw refuse('no_plain_transfer', request, 'it calls a contract, and the wallet pays in coin.')
    checkPaid({ to, amount: value }, request, payee)
    return
  }
  if (!isAddressEqual(to, token))
    throw refuse('asset_wrong', request, `it calls ${to}, and the wallet pays in ${token}.`)
  if (value !== 0n) throw refuse('no_plain_transfer', request, 'it sends coin along with the token.')
  checkPaid(decodeTransfer(data, request), request, payee)
}

function decodeTransfer(data: Hex, request: SigningRequest): { readonly to: Address; readonly amount: bigint } {
  let call: ReturnType<typeof decodeFunctionData<typeof erc20Abi>>
  try {
    call = decodeFunctionData({ abi: erc20Abi, data })
  } catch {
    throw refuse('no_plain_transfer', request, `it calls ${data.slice(0, 10)}, which is no transfer.`)
  }
  if (call.functionName !== 'transfer') {
    throw refuse('no_plain_transfer', request, `it calls ${call.functionName}, and only transfer is signed.`)
  }
  const [to, amount] = call.args
  const plain = encodeFunctionData({ abi: erc20Abi, functionName: 'transfer', args: [to, amount] })
  if (plain !== data) throw refuse('no_plain_transfer', request, 'its call carries more than a transfer does.')
  return { to, amount }
}

function checkPaid(paid: { readonly to: Address; readonly amount: bigint }, request: SigningRequest, payee: Address) {
  if (!isAddressEqual(paid.to, payee)) {
    throw refuse('payee_wrong', request, `it pays ${paid.to}, and ${payee} was asked for.`)
  }
  if (paid.amount !== request.amount || request.amount <= 0n) {
    throw refuse('amount_wrong', request, `it pays ${paid.amount}, and ${request.amount} was asked for.`)
  }
}

/** Transfers of the token that somebody else signed, read from their bytes: a hash stands for its bytes, whoever shows them. */
import {
  decodeFunctionData,
  formatTransaction,
  getAddress,
  type Hex,
  isHex,
  keccak256,
  parseTransaction,
  type RpcTransaction,
  recoverTransactionAddress,
  serializeTransaction,
  type TransactionSerialized,
} from 'viem'
import { type SignedTransfer, TRANSFER_AMOUNT_MAX } from '../../actors/withdrawal/transfer.js'
import { DomainError } from '../../engine/errors.js'
import { tokenAbi } from './contracts.js'

/** A plain transfer takes 360; an access list may come with it. */
const RAW_CHARACTERS_MAX = 8_192
/** The others carry more than a call of a contract. */
const types: ReadonlySet<string> = new Set(['legacy', 'eip2930', 'eip1559'])

/** Throws `withdrawal_unreadable` unless it is one signed call of `transfer` of the token on this chain. */
export async function readTransfer(raw: string, chainId: number, token: Hex): Promise<SignedTransfer> {
  if (!isHex(raw) || raw.length > RAW_CHARACTERS_MAX) throw unreadable('it is no transaction in hexadecimal')
  const bytes = raw.toLowerCase() as TransactionSerialized
  const transaction = parsed(bytes)
  const { nonce = 0 } = transaction
  if (!types.has(String(transaction.type))) throw unreadable(`it is of the type ${transaction.type}`)
  if (transaction.chainId !== chainId) throw unreadable(`it is for chain ${transaction.chainId}, not ${chainId}`)
  if (transaction.to?.toLowerCase() !== token.toLowerCase()) throw unreadable(`it does not call the token ${token}`)
  if (!Number.isSafeInteger(nonce)) throw unreadable('its nonce is beyond any wallet')
  const [to, amount] = transferIn(transaction.data)
  if (amount <= 0n || amount > TRANSFER_AMOUNT_MAX) throw unreadable(`it moves ${amount}`)
  const validity = { kind: 'nonce', nonce } as const
  return { hash: keccak256(bytes), raw: bytes, from: await signerOf(bytes), to: getAddress(to), amount, validity }
}

/** The bytes of a transaction as a node shows it; null when they are not those of that hash, whatever it is then. */
export function bytesShown(shown: unknown, hash: Hex): Hex | null {
  try {
    const { r, s, v, yParity, input: data, ...content } = formatTransaction(shown as RpcTransaction)
    const bytes = serializeTransaction({ ...content, data } as never, { r, s, v, yParity } as never)
    return keccak256(bytes) === hash ? bytes : null
  } catch {
    return null
  }
}

function parsed(bytes: TransactionSerialized) {
  try {
    return parseTransaction(bytes)
  } catch {
    throw unreadable('it cannot be read')
  }
}

function transferIn(data: Hex | undefined): readonly [Hex, bigint] {
  try {
    const call = decodeFunctionData({ abi: tokenAbi, data: data ?? '0x' })
    if (call.functionName === 'transfer') return call.args
  } catch {
    // The same as another function.
  }
  throw unreadable('it is no transfer')
}

async function signerOf(serializedTransaction: TransactionSerialized): Promise<Hex> {
  try {
    return await recoverTransactionAddress({ serializedTransaction })
  } catch {
    throw unreadable('it is not signed')
  }
}

const unreadable = (what: string) =>
  new DomainError('unprocessable', 'withdrawal_unreadable', `This is no signed transfer of the asset: ${what}.`)

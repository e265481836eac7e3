/** The parameters of a request to the local Solana node, and its errors. */
import { type IncomingTransaction, readTransaction, type SolanaChain } from './solana-chain.js'
import type { Commitment } from './solana-slots.js'

export type Params = readonly unknown[]
export type Config = Readonly<Record<string, unknown>>
export type RpcMethods = Readonly<Record<string, (params: Params) => unknown>>

export const INVALID_PARAMS = -32602
const CONTEXT_SLOT_NOT_REACHED = -32016
/** A packet of the network. */
const TRANSACTION_BYTES_MAX = 1232

export class RpcError extends Error {
  override readonly name = 'RpcError'
  constructor(
    readonly code: number,
    message: string,
    readonly data?: unknown,
  ) {
    super(message)
  }
}

/** The slot a request sees; nodes answer for `finalized` unless told otherwise. */
export function bankSlot(chain: SolanaChain, options: Config): number {
  const slot = chain.slots.at(parseCommitment(options.commitment))
  const least = options.minContextSlot
  if (typeof least === 'number' && least > slot) {
    throw new RpcError(CONTEXT_SLOT_NOT_REACHED, 'Minimum context slot has not been reached', { contextSlot: slot })
  }
  return slot
}

export function parseCommitment(value: unknown): Commitment {
  if (value === undefined || value === 'finalized') return 'finalized'
  if (value === 'processed' || value === 'confirmed') return value
  throw new RpcError(INVALID_PARAMS, `Invalid params: unknown commitment ${String(value)}`)
}

export function config(params: Params, index: number): Config {
  const value = params[index]
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : {}
}

export function text(params: Params, index: number): string {
  const value = params[index]
  if (typeof value !== 'string') throw new RpcError(INVALID_PARAMS, `Invalid params: a string is due at ${index}`)
  return value
}

export function list(params: Params, index: number, max: number): string[] {
  const value = params[index]
  if (!Array.isArray(value) || value.length > max) {
    throw new RpcError(INVALID_PARAMS, `Invalid params: a list of at most ${max} is due at ${index}`)
  }
  return value.map(String)
}

export function transactionOf(params: Params): IncomingTransaction {
  const { encoding } = config(params, 1)
  if (encoding !== 'base64') throw new RpcError(INVALID_PARAMS, 'Invalid params: transactions are taken in base64 only')
  const wire = Buffer.from(text(params, 0), 'base64')
  if (wire.length > TRANSACTION_BYTES_MAX) {
    const message = `Invalid params: ${wire.length} bytes are too large (max: ${TRANSACTION_BYTES_MAX} bytes)`
    throw new RpcError(INVALID_PARAMS, message)
  }
  try {
    return readTransaction(wire)
  } catch (error) {
    throw new RpcError(INVALID_PARAMS, `Invalid params: failed to deserialize the transaction: ${String(error)}`)
  }
}

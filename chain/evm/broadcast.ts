/** Sending what was signed. The same bytes may go to any number of nodes any number of times. */
import { decodeFunctionData, type Hex, isHex, keccak256, parseTransaction, type TransactionSerialized } from 'viem'
import { DomainError } from '../../engine/errors.js'
import type { Broadcast } from '../chain.js'
import { tokenAbi } from './contracts.js'
import type { Endpoint } from './endpoint.js'
import type { Endpoints } from './endpoints.js'
import { broadcastOf } from './node-errors.js'
import type { Scope } from './observe.js'

/** In the given order. What one node does not take, the next one is offered. Never throws. */
export async function broadcastRaw(endpoints: Endpoints, raws: readonly string[]): Promise<readonly Broadcast[]> {
  const outcomes = raws.map((): Broadcast => ({ kind: 'unknown', message: 'it was not sent' }))
  for (const endpoint of endpoints.inOrder()) {
    const open = outcomes.flatMap(({ kind }, i) => (kind === 'accepted' ? [] : [i]))
    if (open.length === 0) break
    const said = await offer(
      endpoint,
      open.map((i) => raws[i] ?? ''),
    )
    for (const [position, i] of open.entries()) {
      const now = said[position]
      const before = outcomes[i]
      if (now !== undefined && before !== undefined) outcomes[i] = moreTelling(before, now)
    }
  }
  return outcomes
}

async function offer(endpoint: Endpoint, raws: readonly string[]): Promise<readonly Broadcast[]> {
  try {
    await endpoint.mustBeOurs()
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    return raws.map(() => ({ kind: 'unknown', message }))
  }
  const answers = await endpoint.inOrder(raws.map((raw) => ({ method: 'eth_sendRawTransaction', params: [raw] })))
  return answers.map(broadcastOf)
}

/** Accepted by one node is accepted; a refusal says more than silence. */
function moreTelling(before: Broadcast, now: Broadcast): Broadcast {
  if (now.kind === 'unknown') return before.kind === 'refused' ? before : now
  return before.kind === 'refused' && now.kind === 'refused' && now.code === 'other' ? before : now
}

/**
 * Sends a member's own transfer of the token; returns its hash, also when the nodes had it already. Throws
 * `transaction_invalid` or `transaction_refused`; `submit_unknown` when no node answered: the same bytes may be sent
 * again.
 */
export async function submitRaw({ endpoints, token }: Scope, raw: string): Promise<string> {
  const hash = hashOfTransfer(raw, endpoints.chainId, token)
  const [outcome] = await broadcastRaw(endpoints, [raw])
  if (outcome?.kind === 'accepted') return hash
  const known = await endpoints.read((node) => node.one('eth_getTransactionByHash', [hash])).catch(() => null)
  if (known !== null) return hash
  const message = outcome?.message ?? 'no answer'
  if (outcome?.kind !== 'refused') throw new DomainError('unavailable', 'submit_unknown', `${message}: send it again`)
  throw new DomainError('unprocessable', 'transaction_refused', `The chain refused the transaction: ${message}`)
}

function hashOfTransfer(raw: string, chainId: number, token: Hex): Hex {
  if (!isHex(raw)) throw invalid('it is not hexadecimal')
  const transaction = parsed(raw)
  if (transaction.r === undefined) throw invalid('it is not signed')
  if (transaction.chainId !== chainId) throw invalid(`it is for chain ${transaction.chainId}, not ${chainId}`)
  if (transaction.to?.toLowerCase() !== token.toLowerCase()) throw invalid(`it does not call the token ${token}`)
  if (!isTransfer(transaction.data)) throw invalid('it is no transfer')
  return keccak256(raw)
}

function parsed(raw: Hex) {
  try {
    return parseTransaction(raw as TransactionSerialized)
  } catch {
    throw invalid('it cannot be read')
  }
}

function isTransfer(data: Hex | undefined): boolean {
  try {
    return decodeFunctionData({ abi: tokenAbi, data: data ?? '0x' }).functionName === 'transfer'
  } catch {
    return false
  }
}

const invalid = (what: string) =>
  new DomainError('invalid', 'transaction_invalid', `The transaction is not accepted: ${what}`)

/** Which transaction used a nonce: the positive proof that ours can never be mined any more. */
import type { Hex } from 'viem'
import type { Endpoint } from './endpoint.js'
import { read, toQuantity } from './quantities.js'

export interface NonceUser {
  readonly hash: Hex
  readonly height: number
}

/**
 * The transaction of `wallet` with that nonce, in a block not above `final`; null when none is found where the nonce was
 * used up. Throws `NodeError` when the node has no state of that time any more.
 */
export async function nonceUser(
  endpoint: Endpoint,
  wallet: Hex,
  nonce: number,
  final: number,
): Promise<NonceUser | null> {
  const usedAt = async (height: number) => {
    const count = await endpoint.one('eth_getTransactionCount', [wallet, toQuantity(height)])
    return read.number(count) > nonce
  }
  // The nonce is usually a young one, and nodes keep only young state: back in growing steps, then by halves.
  let used = final
  let step = 1
  while (used > 0 && (await usedAt(Math.max(0, used - step)))) {
    used = Math.max(0, used - step)
    step *= 2
  }
  let unused = Math.max(-1, used - step)
  while (used - unused > 1) {
    const middle = Math.floor((used + unused) / 2)
    if (await usedAt(middle)) used = middle
    else unused = middle
  }
  const block = read.blockWithTransactions(await endpoint.one('eth_getBlockByNumber', [toQuantity(used), true]))
  const found = block.transactions.find((transaction) => transaction.from === wallet && transaction.nonce === nonce)
  return found === undefined ? null : { hash: found.hash, height: used }
}

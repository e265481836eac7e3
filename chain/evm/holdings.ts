import { encodeFunctionData, type Hex } from 'viem'
import type { Holdings } from '../chain.js'
import { tokenAbi } from './contracts.js'
import type { Call } from './json-rpc.js'
import { resultOf } from './node-errors.js'
import type { Scope } from './observe.js'
import { read, toQuantity } from './quantities.js'

/** Asks for the token balance of an address at a block. */
export const balanceCall = (token: Hex, owner: Hex, block: string): Call => ({
  method: 'eth_call',
  params: [{ to: token, data: encodeFunctionData({ abi: tokenAbi, functionName: 'balanceOf', args: [owner] }) }, block],
})

/** The answer to it. */
export const balanceOf = (result: unknown): bigint => read.amount(result)

/** What the wallet holds at one block, the newest that enough nodes have when none is named. */
export async function holdingsAt({ endpoints, wallet, token }: Scope, atHeight?: number): Promise<Holdings> {
  const height = toQuantity(atHeight ?? (await endpoints.round()).newest)
  const calls: readonly Call[] = [
    { method: 'eth_getBlockByNumber', params: [height, false] },
    balanceCall(token, wallet, height),
    { method: 'eth_getBalance', params: [wallet, height] },
  ]
  return endpoints.read(async (endpoint) => {
    const [block, asset, gas] = (await endpoint.all(calls)).map(resultOf)
    const { number, hash } = read.block(block)
    return { block: { height: number, hash }, asset: balanceOf(asset), gas: read.amount(gas) }
  })
}

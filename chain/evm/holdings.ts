import { encodeFunctionData, type Hex } from 'viem'
import type { Holdings } from '../chain.js'
import { tokenAbi } from './contracts.js'
import { nodesDisagree } from './endpoints.js'
import type { Call } from './json-rpc.js'
import { NodeError, NodeSilent, resultOf } from './node-errors.js'
import type { Scope } from './observe.js'
import { read, toQuantity } from './quantities.js'

/** Asks for the token balance of an address at a block. */
export const balanceCall = (token: Hex, owner: Hex, block: string): Call => ({
  method: 'eth_call',
  params: [{ to: token, data: encodeFunctionData({ abi: tokenAbi, functionName: 'balanceOf', args: [owner] }) }, block],
})

/** The answer to it. */
export const balanceOf = (result: unknown): bigint => read.amount(result)

/**
 * What the wallet holds at one block, the newest that enough nodes have when none is named. Every node that has the block
 * is asked, for the books are compared with it. Throws `nodes_disagree`.
 */
export async function holdingsAt({ endpoints, wallet, token }: Scope, atHeight?: number): Promise<Holdings> {
  const { newest, witnesses } = await endpoints.agreedRound()
  const height = toQuantity(atHeight ?? newest)
  const calls: readonly Call[] = [
    { method: 'eth_getBlockByNumber', params: [height, false] },
    balanceCall(token, wallet, height),
    { method: 'eth_getBalance', params: [wallet, height] },
  ]
  const told = await Promise.all(
    witnesses.map(async ({ endpoint }) => {
      const answers = await endpoint.all(calls)
      try {
        const [block, asset, gas] = answers.map(resultOf)
        const { number, hash } = read.block(block)
        return { block: { height: number, hash }, asset: balanceOf(asset), gas: read.amount(gas) }
      } catch (error) {
        if (error instanceof NodeSilent || error instanceof NodeError) return error
        throw error
      }
    }),
  )
  const [first, ...others] = told.flatMap((one) => (one instanceof Error ? [] : [one]))
  if (first === undefined) throw told[0]
  if (others.some((other) => other.asset !== first.asset || other.gas !== first.gas)) {
    const message = `what ${wallet} holds at block ${first.block.height}`
    endpoints.disagree({ about: 'balance', message: `the nodes differ about ${message}` })
    throw nodesDisagree(message)
  }
  return first
}

/** Whether payments would go through now, each for itself. */
import type { Preflight, Transfer } from '../chain.js'
import { balanceCall, balanceOf } from './holdings.js'
import type { Call } from './json-rpc.js'
import { NodeError, resultOf } from './node-errors.js'
import type { Scope } from './observe.js'
import { transferData } from './transactions.js'

export async function preflight(
  { endpoints, wallet, token }: Scope,
  payments: readonly Pick<Transfer, 'to' | 'amount'>[],
): Promise<readonly Preflight[]> {
  const calls = payments.map(
    ({ to, amount }): Call => ({
      method: 'eth_call',
      params: [{ from: wallet, to: token, data: transferData(to, amount) }, 'latest'],
    }),
  )
  try {
    return await endpoints.read(async (endpoint) => {
      const [balance, ...answers] = await endpoint.all([balanceCall(token, wallet, 'latest'), ...calls])
      const held = balanceOf(resultOf(balance))
      return payments.map(({ amount }, i): Preflight => {
        if (held < amount) return { kind: 'unfunded', message: `${wallet} holds ${held} and the payment is ${amount}` }
        try {
          resultOf(answers[i])
          return { kind: 'payable' }
        } catch (error) {
          if (!(error instanceof NodeError) || !error.reverted) throw error
          return { kind: 'refused', message: error.message }
        }
      })
    })
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    return payments.map(() => ({ kind: 'unknown', message }))
  }
}

import type { Hex } from 'viem'
import { DomainError } from '../../engine/errors.js'
import type { UnsignedTransfer } from '../chain.js'
import type { Endpoint } from './endpoint.js'
import { balanceCall, balanceOf } from './holdings.js'
import { NodeError, resultOf } from './node-errors.js'
import type { Scope } from './observe.js'
import { read, toQuantity } from './quantities.js'
import { transferData } from './transactions.js'

const MARGIN_NUMERATOR = 13n
const MARGIN_DENOMINATOR = 10n

/** A transfer for the owner of `from` to sign. Throws `insufficient_balance` or `transfer_refused`. */
export async function transferForMember(
  endpoint: Endpoint,
  { endpoints, token }: Scope,
  from: Hex,
  to: Hex,
  amount: bigint,
): Promise<UnsignedTransfer> {
  const data = transferData(to, amount)
  const [balance, estimate] = await endpoint.all([
    balanceCall(token, from, 'latest'),
    { method: 'eth_estimateGas', params: [{ from, to: token, data }] },
  ])
  const held = balanceOf(resultOf(balance))
  if (held < amount) {
    throw new DomainError('unprocessable', 'insufficient_balance', `${from} holds ${held}, less than ${amount}`)
  }
  const { chainId } = endpoints
  const gas = toQuantity((gasOf(estimate) * MARGIN_NUMERATOR) / MARGIN_DENOMINATOR)
  const transaction = { chainId, to: token, data, value: '0x0', gas }
  return { chain: `eip155:${chainId}`, from, to, amount, transaction }
}

function gasOf(estimate: Parameters<typeof resultOf>[0]): bigint {
  try {
    return read.amount(resultOf(estimate))
  } catch (error) {
    if (!(error instanceof NodeError) || !error.reverted) throw error
    throw new DomainError('unprocessable', 'transfer_refused', `The token refuses this transfer: ${error.message}`)
  }
}

/** The gas limit of a transfer. What is not used is not paid, so one limit, the dearest payee's, does for all. */
import { decodeFunctionResult, encodeFunctionData, getAddress, type Hex, keccak256, slice } from 'viem'
import { DomainError } from '../../engine/errors.js'
import { tokenAbi } from './contracts.js'
import type { Endpoint } from './endpoint.js'
import { NodeError } from './node-errors.js'
import { read } from './quantities.js'
import { transferData } from './transactions.js'

const MARGIN_NUMERATOR = 13n
const MARGIN_DENOMINATOR = 10n
/** A token can be upgraded, and cost more then. */
const KEPT_FOR_MS = 10 * 60_000

export class TransferGas {
  #known: { readonly gas: bigint; readonly at: number } | undefined
  /** Nobody's: a payee who holds nothing yet is the dearest. */
  readonly #newcomer: Hex

  constructor(
    private readonly token: Hex,
    private readonly wallet: Hex,
    private readonly decimals: number,
    private readonly fixed: bigint | undefined,
  ) {
    this.#newcomer = getAddress(slice(keccak256(wallet), 12))
  }

  /** Throws `gas_not_estimated` or `wrong_decimals`. */
  async of(endpoint: Endpoint): Promise<bigint> {
    const now = performance.now()
    if (this.#known !== undefined && now - this.#known.at < KEPT_FOR_MS) return this.#known.gas
    await this.#checkDecimals(endpoint)
    const gas = this.fixed ?? ((await this.#estimate(endpoint)) * MARGIN_NUMERATOR) / MARGIN_DENOMINATOR
    this.#known = { gas, at: now }
    return gas
  }

  async #estimate(endpoint: Endpoint): Promise<bigint> {
    const call = { from: this.wallet, to: this.token, data: transferData(this.#newcomer, 1n) }
    try {
      return read.amount(await endpoint.one('eth_estimateGas', [call]))
    } catch (error) {
      if (!(error instanceof NodeError) || !error.reverted) throw error
      const message = `${this.wallet} cannot pay anybody in ${this.token} (${error.message}): fund it, or see why it is barred`
      throw new DomainError('unavailable', 'gas_not_estimated', message)
    }
  }

  /** Wrong by one digit, every payout would be tenfold. */
  async #checkDecimals(endpoint: Endpoint): Promise<void> {
    const call = { to: this.token, data: encodeFunctionData({ abi: tokenAbi, functionName: 'decimals' }) }
    const result = read.hex(await endpoint.one('eth_call', [call, 'latest']))
    const decimals =
      result === '0x' ? null : decodeFunctionResult({ abi: tokenAbi, functionName: 'decimals', data: result })
    if (decimals === this.decimals) return
    const found = decimals === null ? 'is no token' : `has ${decimals} decimals, not ${this.decimals}`
    throw new DomainError('invalid', 'wrong_decimals', `${this.token} ${found}: correct the token of the chain`)
  }
}

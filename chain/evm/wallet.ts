/**
 * A wallet on an EVM chain that pays in one ERC-20 token. It keeps nothing but the last estimate of gas.
 *
 * W1 A nonce is used only as given. What was not asked for is not sent: the bytes of the signer are read and compared.
 * W2 A replacement has the same nonce and the same content, and both fees are an eighth over everything signed before.
 * W3 No payee is asked about while signing, so that none can keep the others from being paid.
 */
import { getAddress, type Hex, isAddress, isHash, zeroAddress } from 'viem'
import type { SignedTransfer } from '../../actors/withdrawal/transfer.js'
import { assert } from '../../engine/assert.js'
import type {
  AssetMovement,
  Broadcast,
  ChainWallet,
  Holdings,
  NodeHealth,
  Observation,
  OpenTransfer,
  Preflight,
  SignedTransaction,
  Transfer,
  UnsignedTransfer,
} from '../chain.js'
import type { Signer, WalletName } from '../signer/signer.js'
import { broadcastRaw } from './broadcast.js'
import { assertNotDevKey } from './dev-keys.js'
import { type Endpoints, nodesDisagree } from './endpoints.js'
import { defaultFeePolicy, type FeePolicy, firstFees, readMarket } from './fees.js'
import { TransferGas } from './gas.js'
import { balanceCall, balanceOf, holdingsAt } from './holdings.js'
import { movementsIn } from './movements.js'
import { resultOf } from './node-errors.js'
import { type Inquiry, observe, roundWithNonces } from './observe.js'
import { preflight } from './preflight.js'
import type { Receipt } from './quantities.js'
import { paidBy } from './receipts.js'
import { readTransfer } from './signed-transfer.js'
import { findBytes, trace } from './trace.js'
import { type PaymentTerms, replacementTerms, signTransactions, unsignedTransfer } from './transactions.js'
import { transferForMember } from './withdrawal.js'

export interface EvmToken {
  readonly address: string
  readonly symbol: string
  readonly decimals: number
}

export interface EvmWalletOptions {
  /** Shared by the wallets of a chain. */
  readonly endpoints: Endpoints
  readonly signer: Signer
  readonly name: WalletName
  readonly token: EvmToken
  readonly fees?: FeePolicy
  /** The gas limit of a transfer; estimated when it is not given. */
  readonly gasPerTransfer?: bigint
}

/** Opens the wallet of a name. The chain is not asked: it may be away. Throws `dev_key`. */
export async function openEvmWallet(options: EvmWalletOptions): Promise<EvmWallet> {
  const address = getAddress(await options.signer.address(options.name))
  assertNotDevKey(options.endpoints.chainId, address)
  return new EvmWallet(options, address)
}

export class EvmWallet implements ChainWallet {
  readonly chain: string
  readonly asset: { readonly symbol: string; readonly decimals: number }
  readonly #token: Hex
  readonly #policy: FeePolicy
  readonly #gas: TransferGas
  readonly #scope: Inquiry<OpenTransfer>

  constructor(
    private readonly options: EvmWalletOptions,
    readonly address: Hex,
  ) {
    const { endpoints, token } = options
    this.chain = `eip155:${endpoints.chainId}`
    this.asset = { symbol: token.symbol, decimals: token.decimals }
    this.#token = getAddress(token.address)
    this.#policy = options.fees ?? defaultFeePolicy(endpoints.chainId)
    this.#gas = new TransferGas(this.#token, address, token.decimals, options.gasPerTransfer)
    const paid = (receipt: Receipt, { to, amount }: OpenTransfer) =>
      paidBy(receipt, this.#token, { from: address, to: getAddress(to), amount })
    this.#scope = { endpoints, wallet: address, token: this.#token, paid }
  }

  async nonces(): Promise<{ readonly mined: number; readonly final: number }> {
    const { round, nonces } = await roundWithNonces(this.#scope)
    if (!round.agreed) throw nodesDisagree(`the nonce of ${this.address} at block ${round.final}`)
    return nonces
  }

  async preflight(payments: readonly Pick<Transfer, 'to' | 'amount'>[]): Promise<readonly Preflight[]> {
    return preflight(this.#scope, payments)
  }

  async sign(transfers: readonly Transfer[]): Promise<readonly SignedTransaction[]> {
    if (transfers.length === 0) return []
    const { endpoints } = this.options
    const [market, gas] = await Promise.all([endpoints.read(readMarket), endpoints.read((node) => this.#gas.of(node))])
    const fees = firstFees(market, this.#policy)
    return this.#signed(transfers.map((transfer) => [transfer, { ...fees, gas }]))
  }

  /** Throws `fee_cap_reached` when that would take more than the cap. */
  async replace(transfer: OpenTransfer): Promise<SignedTransaction> {
    const market = await this.options.endpoints.read(readMarket)
    const [replacement] = await this.#signed([[transfer, replacementTerms(transfer.signed, market, this.#policy)]]) // W2
    assert(replacement !== undefined, 'the signer signed nothing')
    return replacement
  }

  async broadcast(transactions: readonly Pick<SignedTransaction, 'raw'>[]): Promise<readonly Broadcast[]> {
    return broadcastRaw(
      this.options.endpoints,
      transactions.map(({ raw }) => raw),
    )
  }

  async observe(transfers: readonly OpenTransfer[]): Promise<readonly Observation[]> {
    return observe(this.#scope, transfers)
  }

  async holdings(atHeight?: number): Promise<Holdings> {
    return holdingsAt(this.#scope, atHeight)
  }

  async balanceOf(address: string): Promise<bigint> {
    const call = balanceCall(this.#token, getAddress(address), 'latest')
    return this.options.endpoints.read(async (node) => balanceOf(resultOf((await node.all([call]))[0])))
  }

  async heights(): Promise<{ readonly final: number; readonly newest: number }> {
    const { final, newest } = await this.options.endpoints.agreedRound()
    return { final, newest }
  }

  async nodes(): Promise<readonly NodeHealth[]> {
    return this.options.endpoints.checkHealth()
  }

  async movements(addresses: readonly string[], from: number, through: number): Promise<readonly AssetMovement[]> {
    const proper = addresses.map((address) => getAddress(address))
    return this.options.endpoints.read((node) => movementsIn(node, this.#token, proper, from, through))
  }

  async allMovements(from: number, through: number): Promise<readonly AssetMovement[]> {
    return this.options.endpoints.read((node) => movementsIn(node, this.#token, null, from, through))
  }

  /** In lower case or with a right checksum. Neither nobody, nor the token, where money is lost, nor the wallet itself. */
  parseAddress(text: string): string | null {
    if (!isAddress(text)) return null
    const address = getAddress(text)
    return [zeroAddress, this.#token, this.address].includes(address) ? null : address
  }

  async unsigned(from: string, to: string, amount: bigint): Promise<UnsignedTransfer> {
    const { endpoints } = this.options
    return endpoints.read((node) => transferForMember(node, this.#scope, getAddress(from), getAddress(to), amount))
  }

  parseHash(text: string): string | null {
    return isHash(text) ? text.toLowerCase() : null
  }

  async readSigned(raw: string): Promise<SignedTransfer> {
    return readTransfer(raw, this.options.endpoints.chainId, this.#token)
  }

  async findSigned(hash: string): Promise<SignedTransfer | null> {
    const raw = await findBytes(this.options.endpoints, hash as Hex)
    return raw === null ? null : this.readSigned(raw)
  }

  async trace(transfers: readonly SignedTransfer[]): Promise<readonly Observation[]> {
    return trace(this.options.endpoints, this.#token, transfers)
  }

  #signed(asked: readonly (readonly [Transfer, PaymentTerms])[]): Promise<readonly SignedTransaction[]> {
    const { chainId } = this.options.endpoints
    const requests = asked.map(([transfer, terms]) => ({
      ...transfer,
      transaction: unsignedTransfer(chainId, this.#token, transfer, terms),
    }))
    return signTransactions(this.options, this.address, requests) // W1
  }
}

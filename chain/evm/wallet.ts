/**
 * A wallet on an EVM chain that pays in one ERC-20 token. It keeps nothing but the last estimate of gas.
 *
 * W1 A nonce is used only as given. What was not asked for is not sent: the bytes of the signer are read and compared.
 * W2 A replacement has the same nonce and the same content, and both fees are an eighth over everything signed before.
 * W3 No payee is asked about while signing, so that none can keep the others from being paid.
 */
import {
  getAddress,
  type Hex,
  isAddress,
  serializeTransaction,
  type TransactionSerializableEIP1559,
  zeroAddress,
} from 'viem'
import { assert } from '../../engine/assert.js'
import type {
  AssetMovement,
  Broadcast,
  ChainWallet,
  Holdings,
  Observation,
  OpenTransfer,
  Preflight,
  SignedTransaction,
  Transfer,
  UnsignedTransfer,
} from '../chain.js'
import type { Signer, WalletName } from '../signer/signer.js'
import { broadcastRaw, submitRaw } from './broadcast.js'
import { assertNotDevKey } from './dev-keys.js'
import type { Endpoints } from './endpoints.js'
import { defaultFeePolicy, type FeePolicy, type Fees, firstFees, readMarket, replacementFees } from './fees.js'
import { TransferGas } from './gas.js'
import { holdingsAt } from './holdings.js'
import { movementsIn } from './movements.js'
import { observe, roundWithNonces, type Scope } from './observe.js'
import { preflight } from './preflight.js'
import { unsignedTransfer, verified } from './transactions.js'
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
  readonly #scope: Scope

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
    this.#scope = { endpoints, wallet: address, token: this.#token }
  }

  async nonces(): Promise<{ readonly mined: number; readonly final: number }> {
    return (await roundWithNonces(this.#scope)).nonces
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
    const before = transfer.signed.map(({ terms }) => {
      assert(terms.kind === 'evm', `payout ${transfer.payoutId} was signed for another kind of chain`)
      return terms
    })
    assert(before.length > 0, `payout ${transfer.payoutId} was never signed, so there is nothing to replace`)
    const fees = replacementFees(before, await this.options.endpoints.read(readMarket), this.#policy) // W2
    const gas = before.reduce((most, terms) => (terms.gas > most ? terms.gas : most), 0n)
    const [replacement] = await this.#signed([[transfer, { ...fees, gas }]])
    assert(replacement !== undefined, 'the signer signed nothing')
    return replacement
  }

  async broadcast(transactions: readonly SignedTransaction[]): Promise<readonly Broadcast[]> {
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

  async heights(): Promise<{ readonly final: number; readonly newest: number }> {
    const { final, newest } = await this.options.endpoints.round()
    return { final, newest }
  }

  async movements(addresses: readonly string[], from: number, through: number): Promise<readonly AssetMovement[]> {
    const proper = addresses.map((address) => getAddress(address))
    return this.options.endpoints.read((node) => movementsIn(node, this.#token, proper, from, through))
  }

  /** In lower case or with a right checksum. Neither the zero address nor the token itself: money there is lost. */
  parseAddress(text: string): string | null {
    if (!isAddress(text)) return null
    const address = getAddress(text)
    return address === zeroAddress || address === this.#token ? null : address
  }

  async unsigned(from: string, to: string, amount: bigint): Promise<UnsignedTransfer> {
    const { endpoints } = this.options
    return endpoints.read((node) => transferForMember(node, this.#scope, getAddress(from), getAddress(to), amount))
  }

  async submit(raw: string): Promise<string> {
    return submitRaw(this.#scope, raw)
  }

  async #signed(asked: readonly (readonly [Transfer, Fees & { readonly gas: bigint }])[]) {
    const { signer, name, endpoints } = this.options
    const unsigned = asked.map(
      ([transfer, terms]): TransactionSerializableEIP1559 =>
        unsignedTransfer(endpoints.chainId, this.#token, transfer, terms),
    )
    const raw = await signer.sign(
      asked.map(([{ payoutId, to, amount }], i) => {
        const transaction = unsigned[i]
        assert(transaction !== undefined, 'every transfer has its transaction')
        return { wallet: name, payoutId, to, amount, unsigned: serializeTransaction(transaction) }
      }),
    )
    return Promise.all(unsigned.map((transaction, i) => verified(raw[i] ?? '', transaction, this.address))) // W1
  }
}

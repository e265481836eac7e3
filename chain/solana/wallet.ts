/**
 * One wallet on Solana: pays SOL or an SPL token, one transaction for a payout, with the payout's id as its memo.
 *
 * S1 `sign` and `replace` send nothing; `broadcast` signs nothing.
 * S2 A payout is signed again only when everything that was signed for it is lost for good.
 * S3 What became of a payout is judged in observe.ts, from what all nodes say.
 */
import type { KeyObject } from 'node:crypto'
import { PublicKey } from '@solana/web3.js'
import { assert } from '../../engine/assert.js'
import { DomainError } from '../../engine/errors.js'
import {
  type AssetMovement,
  type Broadcast,
  type ChainWallet,
  type Holdings,
  type NodeHealth,
  type Observation,
  type OpenTransfer,
  type SignedTransaction,
  type SignedTransfer,
  SignerRefused,
  type Transfer,
  type UnsignedTransfer,
} from '../chain.js'
import type { Signer, WalletName } from '../signer/signer.js'
import { decimalsOf, parsePayee, type SolanaAsset } from './asset.js'
import { inParallel } from './batches.js'
import type { FoundTransaction } from './blocks.js'
import { broadcast } from './broadcast.js'
import { assertNotDevKey } from './dev-keys.js'
import { type Disagreement, Endpoints } from './endpoints.js'
import { holdingsAt } from './holdings.js'
import { compose, hashOfSigned, verifierOf } from './message.js'
import { movementsOf } from './movements.js'
import { Observer } from './observe.js'
import { type Preparation, type PriceLimits, prepare } from './preparation.js'
import { findBytes, isSignature, readTransfer, tracedOf } from './signed-transfer.js'

const TIMEOUT_MS = 10_000
const REST_MAX_MS = 30_000
const STUCK_AFTER_MS = 30_000
const BROADCASTS_AT_ONCE = 16
/** With 100,000 compute units at most, no more than 50,000 lamports for priority. */
const UNIT_PRICE: PriceLimits = { min: 1_000n, max: 500_000n }

export interface SolanaWalletOptions {
  readonly wallet: WalletName
  readonly signer: Signer
  /** As in CAIP-2: `solana:mainnet`, `solana:local`. */
  readonly chain: string
  /** Addresses of nodes, in the order of preference. */
  readonly urls: readonly string[]
  readonly asset: SolanaAsset
  /** Whether the key was made for development; such a key is refused on mainnet. */
  readonly isDevelopmentKey: boolean
  /** In micro-lamports for a compute unit. */
  readonly unitPrice?: PriceLimits
  readonly timeoutMs?: number
  /** The longest time that a node is left alone after it failed. */
  readonly restMaxMs?: number
  /** How long the final slot of a node may stand still, while another's moves, before it has no say in what is final. */
  readonly stuckAfterMs?: number
  readonly onDisagreement?: (disagreement: Disagreement) => void
}

export class SolanaWallet implements ChainWallet {
  readonly chain: string
  readonly address: string
  readonly asset: SolanaAsset
  readonly #wallet: WalletName
  readonly #signer: Signer
  readonly #key: PublicKey
  readonly #verifier: KeyObject
  readonly #endpoints: Endpoints
  readonly #observer: Observer
  readonly #unitPrice: PriceLimits
  #isChecked = false

  private constructor(options: SolanaWalletOptions, address: string, endpoints: Endpoints) {
    this.chain = options.chain
    this.address = address
    this.asset = options.asset
    this.#wallet = options.wallet
    this.#signer = options.signer
    this.#key = new PublicKey(address)
    this.#verifier = verifierOf(this.#key)
    this.#endpoints = endpoints
    this.#unitPrice = options.unitPrice ?? UNIT_PRICE
    this.#observer = new Observer(endpoints, (transaction, transfer) => this.#costOf(transaction, transfer))
  }

  /**
   * The nodes may be away: what they would be asked now is asked before anything is signed. Throws when one that answers
   * knows no such mint (`mint_wrong`, `wrong_decimals`), or a development key meets mainnet (`dev_key`).
   */
  static async connect(options: SolanaWalletOptions): Promise<SolanaWallet> {
    const { wallet: name, signer, isDevelopmentKey } = options
    const address = await signer.address(name)
    const endpoints = new Endpoints({
      chain: options.chain,
      urls: options.urls,
      timeoutMs: options.timeoutMs ?? TIMEOUT_MS,
      restMaxMs: options.restMaxMs ?? REST_MAX_MS,
      stuckAfterMs: options.stuckAfterMs ?? STUCK_AFTER_MS,
      checkGenesis: (genesisHash) => assertNotDevKey(genesisHash, address, isDevelopmentKey),
      onDisagreement: options.onDisagreement ?? (() => {}),
    })
    const wallet = new SolanaWallet(options, address, endpoints)
    await wallet.#checkChain().catch((error: unknown) => {
      if (!(error instanceof DomainError) || error.code !== 'chain_unreachable') throw error
    })
    return wallet
  }

  /** Asks once that answers whether this is the chain and the asset that the settings mean. */
  async #checkChain(): Promise<void> {
    if (this.#isChecked) return
    await this.#endpoints.genesisHash()
    const { mint, decimals, symbol } = this.asset
    if (mint !== null) {
      const account = await this.#endpoints.first((connection) => connection.getAccountInfo(mint, 'confirmed'))
      const found = decimalsOf(mint, account)
      // Wrong by one digit, every payout would be tenfold.
      if (found !== decimals) {
        const message = `${mint.toBase58()} has ${found} decimals, not ${decimals} as ${symbol}. Configure the right mint.`
        throw new DomainError('invalid', 'wrong_decimals', message)
      }
    }
    this.#isChecked = true
  }

  async nodes(): Promise<readonly NodeHealth[]> {
    return this.health
  }

  /** Of each node, for metrics. */
  get health(): readonly NodeHealth[] {
    return this.#endpoints.health
  }

  async nonces(): Promise<null> {
    return null
  }

  async sign(transfers: readonly Transfer[]): Promise<readonly SignedTransaction[]> {
    return this.#sign(transfers, 1n)
  }

  async replace(transfer: OpenTransfer): Promise<SignedTransaction> {
    const [seen] = await this.observe([transfer])
    if (seen?.kind !== 'lost') {
      const why = seen?.kind === 'unknown' ? `unknown: ${seen.message}` : seen?.kind
      throw new DomainError(
        'conflict',
        'not_lost',
        `What was signed for payout ${transfer.payoutId} is ${why}. It may still pay: observe it until it is lost.`,
      )
    } // S2
    const [signed] = await this.#sign([transfer], 2n ** BigInt(transfer.signed.length))
    assert(signed, 'what was asked for was signed')
    return signed
  }

  broadcast(transactions: readonly Pick<SignedTransaction, 'raw'>[]): Promise<readonly Broadcast[]> {
    const paysInSol = this.asset.mint === null
    return inParallel(transactions, BROADCASTS_AT_ONCE, ({ raw }) => broadcast(this.#endpoints, raw, paysInSol))
  }

  observe(transfers: readonly OpenTransfer[]): Promise<readonly Observation[]> {
    return this.#observer.observe(transfers)
  }

  /** Heights are slots. At a slot of the past it is exact too, as long as nodes remember what came after. */
  holdings(atHeight?: number): Promise<Holdings> {
    return this.#endpoints.first((connection) => holdingsAt(connection, this.asset, this.#key, atHeight))
  }

  async balanceOf(address: string): Promise<bigint> {
    const owner = new PublicKey(address)
    const { asset } = await this.#endpoints.first((connection) => holdingsAt(connection, this.asset, owner, undefined))
    return asset
  }

  heights(): Promise<{ readonly final: number; readonly newest: number }> {
    return this.#endpoints.first(async (connection, endpoint) => {
      const final = await connection.getSlot('finalized')
      endpoint.noteFinalSlot(final)
      return { final, newest: await connection.getSlot('processed') }
    })
  }

  /** Of tokens, only those through associated token accounts, which are the ones that payouts and holdings know. */
  movements(addresses: readonly string[], from: number, through: number): Promise<readonly AssetMovement[]> {
    return this.#endpoints.first((connection) => movementsOf(connection, this.asset, addresses, from, through))
  }

  parseAddress(text: string): string | null {
    return parsePayee(text, this.asset, this.address)
  }

  async unsigned(from: string, to: string, amount: bigint): Promise<UnsignedTransfer> {
    const payer = new PublicKey(from)
    if (to === from || parsePayee(to, this.asset, from) === null) throw wrongPayee(`${to} cannot be paid`)
    const prepared = await this.#prepare(payer, [to], 1n)
    const { blockhash, lastValidBlockHeight } = prepared
    const why = prepared.targets[0]?.why ?? null
    if (why !== null) throw wrongPayee(`${to} ${why}`)
    const transaction = this.#compose(payer, { to, amount, memo: null }, prepared, 0)
      .serialize({ requireAllSignatures: false, verifySignatures: false })
      .toString('base64')
    return { chain: this.chain, from, to, amount, transaction: { transaction, blockhash, lastValidBlockHeight } }
  }

  parseHash(text: string): string | null {
    return isSignature(text) ? text : null
  }

  readSigned(raw: string): Promise<SignedTransfer> {
    return readTransfer(this.#endpoints, this.asset, raw)
  }

  async findSigned(hash: string): Promise<SignedTransfer | null> {
    const raw = await findBytes(this.#endpoints, hash)
    return raw === null ? null : this.readSigned(raw)
  }

  trace(transfers: readonly SignedTransfer[]): Promise<readonly Observation[]> {
    return this.#observer.observe(transfers.map(tracedOf))
  }

  async #sign(transfers: readonly Transfer[], priceFactor: bigint): Promise<readonly SignedTransaction[]> {
    if (transfers.length === 0) return []
    await this.#checkChain()
    for (const transfer of transfers) {
      if (this.parseAddress(transfer.to) !== transfer.to) throw unpayable(transfer, 'is no address that can be paid')
    }
    const payees = transfers.map(({ to }) => to)
    const prepared = await this.#prepare(this.#key, payees, priceFactor)
    const { blockhash, lastValidBlockHeight } = prepared
    const messages = transfers.map((transfer, index) => {
      const why = prepared.targets[index]?.why ?? null
      if (why !== null) throw unpayable(transfer, why)
      const { to, amount, payoutId: memo } = transfer
      return this.#compose(this.#key, { to, amount, memo }, prepared, index).serializeMessage()
    })
    const signed = await this.#signer.sign(
      transfers.map(({ payoutId, to, amount }, index) => {
        const unsigned = messages[index]?.toString('base64') ?? ''
        return { wallet: this.#wallet, payoutId, to, amount, unsigned }
      }),
    )
    return messages.map((message, index) => {
      const raw = signed[index] ?? ''
      const terms = { kind: 'solana', blockhash, lastValidBlockHeight } as const
      return { hash: hashOfSigned(raw, message, this.#verifier), raw, terms }
    })
  }

  #compose(
    from: PublicKey,
    { to, amount, memo }: Pick<Transfer, 'to' | 'amount'> & { readonly memo: string | null },
    { source, targets, unitPrice, blockhash }: Preparation,
    index: number,
  ) {
    const target = targets[index]
    assert(target, 'every payee was prepared for')
    const payment = { from, to: new PublicKey(to), amount, memo, source, target: target.key, unitPrice, blockhash }
    return compose(this.asset, { ...payment, createsTarget: target.isMissing })
  }

  async #prepare(payer: PublicKey, payees: readonly string[], priceFactor: bigint): Promise<Preparation> {
    const keys = payees.map((payee) => new PublicKey(payee))
    const { max } = this.#unitPrice
    const prepared = await this.#endpoints.first((connection) =>
      prepare(connection, this.asset, payer, keys, this.#unitPrice),
    )
    const unitPrice = prepared.unitPrice * priceFactor
    return { ...prepared, unitPrice: unitPrice > max ? max : unitPrice }
  }

  /** The fee, and the rent of a token account that was made. */
  #costOf({ meta }: FoundTransaction, { amount }: OpenTransfer): bigint {
    const paid = BigInt(meta.preBalances[0] ?? 0) - BigInt(meta.postBalances[0] ?? 0)
    return this.asset.mint === null && meta.err === null ? paid - amount : paid
  }
}

/** A person has to look at a payout whose payee cannot be paid. */
const unpayable = ({ payoutId, to }: Transfer, why: string) =>
  new SignerRefused('payee_unusable', `Payout ${payoutId}: ${to} ${why}. Ask the payee for another.`, payoutId)

const wrongPayee = (what: string) =>
  new DomainError('unprocessable', 'address_invalid', `${what}. Give another address.`, { field: 'to' })

/**
 * What the payout pipeline needs of a chain, the same for all of them. An adapter keeps nothing that matters: what was
 * signed and what became of it stands in the core's payouts, so it can be asked again by anybody at any time.
 *
 * S1 `sign` never broadcasts and `broadcast` never signs: between them the caller makes the bytes durable.
 * S2 `broadcast` sends bytes that were signed before; `replace` signs for the same nonce.
 * S3 Only `observe` says what became of a payout, and it says `lost` only when that is final.
 */

import type { Block, SignedTransaction } from '../actors/payout/transaction.js'
import type { NodeHealth } from '../actors/wallet/node-health.js'
import type { SignedTransfer } from '../actors/withdrawal/transfer.js'

export type { Block, SignedTransaction, Terms } from '../actors/payout/transaction.js'
export type { NodeHealth } from '../actors/wallet/node-health.js'
export type { SignedTransfer } from '../actors/withdrawal/transfer.js'

/** A transfer that was decided. Amounts are minor units of the wallet's asset. */
export interface Transfer {
  readonly payoutId: string
  readonly to: string
  readonly amount: bigint
  /** Allocated by the core, without gaps; null on chains that have none. */
  readonly nonce: number | null
}

/** A transfer with everything that was ever signed for it, oldest first. Any one of them may be on chain. */
export interface OpenTransfer extends Transfer {
  readonly signed: readonly SignedTransaction[]
}

/** What the chain says of one payment, for itself, before it is given a nonce. Reverted later it would cost a fee. */
export type Preflight =
  | { readonly kind: 'payable' }
  /** The asset refuses this payee. Nothing else is wrong: fail or hold this payout, and pay the others. */
  | { readonly kind: 'refused'; readonly message: string }
  /** The wallet does not hold the amount. */
  | { readonly kind: 'unfunded'; readonly message: string }
  | { readonly kind: 'unknown'; readonly message: string }

export type Broadcast =
  /** The node has it, now or already. */
  | { readonly kind: 'accepted' }
  /** This node refuses it now. Nothing follows from that: another may have it. */
  | { readonly kind: 'refused'; readonly code: BroadcastRefusal; readonly message: string }
  /** No answer, or none that says anything. */
  | { readonly kind: 'unknown'; readonly message: string }

export type BroadcastRefusal = 'nonce_used' | 'underpriced' | 'no_gas' | 'expired' | 'failed_preflight' | 'other'

export type Observation =
  /** Some node has it and it is not mined. */
  | { readonly kind: 'pending' }
  /** No node has it and it may still be mined: send the bytes again. */
  | { readonly kind: 'missing' }
  /** In a block that may still be replaced. `ok` is false when it was reverted and moved nothing. */
  | { readonly kind: 'mined'; readonly hash: string; readonly block: Block; readonly ok: boolean }
  /** The same for good. */
  | { readonly kind: 'final'; readonly hash: string; readonly block: Block; readonly ok: boolean; readonly fee: bigint }
  /** For good: none of the signed transactions was mined and none ever can be. */
  | { readonly kind: 'lost'; readonly because: 'nonce_used_by_another' | 'expired' }
  /** Nodes could not be asked, or disagree. */
  | { readonly kind: 'unknown'; readonly message: string }

/** What a wallet holds at one block. */
export interface Holdings {
  readonly block: Block
  readonly asset: bigint
  /** Of the chain's own coin, that fees are paid with. */
  readonly gas: bigint
}

/** A movement of the wallet's asset, as the chain tells it. */
export interface AssetMovement {
  readonly hash: string
  /** Position in its block, so that (block height, index) names it. */
  readonly index: number
  readonly block: Block
  readonly from: string
  readonly to: string
  readonly amount: bigint
}

/** A movement that somebody else signs. */
export interface UnsignedTransfer {
  readonly chain: string
  readonly from: string
  readonly to: string
  readonly amount: bigint
  /** For the wallet of the member: EVM `{chainId, to, data, value, gas}`; Solana `{transaction}` in base64. */
  readonly transaction: Readonly<Record<string, string | number>>
}

/** One wallet on one chain. Errors thrown are of the connection and mean that nothing is known. */
export interface ChainWallet {
  /** As in CAIP-2: `eip155:137`, `solana:mainnet`. */
  readonly chain: string
  readonly address: string
  /** The asset it pays in: its symbol and decimals. */
  readonly asset: { readonly symbol: string; readonly decimals: number }
  /** Mined and final nonces: how many transactions the wallet has sent; null on chains without nonces. */
  nonces(): Promise<{ readonly mined: number; readonly final: number } | null>
  /** Asks the chain before anything is decided; chains that have no use for it leave it out. Never throws. */
  preflight?(payments: readonly Pick<Transfer, 'to' | 'amount'>[]): Promise<readonly Preflight[]>
  /** Signs each for the first time. Never sends. Throws `SignerRefused` when the policy of the signer says no. */
  sign(transfers: readonly Transfer[]): Promise<readonly SignedTransaction[]>
  /** Signs again what is stuck: the same nonce at higher fees, or with a new blockhash after the old one is lost. */
  replace(transfer: OpenTransfer): Promise<SignedTransaction>
  broadcast(transactions: readonly Pick<SignedTransaction, 'raw'>[]): Promise<readonly Broadcast[]>
  observe(transfers: readonly OpenTransfer[]): Promise<readonly Observation[]>
  holdings(atHeight?: number): Promise<Holdings>
  /** What any address holds of the asset now; one node is asked, for nothing is decided on it. */
  balanceOf(address: string): Promise<bigint>
  /** The last block that is final, and the newest. */
  heights(): Promise<{ readonly final: number; readonly newest: number }>
  /** Every node that is configured. Never throws. */
  nodes(): Promise<readonly NodeHealth[]>
  /** Movements into and out of any of these addresses, in blocks `from` to `through`, oldest first. */
  movements(addresses: readonly string[], from: number, through: number): Promise<readonly AssetMovement[]>
  /** Whether payouts can go there, and how the address is written properly; null when it is none. */
  parseAddress(text: string): string | null
  /** A transfer for the owner of `from` to sign. */
  unsigned(from: string, to: string, amount: bigint): Promise<UnsignedTransfer>
  /** The hash as this chain writes it; null when it is none. */
  parseHash(text: string): string | null
  /** What the owner of an address has signed. Throws `withdrawal_unreadable` when it is no transfer of the asset. */
  readSigned(raw: string): Promise<SignedTransfer>
  /** The same, as a node shows it: the hash stands for the bytes, whoever shows them. Null when none shows it. */
  findSigned(hash: string): Promise<SignedTransfer | null>
  /** What became of transfers that others have signed (S3). */
  trace(transfers: readonly SignedTransfer[]): Promise<readonly Observation[]>
  /** Movements of everybody; chains whose nodes cannot tell leave it out. */
  allMovements?(from: number, through: number): Promise<readonly AssetMovement[]>
}

/** The signer's own policy says no. The payout is held for a person to look at. */
export class SignerRefused extends Error {
  override readonly name = 'SignerRefused'
  constructor(
    readonly code: string,
    message: string,
    /** The one of a batch that is refused; null when it is all of them, as by the stop switch. */
    readonly payoutId: string | null = null,
    /** Those of the batch that were signed for before: their nonces stay theirs, whatever becomes of this refusal. */
    readonly signedBefore: readonly string[] = [],
  ) {
    super(message)
  }
}

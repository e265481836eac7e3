/**
 * The signer as the chain adapters see it: it holds keys, checks its own policy and signs. It may be in this process or
 * in one of its own (`comptroller signer`). It decodes what it is asked to sign and believes nothing else.
 */

/** Who a key belongs to: `member`, `affiliate`, `wholesale`. */
export type WalletName = string

export interface SigningRequest {
  readonly wallet: WalletName
  /**
   * The payout, or replacement of it, that these bytes pay: one payout id, one payee and amount, for ever. For a batch its
   * own name; `to` is the batch contract then, and `amount` the sum.
   */
  readonly payoutId: string
  readonly to: string
  readonly amount: bigint
  /** The unsigned transaction: EVM serialised (hexadecimal), Solana message (base64). */
  readonly unsigned: string
  /** The payouts that a batch pays, in their order. */
  readonly payouts?: readonly string[] | undefined
}

/** Requests a signer takes at once, and payments within them. */
export const SIGN_BATCH_MAX = 256

export interface Signer {
  /** The address of a wallet: checksummed hexadecimal or base58. */
  address(wallet: WalletName): Promise<string>
  /**
   * The signed transactions, as the chain takes them: of all requests or of none. Throws `SignerRefused`, which names the
   * payout that is refused.
   */
  sign(requests: readonly SigningRequest[]): Promise<readonly string[]>
}

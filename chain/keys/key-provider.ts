/** Keys that sign. No way leads to the key itself: a provider has an address and signs, and that is all (BJ-T16). */

export interface EvmKey {
  readonly kind: 'evm'
  /** Checksummed. */
  readonly address: `0x${string}`
  /** Signs a digest of 32 bytes; `s` is in the lower half of the order. */
  signDigest(digest: Uint8Array): Promise<{ readonly r: bigint; readonly s: bigint; readonly yParity: 0 | 1 }>
}

export interface SolanaKey {
  readonly kind: 'solana'
  /** Base58. */
  readonly address: string
  /** The 64 bytes of an Ed25519 signature over the message itself. */
  signMessage(message: Uint8Array): Promise<Uint8Array>
}

export type SigningKey = EvmKey | SolanaKey

/** Where keys are: a keystore file, Google Cloud KMS, AWS KMS. */
export interface KeyProvider {
  /** Throws when there is no such key. */
  key(name: string): Promise<SigningKey>
}

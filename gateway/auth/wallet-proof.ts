/**
 * Proof that a member holds the key of a wallet (BJ-WAL-01). The server keeps nothing: what it asked to be signed is told
 * by the nonce, which only the server can make, for one member, address and chain, and for a short time.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'

const LIFETIME_MS = 10 * 60_000
const NONCE = /^([0-9a-z]{1,12})\.([\w-]{22})\.([\w-]{22})$/

export interface WalletClaim {
  readonly userId: string
  readonly chain: string
  /** As it is written properly. */
  readonly address: string
}

export interface WalletChallenge {
  readonly nonce: string
  /** The text to sign. */
  readonly message: string
  readonly expiresAtMs: number
}

export class WalletProofs {
  constructor(
    private readonly key: Uint8Array,
    private readonly product: string,
    private readonly now: () => number,
  ) {}

  challenge(claim: WalletClaim): WalletChallenge {
    const expiresAtMs = this.now() + LIFETIME_MS
    const body = `${expiresAtMs.toString(36)}.${randomBytes(16).toString('base64url')}`
    const nonce = `${body}.${this.#mac(claim, body)}`
    return { nonce, message: this.#message(claim, nonce, expiresAtMs), expiresAtMs }
  }

  /** The text that had to be signed; null when the nonce is not ours, for somebody or something else, or too old. */
  messageOf(claim: WalletClaim, nonce: string): string | null {
    const [, expires = '', random, mac = ''] = NONCE.exec(nonce) ?? []
    const expected = Buffer.from(this.#mac(claim, `${expires}.${random}`))
    const given = Buffer.from(mac)
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) return null
    const expiresAtMs = Number.parseInt(expires, 36)
    return expiresAtMs <= this.now() ? null : this.#message(claim, nonce, expiresAtMs)
  }

  #mac({ userId, chain, address }: WalletClaim, body: string): string {
    const text = JSON.stringify([userId, chain, address, body])
    return createHmac('sha256', this.key).update(text).digest('base64url').slice(0, 22)
  }

  #message({ userId, chain, address }: WalletClaim, nonce: string, expiresAtMs: number): string {
    return [
      `${this.product} pays my comps to this wallet.`,
      '',
      `Address: ${address}`,
      `Chain: ${chain}`,
      `Member: ${userId}`,
      `Nonce: ${nonce}`,
      `Expires: ${new Date(expiresAtMs).toISOString()}`,
    ].join('\n')
  }
}

import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'

/** Crockford's base 32: no I, L, O or U, and what looks like 1 or 0 is read as 1 or 0. 5 bits a symbol, no bias. */
const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
const CODE_LENGTH = 8

/** Random symbols a person can read out and type. */
export function randomReadable(length: number): string {
  return Array.from(randomBytes(length), (byte) => ALPHABET.charAt(byte % ALPHABET.length)).join('')
}

/** What the person meant: case, spaces, dashes and look-alikes do not matter. */
export function normalizeReadable(typed: string): string {
  return typed.toUpperCase().replace(/[\s-]/g, '').replace(/[IL]/g, '1').replace(/O/g, '0')
}

/** Compares two hashes in time that does not depend on where they differ. */
export function sameHash(left: string, right: string): boolean {
  const [leftBytes, rightBytes] = [Buffer.from(left), Buffer.from(right)]
  return leftBytes.length === rightBytes.length && timingSafeEqual(leftBytes, rightBytes)
}

/** Codes sent by e-mail. Only their keyed hash is stored: they are too short for a plain hash to hide them. */
export class OneTimeCodes {
  readonly #key: Uint8Array

  /** @param key 32 bytes of their own, see SecretBox.deriveKey */
  constructor(key: Uint8Array) {
    this.#key = key
  }

  /** A new code of 40 random bits, such as `7K3M9QXA`. */
  generate(): string {
    return randomReadable(CODE_LENGTH)
  }

  /** The hash to store and to compare. `purpose` says what for and whose, such as `reset-password:42`. */
  hash(purpose: string, code: string): string {
    return createHmac('sha256', this.#key)
      .update(JSON.stringify([purpose, normalizeReadable(code)]))
      .digest('base64url')
  }

  /** Whether the typed code is the one stored for that purpose. */
  matches(purpose: string, code: string, storedHash: string): boolean {
    return sameHash(this.hash(purpose, code), storedHash)
  }
}

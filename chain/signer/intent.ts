/** What unsigned bytes were found to be: one transfer, exactly as it was asked for, and nothing else. */
import { SignerRefused } from '../chain.js'
import type { RefusalCode } from './errors.js'
import type { SigningRequest } from './signer.js'

export interface Intent {
  /** The payee, in the one way its address is written. */
  readonly to: string
  /** Null on chains that have none. */
  readonly nonce: number | null
  /** Tells these bytes from all others. */
  readonly fingerprint: string
}

/** The first 128 bits of a hash, in hexadecimal. */
export const fingerprintOf = (hash: Uint8Array) => Buffer.from(hash.subarray(0, 16)).toString('hex')

export function refuse(code: RefusalCode, request: Pick<SigningRequest, 'payoutId'>, message: string): SignerRefused {
  return new SignerRefused(code, `Payout ${request.payoutId} is not signed: ${message}`, request.payoutId)
}

/**
 * What a KMS answers, believed only as far as it can be checked: public keys become addresses, and a signature counts
 * when it belongs to that address.
 */
import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import { PublicKey } from '@solana/web3.js'
import { bytesToHex, type Hex, numberToHex, recoverAddress } from 'viem'
import { publicKeyToAddress } from 'viem/accounts'
import { KeyError } from './errors.js'
import type { EvmKey } from './key-provider.js'

const SECP256K1_ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n
const TAG_SEQUENCE = 0x30
const TAG_INTEGER = 0x02
/** Two integers of at most 33 bytes with their headers: lengths are one byte. */
const DER_BYTES_MAX = 72
const INTEGER_BYTES_MAX = 33
const ED25519_SIGNATURE_BYTES = 64

type EvmSignature = Awaited<ReturnType<EvmKey['signDigest']>>

/** A public key in SubjectPublicKeyInfo: PEM or DER. Throws `kms_answer_wrong` or `key_unfit`. */
export function readPublicKey(spki: string | Uint8Array, key: string): KeyObject {
  try {
    return typeof spki === 'string'
      ? createPublicKey(spki)
      : createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' })
  } catch (cause) {
    throw wrong(key, 'its public key cannot be read', { cause })
  }
}

/** Checksummed. Throws `key_unfit` when the key is of another curve. */
export function evmAddressOf(publicKey: KeyObject, key: string): `0x${string}` {
  const { kty, crv, x = '', y = '' } = publicKey.export({ format: 'jwk' })
  if (kty !== 'EC' || crv !== 'secp256k1') throw unfit(key, 'secp256k1', crv ?? kty)
  const coordinate = (text: string) => Buffer.from(text, 'base64url').toString('hex').padStart(64, '0')
  return publicKeyToAddress(`0x04${coordinate(x)}${coordinate(y)}`)
}

/** Base58. Throws `key_unfit` when the key is of another curve. */
export function solanaAddressOf(publicKey: KeyObject, key: string): string {
  const { kty, crv, x = '' } = publicKey.export({ format: 'jwk' })
  if (kty !== 'OKP' || crv !== 'Ed25519') throw unfit(key, 'Ed25519', crv ?? kty)
  return new PublicKey(Buffer.from(x, 'base64url')).toBase58()
}

/** The signature with `s` in the lower half and the parity that leads to `address`. Throws `kms_answer_wrong`. */
export async function toEvmSignature(
  der: Uint8Array,
  signed: { readonly digest: Uint8Array; readonly address: Hex; readonly key: string },
): Promise<EvmSignature> {
  const { digest, address, key } = signed
  const parsed = parseDer(der)
  if (parsed === null) throw wrong(key, 'its signature is no proper DER')
  const { r } = parsed
  const s = parsed.s > SECP256K1_ORDER / 2n ? SECP256K1_ORDER - parsed.s : parsed.s
  for (const yParity of [0, 1] as const) {
    const signature = { r: numberToHex(r, { size: 32 }), s: numberToHex(s, { size: 32 }), yParity }
    // Not every r is a point of the curve; such a signature is nobody's.
    const signer = await recoverAddress({ hash: bytesToHex(digest), signature }).catch(() => null)
    if (signer === address) return { r, s, yParity }
  }
  throw wrong(key, `its signature is not of ${address}`)
}

/** Throws `kms_answer_wrong` unless it is the signature of `message`. */
export function checkEd25519(
  signature: Uint8Array,
  message: Uint8Array,
  publicKey: KeyObject,
  key: string,
): Uint8Array {
  const isRight = signature.length === ED25519_SIGNATURE_BYTES && verify(null, message, publicKey, signature)
  if (!isRight) throw wrong(key, 'its signature is not of its own public key')
  return signature
}

/** Two integers between zero and the order, in the one encoding DER has for them, and nothing else; null otherwise. */
export function parseDer(der: Uint8Array): { readonly r: bigint; readonly s: bigint } | null {
  if (der.length > DER_BYTES_MAX || der[0] !== TAG_SEQUENCE || der[1] !== der.length - 2) return null
  const r = parseInteger(der, 2)
  if (r === null) return null
  const s = parseInteger(der, r.end)
  return s === null || s.end !== der.length ? null : { r: r.value, s: s.value }
}

function parseInteger(der: Uint8Array, at: number): { readonly value: bigint; readonly end: number } | null {
  const length = der[at + 1]
  if (der[at] !== TAG_INTEGER || length === undefined || length === 0 || length > INTEGER_BYTES_MAX) return null
  const start = at + 2
  const bytes = der.subarray(start, start + length)
  const [first = 0, second = 0] = bytes
  const isNegative = first >= 0x80
  const isPadded = length > 1 && first === 0 && second < 0x80
  if (bytes.length !== length || isNegative || isPadded) return null
  const value = BigInt(bytesToHex(bytes))
  return value === 0n || value >= SECP256K1_ORDER ? null : { value, end: start + length }
}

export function wrong(key: string, what: string, options?: ErrorOptions): KeyError {
  return new KeyError(
    'kms_answer_wrong',
    `The KMS answered wrongly for ${key}: ${what}. Nothing was signed with it; ask again, and if it stays so, ask the provider.`,
    options,
  )
}

export function unfit(key: string, due: string, found: string | undefined): KeyError {
  return new KeyError(
    'key_unfit',
    `The key ${key} is of ${found ?? 'an unknown kind'}, where ${due} is due. Make one of the right kind and name that.`,
  )
}

export function unavailable(key: string, cause: unknown): KeyError {
  const why = cause instanceof Error ? cause.message : String(cause)
  return new KeyError(
    'kms_unavailable',
    `The KMS did not answer for ${key}: ${why}. Nothing was signed with it; check network, credentials and the name of the key.`,
    { cause },
  )
}

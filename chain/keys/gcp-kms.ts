/**
 * Keys in Google Cloud KMS: `EC_SIGN_SECP256K1_SHA256` for EVM, `EC_SIGN_ED25519` for Solana. A name is that of a key
 * version: `projects/P/locations/L/keyRings/R/cryptoKeys/K/cryptoKeyVersions/1`.
 *
 * Both ways carry CRC32C checksums, as Google asks for: a request the KMS received damaged and an answer we did are
 * refused, and so is an answer about another key.
 */
import { KeyManagementServiceClient, protos } from '@google-cloud/kms'
import { crc32c } from '@node-rs/crc32'
import type { KeyProvider, SigningKey } from './key-provider.js'
import {
  checkEd25519,
  evmAddressOf,
  readPublicKey,
  solanaAddressOf,
  toEvmSignature,
  unavailable,
  unfit,
  wrong,
} from './kms-answers.js'
import { OpenedKeys } from './opened-keys.js'

const CALL_TIMEOUT_MS = 10_000
const { CryptoKeyVersionAlgorithm: Algorithm } = protos.google.cloud.kms.v1.CryptoKeyVersion

type SignAnswer = protos.google.cloud.kms.v1.IAsymmetricSignResponse
type Checksum = protos.google.protobuf.IInt64Value | null | undefined

export class GcpKms implements KeyProvider {
  readonly #keys = new OpenedKeys((name) => this.#open(name))

  constructor(private readonly client: KeyManagementServiceClient) {}

  key(name: string): Promise<SigningKey> {
    return this.#keys.get(name)
  }

  close(): Promise<void> {
    return this.client.close()
  }

  async #open(name: string): Promise<SigningKey> {
    const [answer] = await this.client
      .getPublicKey({ name }, { timeout: CALL_TIMEOUT_MS })
      .catch((error: unknown) => Promise.reject(unavailable(name, error)))
    const { pem, algorithm } = answer
    if (answer.name !== name) throw wrong(name, `it spoke of ${answer.name ?? 'no key'}`)
    if (typeof pem !== 'string' || !matches(answer.pemCrc32c, Buffer.from(pem))) {
      throw wrong(name, 'its public key does not match the checksum')
    }
    const publicKey = readPublicKey(pem, name)
    const is = (wanted: keyof typeof Algorithm) => algorithm === wanted || algorithm === Algorithm[wanted]

    if (is('EC_SIGN_SECP256K1_SHA256')) {
      const address = evmAddressOf(publicKey, name)
      const signDigest = async (digest: Uint8Array) =>
        toEvmSignature(await this.#sign(name, { digest }), { digest, address, key: name })
      return { kind: 'evm', address, signDigest }
    }
    if (is('EC_SIGN_ED25519')) {
      const address = solanaAddressOf(publicKey, name)
      const signMessage = async (message: Uint8Array) =>
        checkEd25519(await this.#sign(name, { message }), message, publicKey, name)
      return { kind: 'solana', address, signMessage }
    }
    const found = typeof algorithm === 'number' ? Algorithm[algorithm] : algorithm
    throw unfit(name, 'EC_SIGN_SECP256K1_SHA256 or EC_SIGN_ED25519', found ?? undefined)
  }

  async #sign(name: string, what: { digest: Uint8Array } | { message: Uint8Array }): Promise<Uint8Array> {
    const request =
      'digest' in what
        ? { name, digest: { sha256: what.digest }, digestCrc32c: { value: checksum(what.digest) } }
        : { name, data: what.message, dataCrc32c: { value: checksum(what.message) } }
    const [answer] = await this.client
      .asymmetricSign(request, { timeout: CALL_TIMEOUT_MS })
      .catch((error: unknown) => Promise.reject(unavailable(name, error)))
    return checkedSignature(name, answer, 'digest' in what)
  }
}

function checkedSignature(name: string, answer: SignAnswer, isOfDigest: boolean): Uint8Array {
  const { signature } = answer
  if (answer.name !== name) throw wrong(name, `it spoke of ${answer.name ?? 'no key'}`)
  if (!(isOfDigest ? answer.verifiedDigestCrc32c : answer.verifiedDataCrc32c)) {
    throw wrong(name, 'it did not receive what was sent (the checksum was not verified)')
  }
  const bytes = typeof signature === 'string' ? Buffer.from(signature, 'base64') : signature
  if (!bytes || !matches(answer.signatureCrc32c, bytes)) throw wrong(name, 'its signature does not match the checksum')
  return bytes
}

const checksum = (bytes: Uint8Array) => crc32c(bytes).toString()

function matches(told: Checksum, bytes: Uint8Array): boolean {
  return told?.value?.toString() === checksum(bytes)
}

/** With the credentials of the machine (Application Default Credentials). */
export function openGcpKms(): GcpKms {
  return new GcpKms(new KeyManagementServiceClient())
}

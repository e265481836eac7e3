/**
 * Keys in AWS KMS: `ECC_SECG_P256K1` for EVM, `ECC_NIST_EDWARDS25519` for Solana. A name is a key id, an ARN or an alias.
 * An alias may be pointed elsewhere later; what is opened stays with the key it led to then.
 */
import { GetPublicKeyCommand, KMSClient, SignCommand, type SignCommandInput } from '@aws-sdk/client-kms'
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

export class AwsKms implements KeyProvider {
  readonly #keys = new OpenedKeys((name) => this.#open(name))

  constructor(private readonly client: KMSClient) {}

  key(name: string): Promise<SigningKey> {
    return this.#keys.get(name)
  }

  close(): void {
    this.client.destroy()
  }

  async #open(name: string): Promise<SigningKey> {
    const answer = await this.client
      .send(new GetPublicKeyCommand({ KeyId: name }), { abortSignal: AbortSignal.timeout(CALL_TIMEOUT_MS) })
      .catch((error: unknown) => Promise.reject(unavailable(name, error)))
    const { KeyId: arn, KeySpec: spec, KeyUsage: usage, PublicKey: spki } = answer
    if (arn === undefined || spki === undefined) throw wrong(name, 'its public key is missing')
    if (usage !== 'SIGN_VERIFY') throw unfit(name, 'SIGN_VERIFY', usage)
    const publicKey = readPublicKey(spki, name)

    if (spec === 'ECC_SECG_P256K1') {
      const address = evmAddressOf(publicKey, name)
      const signDigest = async (digest: Uint8Array) => {
        const der = await this.#sign(arn, { Message: digest, MessageType: 'DIGEST', SigningAlgorithm: 'ECDSA_SHA_256' })
        return toEvmSignature(der, { digest, address, key: name })
      }
      return { kind: 'evm', address, signDigest }
    }
    if (spec === 'ECC_NIST_EDWARDS25519') {
      const address = solanaAddressOf(publicKey, name)
      const signMessage = async (message: Uint8Array) => {
        const how = { MessageType: 'RAW', SigningAlgorithm: 'ED25519_SHA_512' } as const
        return checkEd25519(await this.#sign(arn, { Message: message, ...how }), message, publicKey, name)
      }
      return { kind: 'solana', address, signMessage }
    }
    throw unfit(name, 'ECC_SECG_P256K1 or ECC_NIST_EDWARDS25519', spec)
  }

  async #sign(arn: string, how: Omit<SignCommandInput, 'KeyId'>): Promise<Uint8Array> {
    const answer = await this.client
      .send(new SignCommand({ KeyId: arn, ...how }), { abortSignal: AbortSignal.timeout(CALL_TIMEOUT_MS) })
      .catch((error: unknown) => Promise.reject(unavailable(arn, error)))
    if (answer.KeyId !== arn) throw wrong(arn, `it spoke of ${answer.KeyId ?? 'no key'}`)
    if (answer.SigningAlgorithm !== how.SigningAlgorithm) throw wrong(arn, 'it signed in another way')
    if (answer.Signature === undefined) throw wrong(arn, 'its signature is missing')
    return answer.Signature
  }
}

/** With region and credentials of the machine, as every AWS tool finds them. */
export function openAwsKms(): AwsKms {
  return new AwsKms(new KMSClient({}))
}

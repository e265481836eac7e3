// Local servers that speak as Google Cloud KMS (REST) and AWS KMS (JSON 1.1) do, sign with keys of their own, and can be
// told to answer badly.
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { KMSClient } from '@aws-sdk/client-kms'
import { KeyManagementServiceClient } from '@google-cloud/kms'
import { crc32c } from '@node-rs/crc32'
import { bytesToHex, hexToBytes, numberToHex } from 'viem'
import { generatePrivateKey, privateKeyToAccount, sign as signSecp256k1 } from 'viem/accounts'

const ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n
const SPKI_SECP256K1 = '3056301006072a8648ce3d020106052b8104000a034200'

/** What a KMS does wrong next; `high_s` is no fault: half of all honest signatures are so. */
export type Fault =
  | 'high_s'
  | 'other_key'
  | 'signature_corrupted'
  | 'public_key_corrupted'
  | 'request_corrupted'
  | 'no_der'
  | 'other_name'
  | 'unavailable'

export interface FakeKms {
  readonly port: number
  readonly evmAddress: string
  readonly ed25519: KeyObject
  /** Every answer is affected until it is null again. */
  fault: Fault | null
  readonly calls: { readonly target: string; readonly authorization: string; readonly body: Record<string, unknown> }[]
  close(): Promise<void>
}

const integer = (value: bigint) => {
  const hex = numberToHex(value).slice(2)
  const even = hex.length % 2 === 0 ? hex : `0${hex}`
  const positive = Number.parseInt(even.slice(0, 2), 16) >= 0x80 ? `00${even}` : even
  return `02${numberToHex(positive.length / 2, { size: 1 }).slice(2)}${positive}`
}
export function toDer(r: bigint, s: bigint): Buffer {
  const body = integer(r) + integer(s)
  return Buffer.from(`30${numberToHex(body.length / 2, { size: 1 }).slice(2)}${body}`, 'hex')
}

class Keys {
  readonly #secret = generatePrivateKey()
  readonly #other = generatePrivateKey()
  readonly account = privateKeyToAccount(this.#secret)
  readonly ed25519 = generateKeyPairSync('ed25519')
  readonly #otherEd25519 = generateKeyPairSync('ed25519')
  readonly secp256k1Spki = Buffer.from(SPKI_SECP256K1 + this.account.publicKey.slice(2), 'hex')
  readonly ed25519Spki = this.ed25519.publicKey.export({ format: 'der', type: 'spki' })

  async signDigest(digest: Uint8Array, fault: Fault | null): Promise<Buffer> {
    if (fault === 'no_der') return Buffer.alloc(64, 1)
    const privateKey = fault === 'other_key' ? this.#other : this.#secret
    const signature = await signSecp256k1({ hash: bytesToHex(digest), privateKey })
    const s = BigInt(signature.s)
    return toDer(BigInt(signature.r), fault === 'high_s' ? ORDER - s : s)
  }

  signMessage(message: Uint8Array, fault: Fault | null): Buffer {
    return sign(null, message, (fault === 'other_key' ? this.#otherEd25519 : this.ed25519).privateKey)
  }
}

const bodyOf = async (request: IncomingMessage): Promise<Record<string, unknown>> => {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk)
  return chunks.length === 0 ? {} : JSON.parse(Buffer.concat(chunks).toString())
}
const flipped = (bytes: Buffer) => {
  const copy = Buffer.from(bytes)
  const middle = copy.length >> 1
  copy[middle] = (copy[middle] ?? 0) ^ 1
  return copy
}

type Answer = (target: string, body: Record<string, unknown>, fault: Fault | null, keys: Keys) => Promise<object | null>

async function serve(targetOf: (request: IncomingMessage) => string, answer: Answer): Promise<FakeKms> {
  const keys = new Keys()
  const calls: FakeKms['calls'] = []
  const server = createServer(async (request, response) => {
    const body = await bodyOf(request)
    const target = targetOf(request)
    calls.push({ target, authorization: request.headers.authorization ?? '', body })
    const content = kms.fault === 'unavailable' ? null : await answer(target, body, kms.fault, keys)
    response.setHeader('content-type', 'application/json')
    response.statusCode = content === null ? 400 : 200
    const refusal = { error: { code: 400, message: 'no', status: 'FAILED_PRECONDITION' }, __type: 'DisabledException' }
    response.end(JSON.stringify(content ?? refusal))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const kms: FakeKms = {
    port: (server.address() as AddressInfo).port,
    evmAddress: keys.account.address,
    ed25519: keys.ed25519.publicKey,
    fault: null,
    calls,
    close: () => {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
  return kms
}

const RING = 'projects/p/locations/global/keyRings/r/cryptoKeys'
export const gcpNames = {
  evm: `${RING}/evm/cryptoKeyVersions/1`,
  solana: `${RING}/solana/cryptoKeyVersions/1`,
  rsa: `${RING}/rsa/cryptoKeyVersions/1`,
}
const EC_SIGN_SECP256K1_SHA256 = 31
const EC_SIGN_ED25519 = 40
const RSA_SIGN_PSS_2048_SHA256 = 2

const pem = (spki: Buffer) => {
  const lines = spki.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN PUBLIC KEY-----\n${lines.join('\n')}\n-----END PUBLIC KEY-----\n`
}
const base64 = (value: unknown) => Buffer.from(String(value), 'base64')

function gcpPublicKey(name: string, fault: Fault | null, keys: Keys) {
  const text = pem(name === gcpNames.solana ? keys.ed25519Spki : keys.secp256k1Spki)
  const algorithms = {
    [gcpNames.evm]: EC_SIGN_SECP256K1_SHA256,
    [gcpNames.solana]: EC_SIGN_ED25519,
    [gcpNames.rsa]: RSA_SIGN_PSS_2048_SHA256,
  }
  return {
    pem: fault === 'public_key_corrupted' ? pem(flipped(keys.secp256k1Spki)) : text,
    pemCrc32c: String(crc32c(Buffer.from(text))),
    algorithm: algorithms[name],
    name: fault === 'other_name' ? gcpNames.rsa : name,
  }
}

async function gcpSignature(name: string, body: Record<string, unknown>, fault: Fault | null, keys: Keys) {
  const digest = base64((body.digest as { sha256?: string } | undefined)?.sha256 ?? '')
  const data = base64(body.data ?? '')
  const isEvm = name === gcpNames.evm
  const received = isEvm ? digest : data
  const told = isEvm ? body.digestCrc32c : body.dataCrc32c
  const isVerified = fault !== 'request_corrupted' && String(told) === String(crc32c(received))
  const signature = isEvm ? await keys.signDigest(digest, fault) : keys.signMessage(data, fault)
  return {
    name: fault === 'other_name' ? gcpNames.rsa : name,
    signature: (fault === 'signature_corrupted' ? flipped(signature) : signature).toString('base64'),
    signatureCrc32c: String(crc32c(signature)),
    ...(isEvm ? { verifiedDigestCrc32c: isVerified } : { verifiedDataCrc32c: isVerified }),
  }
}

export async function startFakeGcp(): Promise<FakeKms & { client(): KeyManagementServiceClient }> {
  const kms = await serve(
    (request) => decodeURIComponent((request.url ?? '').split('?')[0] ?? ''),
    async (target, body, fault, keys) => {
      const [, name = '', action] = /^\/v1\/(.+?)(\/publicKey|:asymmetricSign)$/.exec(target) ?? []
      if (action === '/publicKey') return gcpPublicKey(name, fault, keys)
      return action === ':asymmetricSign' ? gcpSignature(name, body, fault, keys) : null
    },
  )
  // A service account signs its own tokens, so that nobody has to be asked for them.
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const credentials = {
    client_email: 'signer@p.iam.example.com',
    private_key: privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
  }
  const where = { apiEndpoint: '127.0.0.1', port: kms.port, protocol: 'http', fallback: true, projectId: 'p' }
  return Object.assign(kms, { client: () => new KeyManagementServiceClient({ ...where, credentials }) })
}

const ARN = 'arn:aws:kms:us-east-1:111122223333:key'
export const awsNames = { evm: `${ARN}/evm`, solana: `${ARN}/solana`, alias: 'alias/payouts', rsa: `${ARN}/rsa` }

async function answerAws(target: string, body: Record<string, unknown>, fault: Fault | null, keys: Keys) {
  const arn = body.KeyId === awsNames.alias ? awsNames.evm : String(body.KeyId)
  const isEvm = arn !== awsNames.solana
  const KeyId = fault === 'other_name' && target.endsWith('Sign') ? awsNames.rsa : arn
  if (target === 'TrentService.GetPublicKey') {
    const specs: Record<string, string> = {
      [awsNames.evm]: 'ECC_SECG_P256K1',
      [awsNames.solana]: 'ECC_NIST_EDWARDS25519',
    }
    const spki = isEvm ? keys.secp256k1Spki : keys.ed25519Spki
    const PublicKey = (fault === 'public_key_corrupted' ? spki.subarray(3) : spki).toString('base64')
    return { KeyId, KeyUsage: 'SIGN_VERIFY', KeySpec: specs[arn] ?? 'RSA_2048', PublicKey }
  }
  const message = base64(body.Message)
  const isRight = isEvm
    ? body.MessageType === 'DIGEST' && body.SigningAlgorithm === 'ECDSA_SHA_256' && message.length === 32
    : body.MessageType === 'RAW' && body.SigningAlgorithm === 'ED25519_SHA_512'
  if (target !== 'TrentService.Sign' || !isRight) return null
  const signature = isEvm ? await keys.signDigest(message, fault) : keys.signMessage(message, fault)
  const sent = fault === 'signature_corrupted' ? flipped(signature) : signature
  return { KeyId, Signature: sent.toString('base64'), SigningAlgorithm: body.SigningAlgorithm }
}

export async function startFakeAws(): Promise<FakeKms & { client(): KMSClient }> {
  const kms = await serve((request) => String(request.headers['x-amz-target']), answerAws)
  const client = () =>
    new KMSClient({
      endpoint: `http://127.0.0.1:${kms.port}`,
      region: 'us-east-1',
      credentials: { accessKeyId: 'AKIAEXAMPLE', secretAccessKey: 'example' },
      maxAttempts: 1,
    })
  return Object.assign(kms, { client })
}

export const someDigest = hexToBytes(`0x${'5a'.repeat(32)}`)

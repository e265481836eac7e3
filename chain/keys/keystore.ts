/**
 * Keys in an encrypted folder, one file each.
 *
 * K3 No way leads to a private key: it is made here, sealed here and used here, and its bytes are wiped as soon as they
 *    are of no more use.
 * K4 A key file is whole and durable before its address is told, and is never replaced.
 * K5 All keys of a folder have one password: a mistyped one makes no key that nobody can open.
 */
import { createPrivateKey, createPublicKey, randomBytes, sign as signEd25519 } from 'node:crypto'
import { PublicKey } from '@solana/web3.js'
import { bytesToHex, type Hex } from 'viem'
import { privateKeyToAddress, sign as signSecp256k1 } from 'viem/accounts'
import { assert } from '../../engine/assert.js'
import { KeyError } from './errors.js'
import { assertKeyName, createKeyFile, keyFilePath, listKeys, readKeyFile } from './key-files.js'
import type { EvmKey, KeyProvider, SigningKey, SolanaKey } from './key-provider.js'
import { damaged, type KeyDescription, seal, unseal } from './sealed-key.js'

/** 128 MiB and about half a second a guess. */
const SCRYPT_COST = 2 ** 17
/** For passwords of 256 random bits, which nobody guesses. */
const SCRYPT_COST_GENERATED = 2 ** 12
const SECP256K1_ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n
/** An Ed25519 private key in PKCS#8 is this and then its 32 bytes. */
const PKCS8_ED25519 = Buffer.from('302e020100300506032b657004220420', 'hex')

interface OpenKey {
  readonly key: SigningKey
  wipe(): void
}

export interface KeystoreOptions {
  readonly directory: string
  readonly password: { readonly secret: Buffer; readonly isGenerated: boolean }
}

export class Keystore implements KeyProvider {
  readonly directory: string
  /** Whether its password lies beside it, so that it is good for local chains only. */
  readonly isForLocalChains: boolean
  readonly #password: Buffer
  readonly #open = new Map<string, Promise<OpenKey>>()
  #isClosed = false

  /** Takes over the password, which is wiped by {@link close}. */
  constructor({ directory, password }: KeystoreOptions) {
    this.directory = directory
    this.isForLocalChains = password.isGenerated
    this.#password = password.secret
  }

  list(): Promise<KeyDescription[]> {
    return listKeys(this.directory)
  }

  /** Makes a new key. Throws `key_exists`, and `keystore_password_wrong` when the others have another password. */
  async create(name: string, kind: SigningKey['kind']): Promise<KeyDescription> {
    assertKeyName(name)
    this.#assertOpen()
    const [other] = await this.list()
    if (other !== undefined) await this.key(other.name) // K5
    const secret = kind === 'evm' ? newSecp256k1Secret() : randomBytes(32)
    try {
      const opened = openSecret(kind, secret)
      const { address } = opened.key
      opened.wipe()
      const description = { name, kind, address, created_at: new Date().toISOString() }
      const cost = this.isForLocalChains ? SCRYPT_COST_GENERATED : SCRYPT_COST
      await createKeyFile(this.directory, await seal(secret, description, this.#password, cost)) // K4
      return description
    } finally {
      secret.fill(0)
    }
  }

  /** The key of that name, made if it is missing; what a local chain starts with. */
  async ensure(name: string, kind: SigningKey['kind']): Promise<KeyDescription> {
    const found = (await this.list()).find((key) => key.name === name)
    return found ?? this.create(name, kind)
  }

  /** Throws `key_missing`, `keystore_password_wrong` or `keystore_damaged`. */
  async key(name: string): Promise<SigningKey> {
    this.#assertOpen()
    const opening = this.#open.get(name) ?? this.#unseal(name)
    this.#open.set(name, opening)
    try {
      return (await opening).key
    } catch (error) {
      this.#open.delete(name)
      throw error
    }
  }

  /** Wipes keys and password. What was opened signs no more. */
  async close(): Promise<void> {
    this.#isClosed = true
    for (const opening of this.#open.values()) {
      await opening.then(
        (opened) => opened.wipe(),
        () => {},
      )
    }
    this.#open.clear()
    this.#password.fill(0)
  }

  async #unseal(name: string): Promise<OpenKey> {
    const sealed = await readKeyFile(this.directory, name)
    const file = keyFilePath(this.directory, name)
    const secret = await unseal(sealed, this.#password, file)
    try {
      const opened = openSecret(sealed.kind, secret)
      if (opened.key.address === sealed.address) return opened
      opened.wipe()
      throw damaged(file, `its key belongs to ${opened.key.address}, not to ${sealed.address}`)
    } finally {
      secret.fill(0)
    }
  }

  #assertOpen(): void {
    if (this.#isClosed) throw closed()
  }
}

const closed = () => new KeyError('keystore_closed', 'The keystore is closed: the process is stopping.')

/** Copies what it needs of `secret`. */
function openSecret(kind: SigningKey['kind'], secret: Uint8Array): OpenKey {
  return kind === 'evm' ? openSecp256k1(Buffer.from(secret)) : openEd25519(secret)
}

function openSecp256k1(secret: Buffer): OpenKey {
  // viem takes the key as hexadecimal: a string that lives for one signature, and cannot be wiped.
  const privateKey = (): Hex => bytesToHex(secret)
  let isWiped = false
  const key: EvmKey = {
    kind: 'evm',
    address: privateKeyToAddress(privateKey()),
    async signDigest(digest) {
      assert(digest.length === 32, 'a digest has 32 bytes')
      if (isWiped) throw closed()
      const { r, s, yParity } = await signSecp256k1({ hash: bytesToHex(digest), privateKey: privateKey() })
      return { r: BigInt(r), s: BigInt(s), yParity: yParity === 1 ? 1 : 0 }
    },
  }
  return {
    key,
    wipe: () => {
      isWiped = true
      secret.fill(0)
    },
  }
}

function openEd25519(secret: Uint8Array): OpenKey {
  const encoded = Buffer.concat([PKCS8_ED25519, secret])
  // OpenSSL keeps it from here on, outside the JavaScript heap.
  let privateKey: ReturnType<typeof createPrivateKey> | null = createPrivateKey({
    key: encoded,
    format: 'der',
    type: 'pkcs8',
  })
  encoded.fill(0)
  const { x = '' } = createPublicKey(privateKey).export({ format: 'jwk' })
  const key: SolanaKey = {
    kind: 'solana',
    address: new PublicKey(Buffer.from(x, 'base64url')).toBase58(),
    async signMessage(message) {
      if (privateKey === null) throw closed()
      return signEd25519(null, message, privateKey)
    },
  }
  return {
    key,
    wipe: () => {
      privateKey = null
    },
  }
}

function newSecp256k1Secret(): Buffer {
  for (;;) {
    const secret = randomBytes(32)
    const scalar = BigInt(bytesToHex(secret))
    if (scalar > 0n && scalar < SECP256K1_ORDER) return secret
  }
}

/**
 * A private key as a keystore file holds it: sealed with AES-256-GCM under a key that scrypt derives from the password.
 *
 * K1 What a file says besides the secret (name, kind, address) is authenticated with it.
 * K2 A file that is damaged, and a password that is wrong, are told apart: the digest over the file is wrong, or the
 *    digest is right and the derived check value is not.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  randomBytes,
  type ScryptOptions,
  scrypt,
  timingSafeEqual,
} from 'node:crypto'
import { z } from 'zod'
import { KeyError } from './errors.js'

export const KEY_NAME = /^[a-z0-9][a-z0-9-]{0,62}$/
const VERSION = 1
const BLOCK_SIZE = 8
/** 1 GiB of memory; a file that asks for more is damaged. */
const COST_MAX = 2 ** 20
const CHECK_LABEL = 'comptroller keystore password check'

const bytes = (length: number) =>
  z.base64().refine((text) => Buffer.from(text, 'base64').length === length, `must be ${length} bytes`)
const sealedKey = z.strictObject({
  version: z.literal(VERSION),
  name: z.string().regex(KEY_NAME),
  kind: z.enum(['evm', 'solana']),
  address: z.string().min(1),
  created_at: z.iso.datetime(),
  kdf: z.strictObject({
    algorithm: z.literal('scrypt'),
    n: z
      .number()
      .int()
      .min(2)
      .max(COST_MAX)
      .refine((n) => Number.isInteger(Math.log2(n))),
    r: z.literal(BLOCK_SIZE),
    p: z.literal(1),
    salt: bytes(32),
    check: bytes(32),
  }),
  cipher: z.strictObject({
    algorithm: z.literal('aes-256-gcm'),
    iv: bytes(12),
    tag: bytes(16),
    ciphertext: bytes(32),
  }),
})
const keyFile = z.strictObject({ key: sealedKey, sha256: z.string() })

export type SealedKey = z.output<typeof sealedKey>
export type KeyDescription = Pick<SealedKey, 'name' | 'kind' | 'address' | 'created_at'>

/** Seals 32 secret bytes. `cost` is the N of scrypt, a power of two; each takes a kilobyte of memory. */
export async function seal(
  secret: Uint8Array,
  description: KeyDescription,
  password: Uint8Array,
  cost: number,
): Promise<SealedKey> {
  const salt = randomBytes(32)
  const { encryptionKey, check } = await derive(password, salt, cost)
  const iv = randomBytes(12)
  const cipher = createCipheriv('aes-256-gcm', encryptionKey, iv).setAAD(authenticated(description))
  const ciphertext = Buffer.concat([cipher.update(secret), cipher.final()])
  encryptionKey.fill(0)
  const base64 = (value: Buffer) => value.toString('base64')
  return {
    version: VERSION,
    ...description,
    kdf: { algorithm: 'scrypt', n: cost, r: BLOCK_SIZE, p: 1, salt: base64(salt), check: base64(check) },
    cipher: {
      algorithm: 'aes-256-gcm',
      iv: base64(iv),
      tag: base64(cipher.getAuthTag()),
      ciphertext: base64(ciphertext),
    },
  }
}

/** The 32 secret bytes, for the caller to wipe. `file` is for messages. */
export async function unseal(sealed: SealedKey, password: Uint8Array, file: string): Promise<Buffer> {
  const { kdf, cipher } = sealed
  const { encryptionKey, check } = await derive(password, Buffer.from(kdf.salt, 'base64'), kdf.n)
  try {
    // K2
    if (!timingSafeEqual(check, Buffer.from(kdf.check, 'base64'))) {
      throw new KeyError(
        'keystore_password_wrong',
        `The password does not open ${file}. Give the one its keys were made with: KEYSTORE_PASSWORD_FILE or KEYSTORE_PASSWORD.`,
      )
    }
    const decipher = createDecipheriv('aes-256-gcm', encryptionKey, Buffer.from(cipher.iv, 'base64'))
      .setAAD(authenticated(sealed)) // K1
      .setAuthTag(Buffer.from(cipher.tag, 'base64'))
    return Buffer.concat([decipher.update(Buffer.from(cipher.ciphertext, 'base64')), decipher.final()])
  } catch (error) {
    if (error instanceof KeyError) throw error
    throw damaged(file, 'the password is right, but the sealed key or what is said of it was changed')
  } finally {
    encryptionKey.fill(0)
  }
}

export function formatKeyFile(key: SealedKey): string {
  return `${JSON.stringify({ key, sha256: digestOf(key) }, null, 2)}\n`
}

/** Throws `keystore_damaged`. */
export function parseKeyFile(text: string, file: string): SealedKey {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    throw damaged(file, 'it is no JSON')
  }
  const parsed = keyFile.safeParse(json)
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    throw damaged(file, `${issue?.path.join('.') ?? 'it'}: ${issue?.message ?? 'is wrong'}`)
  }
  const { key, sha256 } = parsed.data
  if (digestOf(key) !== sha256) throw damaged(file, 'its contents do not match its digest')
  return key
}

export function damaged(file: string, what: string): KeyError {
  return new KeyError(
    'keystore_damaged',
    `The key file ${file} is damaged: ${what}. It was left as it is; restore it from a backup.`,
  )
}

/** Of the fields in the order of the schema, whatever their order in the file. */
const digestOf = (key: SealedKey) =>
  createHash('sha256')
    .update(JSON.stringify(sealedKey.parse(key)))
    .digest('hex')

const authenticated = ({ name, kind, address, created_at }: KeyDescription) =>
  Buffer.from(JSON.stringify([VERSION, name, kind, address, created_at]))

async function derive(password: Uint8Array, salt: Uint8Array, cost: number) {
  const options: ScryptOptions = { N: cost, r: BLOCK_SIZE, p: 1, maxmem: 128 * BLOCK_SIZE * (cost + 16) }
  const derived = await new Promise<Buffer>((resolve, reject) => {
    scrypt(password, salt, 64, options, (error, key) => (error ? reject(error) : resolve(key)))
  })
  const encryptionKey = Buffer.from(derived.subarray(0, 32))
  const check = createHmac('sha256', derived.subarray(32)).update(CHECK_LABEL).digest()
  derived.fill(0)
  return { encryptionKey, check }
}

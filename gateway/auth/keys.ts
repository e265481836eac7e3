/**
 * The RS256 keys tokens are signed with, kept as one private JWKS file that several gateways may share.
 *
 * K1 Exactly one key signs.
 * K2 A key is published one cache period before it signs, so that no reader of the public document meets it unknown.
 * K3 A key that stopped signing verifies until the last token it can have signed is dead; its private half goes at once.
 * K4 A change of keys is durable on disk before it is used.
 */
import { join } from 'node:path'
import { calculateJwkThumbprint, exportJWK, generateKeyPair, importJWK, type JWTPayload, SignJWT } from 'jose'
import { z } from 'zod'
import { assert } from '../../engine/assert.js'
import {
  CLOCK_LEEWAY_MS,
  KEY_PUBLISH_AHEAD_MS,
  KEY_ROTATION_PERIOD_MS,
  REFRESH_TOKEN_LIFETIME_MS,
} from './lifetimes.js'
import { createPrivateFile, makePrivateDirectory, readPrivateFile, writePrivateFile } from './private-files.js'

/** The one signature algorithm issued and accepted. */
export const TOKEN_ALGORITHM = 'RS256'
const MODULUS_LENGTH_BITS = 2048
const KEY_FILE = 'signing-keys.json'

/** Signs claims into a compact JWT. The local {@link KeySet} does; a KMS can take its place (BJ-AUTH-14). */
export interface TokenSigner {
  sign(claims: JWTPayload, options: { readonly typ: string }): Promise<string>
}

/** Where the public half of a key is found by its id; undefined when it never was ours or is dropped. */
export interface VerificationKeys {
  verificationKey(kid: string): CryptoKey | undefined
}

const publicJwkSchema = z.object({ kty: z.literal('RSA'), n: z.string(), e: z.string() })
const privateJwkSchema = publicJwkSchema.extend({
  d: z.string(),
  p: z.string(),
  q: z.string(),
  dp: z.string(),
  dq: z.string(),
  qi: z.string(),
})
const usableKeySchema = z.object({
  kid: z.string(),
  createdAt: z.iso.datetime(),
  status: z.enum(['published', 'signing']),
  signsFromMs: z.number(),
  jwk: privateJwkSchema,
})
const retiredKeySchema = z.object({
  kid: z.string(),
  createdAt: z.iso.datetime(),
  status: z.literal('retired'),
  retiredAtMs: z.number(),
  jwk: publicJwkSchema,
})
const keyFileSchema = z.object({ keys: z.array(z.discriminatedUnion('status', [usableKeySchema, retiredKeySchema])) })

type PublicPart = z.infer<typeof publicJwkSchema>
type UsableKey = z.infer<typeof usableKeySchema>
type RetiredKey = z.infer<typeof retiredKeySchema>
type StoredKey = UsableKey | RetiredKey

export interface PublicJwk extends PublicPart {
  readonly kid: string
  readonly alg: typeof TOKEN_ALGORITHM
  readonly use: 'sig'
}

export interface KeySetOptions {
  /** Made with mode 0700; the file in it has 0600. */
  readonly directory: string
  /** Wall clock, milliseconds since 1970. */
  readonly clock: () => number
  /** How long a new key is published before it signs. Default one hour. */
  readonly publishAheadMs?: number
}

export class KeySet implements TokenSigner, VerificationKeys {
  readonly #path: string
  readonly #clock: () => number
  readonly #publishAheadMs: number
  #fileText = ''
  #stored: readonly StoredKey[] = []
  #verificationKeys = new Map<string, CryptoKey>()
  #signer: { readonly kid: string; readonly key: CryptoKey } | undefined
  #lastChange: Promise<unknown> = Promise.resolve()

  private constructor(options: KeySetOptions) {
    this.#path = join(options.directory, KEY_FILE)
    this.#clock = options.clock
    this.#publishAheadMs = options.publishAheadMs ?? KEY_PUBLISH_AHEAD_MS
  }

  /** Reads the keys, making the first one when there are none. */
  static async open(options: KeySetOptions): Promise<KeySet> {
    const keySet = new KeySet(options)
    await makePrivateDirectory(options.directory)
    if ((await readPrivateFile(keySet.#path)) === undefined) {
      const nowMs = options.clock()
      const first: StoredKey = { ...(await generateKey(nowMs, nowMs)), status: 'signing' }
      // When two gateways start at once, the second takes the key of the first.
      await createPrivateFile(keySet.#path, serialize([first]))
    }
    await keySet.tick()
    return keySet
  }

  async sign(claims: JWTPayload, options: { readonly typ: string }): Promise<string> {
    assert(this.#signer, 'the key set is open')
    return new SignJWT(claims)
      .setProtectedHeader({ alg: TOKEN_ALGORITHM, kid: this.#signer.kid, typ: options.typ })
      .sign(this.#signer.key)
  }

  verificationKey(kid: string): CryptoKey | undefined {
    return this.#verificationKeys.get(kid)
  }

  /** The document for /.well-known/jwks.json. It may be cached for the time a key is published ahead. */
  publicJwks(): { readonly keys: readonly PublicJwk[] } {
    return {
      keys: this.#stored.map(({ kid, jwk }) => ({
        ...publicPart(jwk),
        kid,
        alg: TOKEN_ALGORITHM,
        use: 'sig' as const,
      })),
    }
  }

  /** How long readers may cache {@link publicJwks}, in milliseconds. */
  get publishAheadMs(): number {
    return this.#publishAheadMs
  }

  /** Publishes a new key that signs one cache period from now; its id. A key already waiting to sign is not doubled. */
  async rotate(): Promise<string> {
    return this.#exclusive(async () => {
      const nowMs = this.#clock()
      await this.#reload()
      const waiting = this.#stored.find((key) => key.status === 'published')
      if (waiting) return waiting.kid
      const key = await this.#newKey(nowMs)
      await this.#replace([...this.#stored, key])
      return key.kid
    })
  }

  /** Takes over what other gateways changed, and moves keys on as time passes. To be called about once a minute. */
  async tick(nowMs: number = this.#clock()): Promise<void> {
    await this.#exclusive(async () => {
      await this.#reload()
      const settled = settle(this.#stored, nowMs, this.#publishAheadMs)
      const next = isRotationDue(settled, nowMs) ? [...settled, await this.#newKey(nowMs)] : settled
      if (next !== this.#stored) await this.#replace(next)
    })
  }

  #newKey(nowMs: number): Promise<UsableKey> {
    return generateKey(nowMs, nowMs + this.#publishAheadMs) // K2
  }

  async #replace(keys: readonly StoredKey[]): Promise<void> {
    const text = serialize(keys)
    await writePrivateFile(this.#path, text) // K4
    await this.#adopt(keys, text)
  }

  async #reload(): Promise<void> {
    const content = await readPrivateFile(this.#path)
    if (!content) throw new Error(`${this.#path} has gone: tokens cannot be signed`)
    const text = content.toString('utf8')
    if (text !== this.#fileText) await this.#adopt(keyFileSchema.parse(JSON.parse(text)).keys, text)
  }

  async #adopt(keys: readonly StoredKey[], text: string): Promise<void> {
    const [signing, ...others] = keys.filter((key) => key.status === 'signing')
    assert(signing && others.length === 0, 'exactly one key signs') // K1
    const verificationKeys = new Map<string, CryptoKey>()
    for (const { kid, jwk } of keys) {
      verificationKeys.set(kid, this.#verificationKeys.get(kid) ?? (await importRsaKey(publicPart(jwk))))
    }
    this.#signer = { kid: signing.kid, key: await importRsaKey(signing.jwk) }
    this.#verificationKeys = verificationKeys
    this.#stored = keys
    this.#fileText = text
  }

  #exclusive<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#lastChange.then(work)
    this.#lastChange = done.catch(() => undefined)
    return done
  }
}

/** The keys as they stand at `nowMs`; the same array when nothing changed. */
function settle(keys: readonly StoredKey[], nowMs: number, publishAheadMs: number): readonly StoredKey[] {
  const starting = keys.find((key) => key.status === 'published' && key.signsFromMs <= nowMs)
  // One cache period more, because another gateway may learn of the change that much later. (K3)
  const verifiesForMs = REFRESH_TOKEN_LIFETIME_MS + CLOCK_LEEWAY_MS + publishAheadMs
  const isDead = (key: StoredKey) => key.status === 'retired' && key.retiredAtMs + verifiesForMs <= nowMs
  if (!starting && !keys.some(isDead)) return keys
  return keys
    .filter((key) => !isDead(key))
    .map((key): StoredKey => {
      if (key.status === 'published' && key === starting) return { ...key, status: 'signing' }
      return starting && key.status === 'signing' ? retire(key, nowMs) : key // K1
    })
}

function retire({ kid, createdAt, jwk }: UsableKey, nowMs: number): RetiredKey {
  return { kid, createdAt, status: 'retired', retiredAtMs: nowMs, jwk: publicPart(jwk) }
}

function publicPart({ kty, n, e }: PublicPart): PublicPart {
  return { kty, n, e }
}

function isRotationDue(keys: readonly StoredKey[], nowMs: number): boolean {
  if (keys.some((key) => key.status === 'published')) return false
  return keys.some((key) => key.status === 'signing' && key.signsFromMs + KEY_ROTATION_PERIOD_MS <= nowMs)
}

async function generateKey(createdAtMs: number, signsFromMs: number): Promise<UsableKey> {
  const pair = await generateKeyPair(TOKEN_ALGORITHM, { modulusLength: MODULUS_LENGTH_BITS, extractable: true })
  const jwk = privateJwkSchema.parse(await exportJWK(pair.privateKey))
  return {
    kid: await calculateJwkThumbprint(jwk),
    createdAt: new Date(createdAtMs).toISOString(),
    status: 'published',
    signsFromMs,
    jwk,
  }
}

async function importRsaKey(jwk: PublicPart): Promise<CryptoKey> {
  const key = await importJWK(jwk, TOKEN_ALGORITHM)
  assert(!(key instanceof Uint8Array), 'an RSA key is never a shared secret')
  return key
}

function serialize(keys: readonly StoredKey[]): string {
  return `${JSON.stringify({ keys }, null, 2)}\n`
}

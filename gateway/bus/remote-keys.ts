/** The public keys that tokens are checked with, as the engine publishes them. */
import { importJWK } from 'jose'
import { z } from 'zod'
import { assert } from '../../engine/assert.js'
import { TOKEN_ALGORITHM, type VerificationKeys } from '../auth/keys.js'
import { engineUnavailable } from './wire.js'

const jwksSchema = z.object({
  keys: z.array(z.object({ kid: z.string(), kty: z.literal('RSA'), n: z.string(), e: z.string() })).max(100),
})

export class RemoteKeys implements VerificationKeys {
  #keys: ReadonlyMap<string, CryptoKey> | undefined

  get areKnown(): boolean {
    return this.#keys !== undefined
  }

  /** Throws `engine_unavailable` until the first keys are known: a good token must not be refused for that. */
  verificationKey(kid: string): CryptoKey | undefined {
    if (this.#keys === undefined) throw engineUnavailable()
    return this.#keys.get(kid)
  }

  /** Takes over what the engine answers. */
  async adopt(published: unknown): Promise<void> {
    const { keys } = jwksSchema.parse(published)
    const imported = keys.map(async ({ kid, kty, n, e }) => {
      const key = await importJWK({ kty, n, e }, TOKEN_ALGORITHM)
      assert(!(key instanceof Uint8Array), 'an RSA key is never a shared secret')
      return [kid, key] as const
    })
    this.#keys = new Map(await Promise.all(imported))
  }
}

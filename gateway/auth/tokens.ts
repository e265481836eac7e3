/**
 * Issues and checks access and refresh tokens. Whether the session still lives is the account actor's to say (BJ-T45);
 * a token only proves which session it was issued to.
 *
 * A1 One algorithm, our own keys by id, the type, issuer and audience that we issue: anything else is refused, and
 *    nothing a token says about where its key is found is followed.
 * A2 A token is accepted from the cache exactly as long as a fresh check would accept it.
 */
import { errors, type JWTPayload, type JWTVerifyOptions, jwtVerify } from 'jose'
import { LRUCache } from 'lru-cache'
import { z } from 'zod'
import { DomainError } from '../../engine/errors.js'
import type { Principal } from '../http/toolkit/principal.js'
import { TOKEN_ALGORITHM, type TokenSigner, type VerificationKeys } from './keys.js'
import { ACCESS_TOKEN_LIFETIME_MS, CLOCK_LEEWAY_MS, REFRESH_TOKEN_LIFETIME_MS } from './lifetimes.js'

const ACCESS_TYPE = 'at+jwt'
const REFRESH_TYPE = 'rt+jwt'
const TOKEN_LENGTH_MAX = 2_048
const CACHE_ENTRIES_MAX = 50_000
const VERIFICATIONS_PENDING_MAX = 1_000
const BUSY_RETRY_AFTER_MS = 1_000

const idSchema = z.string().min(1).max(128)
const accessClaimsSchema = z.object({
  sub: idSchema,
  sid: idSchema,
  role: z.enum(['member', 'admin']),
  exp: z.int(),
})
const refreshClaimsSchema = z.object({ sub: idSchema, sid: idSchema, gen: z.int().nonnegative(), exp: z.int() })

/** What a refresh token claims; the session's actor says whether the generation is the current one. */
export interface RefreshGrant {
  readonly userId: string
  readonly sessionId: string
  readonly generation: number
}

export interface IssuedTokens {
  readonly accessToken: string
  readonly accessExpiresAtMs: number
  readonly refreshToken: string
  readonly refreshExpiresAtMs: number
}

export interface TokensOptions {
  readonly signer: TokenSigner
  readonly keys: VerificationKeys
  /** The `iss` and `aud` of every token issued and accepted. */
  readonly issuer: string
  readonly audience: string
  /** Wall clock, milliseconds since 1970. */
  readonly clock: () => number
  readonly cacheEntriesMax?: number
}

export class Tokens {
  readonly #options: TokensOptions
  readonly #verified: LRUCache<string, { readonly principal: Principal; readonly validUntilMs: number }>
  readonly #pending = new Map<string, Promise<Principal>>()

  constructor(options: TokensOptions) {
    this.#options = options
    this.#verified = new LRUCache({ max: options.cacheEntriesMax ?? CACHE_ENTRIES_MAX })
  }

  /** Signs the pair a session gets at login and at each refresh. */
  async issue(principal: Principal, generation: number): Promise<IssuedTokens> {
    const { signer, issuer, audience, clock } = this.#options
    const iat = Math.floor(clock() / 1000)
    const accessExp = iat + ACCESS_TOKEN_LIFETIME_MS / 1000
    const refreshExp = iat + REFRESH_TOKEN_LIFETIME_MS / 1000
    const common = { iss: issuer, aud: audience, sub: principal.userId, sid: principal.sessionId, iat }
    const [accessToken, refreshToken] = await Promise.all([
      signer.sign({ ...common, role: principal.role, exp: accessExp }, { typ: ACCESS_TYPE }),
      signer.sign({ ...common, gen: generation, exp: refreshExp }, { typ: REFRESH_TYPE }),
    ])
    return {
      accessToken,
      accessExpiresAtMs: accessExp * 1000,
      refreshToken,
      refreshExpiresAtMs: refreshExp * 1000,
    }
  }

  /**
   * Whom the access token speaks for: at once when it was checked before, else as a promise. Never throws; a refused
   * token rejects with `unauthorized` or `token_expired`, too many checks at once with `busy`.
   */
  verifyAccess(token: string): Principal | Promise<Principal> {
    const cached = this.#verified.get(token)
    if (cached) {
      if (this.#options.clock() < cached.validUntilMs) return cached.principal // A2
      this.#verified.delete(token)
    }
    return this.#pending.get(token) ?? this.#verifyAccessOnce(token)
  }

  /** What the refresh token grants; rejects with `unauthorized` or `token_expired`. */
  async verifyRefresh(token: string): Promise<RefreshGrant> {
    const claims = parseClaims(refreshClaimsSchema, await this.#verify(token, REFRESH_TYPE))
    return { userId: claims.sub, sessionId: claims.sid, generation: claims.gen }
  }

  gauges(): { readonly cacheEntries: number; readonly verificationsPending: number } {
    return { cacheEntries: this.#verified.size, verificationsPending: this.#pending.size }
  }

  #verifyAccessOnce(token: string): Promise<Principal> {
    if (this.#pending.size >= VERIFICATIONS_PENDING_MAX) {
      return Promise.reject(
        new DomainError('unavailable', 'busy', 'Too many tokens are being checked.', {
          retryAfterMs: BUSY_RETRY_AFTER_MS,
        }),
      )
    }
    const verification = this.#verifyAndCache(token).finally(() => this.#pending.delete(token))
    this.#pending.set(token, verification)
    return verification
  }

  async #verifyAndCache(token: string): Promise<Principal> {
    const claims = parseClaims(accessClaimsSchema, await this.#verify(token, ACCESS_TYPE))
    const principal = Object.freeze({ userId: claims.sub, sessionId: claims.sid, role: claims.role })
    this.#verified.set(token, { principal, validUntilMs: claims.exp * 1000 + CLOCK_LEEWAY_MS }) // A2
    return principal
  }

  async #verify(token: string, typ: string): Promise<JWTPayload> {
    if (token.length > TOKEN_LENGTH_MAX) throw refused()
    const { keys, issuer, audience, clock } = this.#options
    const options: JWTVerifyOptions = {
      algorithms: [TOKEN_ALGORITHM],
      typ,
      issuer,
      audience,
      clockTolerance: CLOCK_LEEWAY_MS / 1000,
      currentDate: new Date(clock()),
    }
    try {
      const { payload } = await jwtVerify(token, ({ kid }) => verificationKey(keys, kid), options) // A1
      return payload
    } catch (error) {
      if (error instanceof errors.JWTExpired) throw new DomainError('unauthorized', 'token_expired', 'Token expired.')
      if (error instanceof errors.JOSEError) throw refused()
      throw error
    }
  }
}

function verificationKey(keys: VerificationKeys, kid: string | undefined): CryptoKey {
  const key = kid === undefined ? undefined : keys.verificationKey(kid)
  if (!key) throw refused()
  return key
}

function parseClaims<T>(schema: z.ZodType<T>, payload: JWTPayload): T {
  const claims = schema.safeParse(payload)
  if (!claims.success) throw refused()
  return claims.data
}

function refused(): DomainError {
  return new DomainError('unauthorized', 'unauthorized', 'Token refused.')
}

/** Who is logged in. Tokens are in memory only: reloading the page is logging out. */
import { ChatError, chatErrorOf, isRefusal } from '../../client/errors.js'

interface Tokens {
  readonly access_token: string
  readonly refresh_token: string
  /** Seconds. */
  readonly expires_in: number
}

export interface Me {
  readonly id: string
  readonly username: string
  readonly tier: string
  readonly is_admin: boolean
}

export interface Credentials {
  readonly email: string
  readonly password: string
  readonly totp?: string
}

/** A token that is about to expire is replaced before it does. */
const REFRESH_BEFORE_MS = 30_000

export class Session {
  #refreshing: Promise<string> | null = null

  private constructor(
    private tokens: Tokens,
    private expiresAt: number,
  ) {}

  /** Rejects with a ChatError: `credentials_invalid`, `totp_required`, … */
  static async begin(credentials: Credentials): Promise<Session> {
    const tokens = (await ask('POST', '/v1/auth/login', { ...credentials, device: 'desktop' })) as Tokens
    return new Session(tokens, expiryOf(tokens))
  }

  /** An access token that is valid now. */
  token(): string | Promise<string> {
    if (Date.now() < this.expiresAt - REFRESH_BEFORE_MS) return this.tokens.access_token
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = null
    })
    return this.#refreshing
  }

  async #refresh(): Promise<string> {
    const { refresh_token } = this.tokens
    try {
      this.tokens = (await ask('POST', '/v1/auth/refresh', { refresh_token })) as Tokens
    } catch (error) {
      const isRefused = error instanceof ChatError && error.code === 'token_expired'
      throw isRefused ? new ChatError('session_ended', 'The session has ended.') : error
    }
    this.expiresAt = expiryOf(this.tokens)
    return this.tokens.access_token
  }

  /** Rejects with a ChatError. */
  async me(): Promise<Me> {
    return (await ask('GET', '/v1/users/me', undefined, await this.token())) as Me
  }

  async end(): Promise<void> {
    await ask('POST', '/v1/auth/logout', undefined, await this.token())
  }
}

const expiryOf = ({ expires_in: seconds }: Tokens): number => Date.now() + seconds * 1_000

async function ask(method: string, path: string, body: unknown, token?: string): Promise<unknown> {
  const response = await fetch(path, {
    method,
    headers: {
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  }).catch(() => {
    throw new ChatError('connection_lost', 'The server cannot be reached.')
  })
  const answer: unknown = await response.json().catch(() => null)
  if (response.ok) return answer
  throw isRefusal(answer) ? chatErrorOf(answer) : new ChatError('internal', `The server answered ${response.status}.`)
}

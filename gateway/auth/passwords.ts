import { randomBytes } from 'node:crypto'
import { hash, type Options, parseOptions, verify } from '@node-rs/argon2'
import { z } from 'zod'
import { DomainError } from '../../engine/errors.js'

/** OWASP's minimum for Argon2id (BJ-AUTH-14). The library's default algorithm and version are Argon2id and 1.3. */
const COST = { memoryCost: 19_456, timeCost: 2, parallelism: 1 } satisfies Options
const ARGON2ID = 2

const CONCURRENCY_MAX = 2
const WAITING_MAX = 100
const BUSY_RETRY_AFTER_MS = 2_000
const PASSWORD_LENGTH_MIN = 8
const PASSWORD_LENGTH_MAX = 256

/** The rules of a new password (BJ-AUTH-08); every broken rule is named. */
export const passwordSchema = z
  .string()
  .min(PASSWORD_LENGTH_MIN, `Use at least ${PASSWORD_LENGTH_MIN} characters.`)
  .max(PASSWORD_LENGTH_MAX, `Use at most ${PASSWORD_LENGTH_MAX} characters.`)
  .regex(/\p{Lu}/u, 'Use at least one uppercase letter.')
  .regex(/\d/, 'Use at least one number.')
  .regex(/[^\p{L}\p{N}\s]/u, 'Use at least one symbol.')

/** A password given to be compared: only bounded, because an old account may have been made under other rules. */
export const givenPasswordSchema = z.string().min(1).max(PASSWORD_LENGTH_MAX)

export interface PasswordsOptions {
  /** Hashes computed at once, each taking a thread of libuv's pool and 19 MiB. */
  readonly concurrencyMax?: number
  /** Hashes waiting for their turn; past it, `busy`. */
  readonly waitingMax?: number
}

/** Argon2id on the thread pool, so many at a time and so many waiting. */
export class Passwords {
  readonly #decoyHash: string
  readonly #concurrencyMax: number
  readonly #waitingMax: number
  readonly #waiting: (() => void)[] = []
  #running = 0

  private constructor(decoyHash: string, options: PasswordsOptions) {
    this.#decoyHash = decoyHash
    this.#concurrencyMax = options.concurrencyMax ?? CONCURRENCY_MAX
    this.#waitingMax = options.waitingMax ?? WAITING_MAX
  }

  static async create(options: PasswordsOptions = {}): Promise<Passwords> {
    return new Passwords(await hash(randomBytes(32), COST), options)
  }

  /** The PHC string to store; rejects with `busy` when the queue is full. */
  hash(password: string): Promise<string> {
    return this.#inTurn(() => hash(normalize(password), COST))
  }

  /** Whether the password made that hash; rejects with `busy` when the queue is full. */
  verify(storedHash: string, password: string): Promise<boolean> {
    return this.#inTurn(() => verify(storedHash, normalize(password)))
  }

  /** False, after the work of a true check: an unknown e-mail must take as long as a wrong password. */
  async verifyAgainstNothing(password: string): Promise<false> {
    await this.verify(this.#decoyHash, password)
    return false
  }

  /** Whether the hash was made with other costs than today's, to be replaced at the next login. */
  needsRehash(storedHash: string): boolean {
    const made = parseOptions(storedHash)
    return (
      made.algorithm !== ARGON2ID ||
      made.memoryCost !== COST.memoryCost ||
      made.timeCost !== COST.timeCost ||
      made.parallelism !== COST.parallelism
    )
  }

  gauges(): { readonly running: number; readonly waiting: number } {
    return { running: this.#running, waiting: this.#waiting.length }
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running < this.#concurrencyMax) this.#running++
    else await this.#waitForSlot()
    try {
      return await work()
    } finally {
      const next = this.#waiting.shift()
      if (next)
        next() // takes over this slot
      else this.#running--
    }
  }

  #waitForSlot(): Promise<void> {
    if (this.#waiting.length >= this.#waitingMax) {
      throw new DomainError('unavailable', 'busy', 'Too many logins at once.', { retryAfterMs: BUSY_RETRY_AFTER_MS })
    }
    return new Promise((resolve) => this.#waiting.push(resolve))
  }
}

/** The same password typed on another keyboard may arrive composed differently. */
function normalize(password: string): string {
  return password.normalize('NFKC')
}

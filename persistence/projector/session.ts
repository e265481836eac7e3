/**
 * One connection on which a transaction is a transaction.
 *
 * The driver (postgres 3.4.9) fails in three ways when a connection dies inside its `begin`: it throws where nothing
 * can catch it, it may leave the connection unable to send, and it may run the rest of the transaction outside of it
 * on a new connection (porsager/postgres pull requests 1155 and 1176). So:
 *
 * C1 A session never reconnects, and sends nothing once its connection is lost.
 * C2 Everything that waits when the connection is lost fails.
 */
import type { ReservedSql } from 'postgres'
import { DomainError } from '../../engine/errors.js'
import { connectSession, type Sql } from '../postgres/connection.js'

export type Parameter = string | number | bigint
export type Result = readonly Readonly<Record<string, unknown>>[] & { readonly count: number }

export class Session {
  readonly #sql: Sql
  readonly #waiting = new Set<(error: Error) => void>()
  #reserved: ReservedSql<{ bigint: bigint }> | undefined
  #isLost = false

  private constructor(url: string, applicationName: string) {
    this.#sql = connectSession(url, applicationName, () => this.#onLost())
  }

  static async open(url: string, applicationName: string): Promise<Session> {
    const session = new Session(url, applicationName)
    try {
      // Asked first, because the driver cannot reserve a connection it has yet to make.
      await session.#unlessLost(() => session.#sql`select 1`)
      session.#reserved = await session.#unlessLost(() => session.#sql.reserve())
      return session
    } catch (error) {
      await session.end()
      throw error
    }
  }

  /** Runs one statement, prepared at its first use. */
  async query(text: string, parameters: readonly Parameter[] = []): Promise<Result> {
    return await this.#unlessLost(async () => {
      const rows = await this.#reserved?.unsafe(text, [...parameters], { prepare: true })
      return rows as unknown as Result
    })
  }

  /** Commits what `work` does, or nothing of it. If the connection is lost at the commit, its fate is unknown. */
  async transaction<Done>(work: () => Promise<Done>): Promise<Done> {
    await this.query('begin')
    try {
      const done = await work()
      await this.query('commit')
      return done
    } catch (error) {
      if (!this.#isLost) await this.query('rollback')
      throw error
    }
  }

  /** Does `work` or nothing of it, inside a transaction, which can go on after a failure. */
  async attempt<Done>(work: () => Promise<Done>): Promise<Done> {
    await this.query('savepoint attempt')
    try {
      const done = await work()
      await this.query('release attempt')
      return done
    } catch (error) {
      if (!this.#isLost) await this.query('rollback to attempt')
      throw error
    }
  }

  async end(): Promise<void> {
    await this.#sql.end({ timeout: 0 })
  }

  #onLost(): void {
    this.#isLost = true // C1
    // The driver may have a better error for them; it comes within this turn of the event loop.
    setImmediate(() => {
      for (const fail of this.#waiting) fail(lost()) // C2
    })
  }

  #unlessLost<Done>(work: () => Promise<Done>): Promise<Done> {
    return new Promise((resolve, reject) => {
      if (this.#isLost) {
        reject(lost()) // C1
        return
      }
      this.#waiting.add(reject)
      work()
        .then(resolve, reject)
        .finally(() => this.#waiting.delete(reject))
    })
  }
}

const lost = () => new DomainError('unavailable', 'postgres_unavailable', 'The connection to Postgres is lost')

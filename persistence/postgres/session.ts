/**
 * One connection on which a transaction is a transaction, for work that must not go on elsewhere when it dies.
 *
 * The driver (postgres 3.4.9) fails in three ways when a connection dies inside its `begin`: it throws where nothing
 * can catch it, it may leave the connection unable to send, and it may run the rest of the transaction outside of it
 * on a new connection (porsager/postgres pull requests 1155 and 1176). So:
 *
 * C1 A session never reconnects, and sends nothing once its connection is lost.
 * C2 Everything that waits when the connection is lost fails.
 */
import { connectSession, postgresLost, type Reserved, type Sql, type Transaction } from './connection.js'

export type Parameter = string | number | bigint
export type Result = readonly Readonly<Record<string, unknown>>[] & { readonly count: number }

/** What runs transactions: a pool, or a session. */
export interface Transactions {
  begin<Done>(mode: string, work: (tx: Transaction) => Promise<Done>): Promise<unknown>
}

export class Session implements Transactions {
  readonly #sql: Sql
  readonly #waiting = new Set<(error: Error) => void>()
  #reserved: Reserved | undefined
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
  async transaction<Done>(work: () => Promise<Done>, mode = ''): Promise<Done> {
    await this.query(`begin ${mode}`)
    try {
      const done = await work()
      await this.query('commit')
      return done
    } catch (error) {
      if (!this.#isLost) await this.query('rollback')
      throw error
    }
  }

  /** {@link transaction} for work that is written with the driver's templates. Rejects with `postgres_lost`. */
  async begin<Done>(mode: string, work: (tx: Transaction) => Promise<Done>): Promise<Done> {
    try {
      return await this.transaction(() => this.#unlessLost(() => work(this.#templates())), mode)
    } catch (error) {
      throw this.#isLost ? postgresLost() : error
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

  /** The connection as the driver gives it to a transaction, but for C1. */
  #templates(): Transaction {
    const guard = <Send extends (...input: never[]) => unknown>(send: Send) =>
      new Proxy(send, {
        apply: (target, self, input) => {
          if (this.#isLost) throw postgresLost() // C1
          return Reflect.apply(target, self, input)
        },
      })
    const reserved = this.#reserved
    if (reserved === undefined) throw postgresLost()
    return Object.assign(guard(reserved.bind(undefined)), { unsafe: guard(reserved.unsafe) }) as unknown as Transaction
  }

  #onLost(): void {
    this.#isLost = true // C1
    // The driver may have a better error for them; it comes within this turn of the event loop.
    setImmediate(() => {
      for (const fail of this.#waiting) fail(postgresLost()) // C2
    })
  }

  #unlessLost<Done>(work: () => PromiseLike<Done>): Promise<Done> {
    return new Promise((resolve, reject) => {
      if (this.#isLost) {
        reject(postgresLost()) // C1
        return
      }
      this.#waiting.add(reject)
      Promise.resolve(work())
        .then(resolve, reject)
        .finally(() => this.#waiting.delete(reject))
    })
  }
}

/**
 * Transactions on one connection that is never replaced, for a start, which must not go on elsewhere when it dies.
 *
 * The driver (postgres 3.4.9) fails in three ways when a connection dies inside its `begin`: it throws where nothing
 * can catch it, it may never settle, and it may run the rest of the transaction outside of it on a new connection
 * (porsager/postgres pull requests 1155 and 1176). So:
 *
 * O1 Nothing is sent once the connection is lost.
 * O2 What waits when the connection is lost fails.
 */
import type { DomainError } from '../../engine/errors.js'
import { connectSession, postgresLost, type Reserved, type Sql, type Transaction } from './connection.js'

/** What runs transactions: a pool, or one connection. */
export interface Transactions {
  begin<Result>(mode: string, work: (tx: Transaction) => Promise<Result>): Promise<unknown>
}

export class OneConnection implements Transactions {
  readonly #sql: Sql
  readonly #whenLost: Promise<never>
  #lose: (error: DomainError) => void = () => {}
  #isLost = false
  #reserved: Reserved | undefined

  private constructor(url: string, applicationName: string) {
    this.#whenLost = new Promise((_, reject) => {
      this.#lose = reject
    })
    this.#whenLost.catch(() => {})
    this.#sql = connectSession(url, applicationName, () => this.#onLost())
  }

  static async open(url: string, applicationName: string): Promise<OneConnection> {
    const connection = new OneConnection(url, applicationName)
    try {
      // Asked first, because the driver cannot reserve a connection it has yet to make.
      await connection.#unlessLost(connection.#sql`select 1`)
      connection.#reserved = await connection.#unlessLost(connection.#sql.reserve())
      return connection
    } catch (error) {
      await connection.end()
      throw error
    }
  }

  /** Commits what `work` does, or nothing of it. If the connection is lost at the commit, its fate is unknown. */
  async begin<Result>(mode: string, work: (tx: Transaction) => Promise<Result>): Promise<Result> {
    const tx = this.#guarded()
    await this.#unlessLost(tx.unsafe(`begin ${mode}`))
    try {
      const done = await this.#unlessLost(work(tx))
      await this.#unlessLost(tx.unsafe('commit'))
      return done
    } catch (error) {
      if (this.#isLost) throw postgresLost()
      await this.#unlessLost(tx.unsafe('rollback'))
      throw error
    }
  }

  async end(): Promise<void> {
    await this.#sql.end({ timeout: 0 })
  }

  /** The connection as a transaction is given it: it refuses to send when it is lost. */
  #guarded(): Transaction {
    const guard = <Send extends (...input: never[]) => unknown>(send: Send) =>
      new Proxy(send, {
        apply: (target, self, input) => {
          if (this.#isLost) throw postgresLost() // O1
          return Reflect.apply(target, self, input)
        },
      })
    const reserved = this.#reserved
    if (reserved === undefined) throw postgresLost()
    return Object.assign(guard(reserved.bind(undefined)), { unsafe: guard(reserved.unsafe) }) as unknown as Transaction
  }

  #onLost(): void {
    this.#isLost = true
    // The driver may have a better error for what waits; it comes within this turn of the event loop.
    setImmediate(() => this.#lose(postgresLost())) // O2
  }

  #unlessLost<Done>(work: PromiseLike<Done>): Promise<Done> {
    return Promise.race([work, this.#whenLost])
  }
}

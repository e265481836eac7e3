/**
 * A stand-in for Postgres, the only one there is: transactions that happen whole or not at all, connections that break
 * at any statement, commits whose answer is lost, and commits that take place after the process that asked for them
 * is dead.
 */
import type { ParkedRow, RowKey } from '../../persistence/projector/batch.js'
import { type ProjectionSession, RowRefusedError } from '../../persistence/projector/port.js'
import type { Write } from '../../persistence/projector/target.js'
import { assert } from '../assert.js'
import type { Faults } from './faults.js'
import { Random } from './random.js'
import { Life, type Scheduler } from './scheduler.js'
import type { Story } from './story.js'
import { type Change, keyOf, Tables } from './tables.js'

const CALL_MICROS = [100, 3_000] as const
const SLOW_CALL_MICROS = [10_000, 2_000_000] as const
const DOWN_MICROS = [50_000, 20_000_000] as const
const CONNECTION_FAILS_MICROS = 1_000

/** Rows nobody decides on: what a start reads back is never refused, scans apart. */
const refusable = new Set(['scans', 'comps', 'scan_attempts', 'tier_history', 'account_events', 'affiliate_chips'])

export class LostConnectionError extends Error {
  override readonly name = 'LostConnectionError'
}

const lost = () => new LostConnectionError('the connection to the database is lost')

export class SimulatedPostgres {
  readonly tables: Tables
  /** Statements go on here after their client is dead. */
  readonly #server = new Life('postgres')
  readonly #sessions = new Set<Session>()
  readonly #waiting: (() => void)[] = []
  readonly #random: Random
  #markHolder: Session | undefined
  #downUntil = 0
  #refusals = 0

  constructor(
    seed: number,
    readonly scheduler: Scheduler,
    readonly faults: Faults,
    readonly story: Story,
  ) {
    this.#random = new Random(seed, 'postgres')
    this.tables = new Tables((table, row) => {
      const rate = faults.rate('refused row')
      if (rate === 0 || !refusable.has(table)) return false
      const name = `${table} ${keyOf(Object.keys(row), row)}`
      return new Random(seed, name).chance(rate)
    })
  }

  get isDown(): boolean {
    return this.scheduler.now < this.#downUntil && !this.faults.areOver
  }

  get refusals(): number {
    return this.#refusals
  }

  async connect(life: Life): Promise<ProjectionSession> {
    await this.call(life, () => {})
    const session = new Session(this, life)
    this.#sessions.add(session)
    return session
  }

  /** One read on a connection of a pool. */
  async call<Result>(life: Life, act: () => Result): Promise<Result> {
    const isUp = await this.scheduler.act(this.delay(), life, () => this.#staysUp())
    if (!isUp || (!this.faults.areOver && this.faults.strikes('lost connection'))) {
      return this.scheduler.act(CONNECTION_FAILS_MICROS, life, () => {
        throw lost()
      })
    }
    return act()
  }

  delay(): number {
    const [min, max] = this.faults.strikes('slow database') ? SLOW_CALL_MICROS : CALL_MICROS
    return this.#random.skewed(min, max)
  }

  /** Everything that happens inside the server, whether its client lives or not. */
  onServer(micros: number, run: () => void): void {
    this.scheduler.after(micros, this.#server, run)
  }

  /** A client is dead: its connections are found broken. What is being committed may still be. */
  forget(life: Life): void {
    for (const session of this.#sessions) if (session.life === life) session.break()
  }

  /** All changes of a transaction, or none of them. The first one moves the mark. */
  commit(changes: readonly Change[], _isAnswerLost: boolean): void {
    for (const change of changes) change()
  }

  drop(session: Session): void {
    this.#sessions.delete(session)
    this.releaseMark(session)
  }

  /** Waits for the row of the mark, which one transaction at a time may change. */
  lockMark(session: Session): Promise<void> {
    if (session.isBroken) return Promise.reject(lost())
    if (this.#markHolder === undefined || this.#markHolder === session) {
      this.#markHolder = session
      return Promise.resolve()
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push(() => this.lockMark(session).then(resolve, reject))
    })
  }

  releaseMark(session: Session): void {
    if (this.#markHolder !== session) return
    this.#markHolder = undefined
    for (const wake of this.#waiting.splice(0)) wake()
  }

  refused(): void {
    this.#refusals += 1
    this.faults.note('refused row')
  }

  #staysUp(): boolean {
    if (this.isDown) return false
    if (!this.faults.strikes('database down')) return true
    this.#downUntil = this.scheduler.now + this.faults.random('database down').skewed(...DOWN_MICROS)
    this.story.tell('postgres', `is down for ${Math.round((this.#downUntil - this.scheduler.now) / 1_000)} ms`)
    for (const session of this.#sessions) session.break()
    return false
  }
}

/** One connection; statements are executed in the order they are sent. */
class Session implements ProjectionSession {
  isBroken = false
  #busyUntil = 0
  #transaction: Transaction | undefined
  #isCommitting = false
  readonly #waiting = new Set<(error: Error) => void>()

  constructor(
    readonly postgres: SimulatedPostgres,
    readonly life: Life,
  ) {}

  readMark(): Promise<number> {
    return this.#statement(() => this.postgres.tables.appliedSeq)
  }

  async transaction<Done>(work: () => Promise<Done>): Promise<Done> {
    assert(this.#transaction === undefined, 'transactions of one connection do not nest')
    await this.#statement(() => {
      this.#transaction = { changes: [], made: new Set(), isAborted: false }
    })
    try {
      const done = await work()
      await this.#commit()
      return done
    } catch (error) {
      if (!this.isBroken) await this.#statement(() => this.#end())
      throw error
    }
  }

  async attempt<Done>(work: () => Promise<Done>): Promise<Done> {
    const savepoint = await this.#inTransaction(({ changes, made }) => ({ count: changes.length, made: [...made] }))
    try {
      return await work()
    } catch (error) {
      await this.#statement(() => {
        const transaction = this.#transaction
        assert(transaction !== undefined, 'a savepoint is inside a transaction')
        transaction.changes.length = savepoint.count
        transaction.made = new Set(savepoint.made)
        transaction.isAborted = false
      })
      throw error
    }
  }

  async moveMark(from: number, to: number, at: number): Promise<boolean> {
    await this.#statement(() => {})
    await this.#unlessBroken(this.postgres.lockMark(this))
    return this.#inTransaction(({ changes }) => {
      const { tables } = this.postgres
      if (tables.appliedSeq !== from) return false
      changes.push(() => {
        tables.appliedSeq = to
        tables.lastAt = at
      })
      return true
    })
  }

  async write(write: Write): Promise<void> {
    await this.#inTransaction((transaction) => {
      try {
        transaction.changes.push(...this.postgres.tables.changesOf(write, transaction.made))
      } catch (error) {
        transaction.isAborted = true
        if (error instanceof RowRefusedError) this.postgres.refused()
        throw error
      }
    })
  }

  async park(rows: readonly ParkedRow[]): Promise<void> {
    await this.#inTransaction(({ changes }) => changes.push(() => this.postgres.tables.parked.push(...rows)))
  }

  get holdsKeys(): boolean {
    return this.postgres.tables.parked.some(({ key }) => key !== null)
  }

  heldKeys(keys: readonly RowKey[]): Promise<readonly RowKey[]> {
    return this.#inTransaction(() => this.postgres.tables.heldKeys(keys))
  }

  /** Outdated keys may stay for ever as far as correctness goes. */
  async housekeep(): Promise<void> {}

  async end(): Promise<void> {
    this.break()
  }

  /** The connection is gone. What was not committed is undone, unless that is just being done. */
  break(): void {
    if (this.isBroken) return
    this.isBroken = true
    if (!this.#isCommitting) this.postgres.drop(this)
    for (const fail of this.#waiting) fail(lost())
  }

  /** The commit takes place in the server; whether the client hears of it is another matter. */
  #commit(): Promise<void> {
    const { postgres } = this
    const { faults } = postgres
    this.#isCommitting = true
    if (this.#transaction?.isAborted) throw new Error('the transaction is aborted')
    const isAnswerLost = faults.strikes('lost commit answer')
    const happens = !isAnswerLost || faults.random('lost commit answer').chance(0.5)
    const committed = new Promise<void>((resolve, reject) => {
      postgres.onServer(this.#nextDelay(), () => {
        if (happens) postgres.commit(this.#transaction?.changes ?? [], isAnswerLost)
        this.#end()
        if (isAnswerLost) {
          postgres.story.mark(happens ? 'a commit took place unheard' : 'a commit did not take place unheard')
          this.break()
          reject(lost())
        } else resolve()
      })
    })
    return this.#unlessBroken(committed)
  }

  #end(): void {
    this.#transaction = undefined
    this.#isCommitting = false
    this.postgres.releaseMark(this)
    if (this.isBroken) this.postgres.drop(this)
  }

  #inTransaction<Result>(act: (transaction: Transaction) => Result): Promise<Result> {
    return this.#statement(() => {
      const transaction = this.#transaction
      assert(transaction !== undefined, 'this is done inside a transaction')
      if (transaction.isAborted) throw new Error('the transaction is aborted')
      return act(transaction)
    })
  }

  async #statement<Result>(act: () => Result): Promise<Result> {
    const { postgres, life } = this
    if (this.isBroken) throw lost()
    return this.#unlessBroken(
      postgres.scheduler.act(this.#nextDelay(), life, () => {
        if (this.isBroken || postgres.isDown) throw lost()
        if (postgres.faults.strikes('lost connection')) {
          postgres.story.tell(
            'postgres',
            `a connection breaks ${this.#transaction ? 'inside' : 'outside'} a transaction`,
          )
          this.break()
          throw lost()
        }
        return act()
      }),
    )
  }

  #nextDelay(): number {
    const { scheduler } = this.postgres
    this.#busyUntil = Math.max(this.#busyUntil, scheduler.now) + this.postgres.delay()
    return this.#busyUntil - scheduler.now
  }

  #unlessBroken<Result>(work: Promise<Result>): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#waiting.add(reject)
      work.then(resolve, reject).finally(() => this.#waiting.delete(reject))
    })
  }
}

interface Transaction {
  readonly changes: Change[]
  made: Set<string>
  isAborted: boolean
}

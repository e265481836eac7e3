/** The parked rows of a shard (P3): how many there are, for alerting, and what an operator does with them. */
import type { Logger } from 'pino'
import type { ParkedDetail, ParkedSummary } from '../engine/parked-row.js'
import type { Sql } from './postgres/connection.js'
import type { Projector } from './projector/projector.js'
import { ParkedRetry, type RetryAllOutcome, type RetryOutcome } from './projector/retry.js'
import { countParked, findParked, listParked } from './queries/parked.js'

/** They also go by hand, with SQL. */
const RECOUNT_INTERVAL_MS = 15_000

export class ParkedRows {
  #count = 0
  #timer: NodeJS.Timeout | undefined

  constructor(
    private readonly sql: Sql,
    private readonly url: string,
    private readonly shard: string,
    private readonly log: Logger,
  ) {}

  /** Parked now, as far as is known. */
  get count(): number {
    return this.#count
  }

  /** Counts them, and keeps counting. */
  async follow(projector: Projector): Promise<void> {
    projector.onParked((count) => {
      this.#count += count
    })
    await this.#recount()
    if (this.#count > 0) this.log.error({ count: this.#count }, 'rows are parked: see `comptroller parked list`')
    this.#timer = setInterval(() => this.#recountIfPossible(), RECOUNT_INTERVAL_MS)
    this.#timer.unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  list(page: { isResolved: boolean; afterId: number; limit: number }): Promise<ParkedSummary[]> {
    return listParked(this.sql, this.shard, page)
  }

  find(id: number): Promise<ParkedDetail | null> {
    return findParked(this.sql, this.shard, id)
  }

  async retry(id: number): Promise<RetryOutcome> {
    const outcome = await ParkedRetry.with(this.url, this.shard, (retry) => retry.one(id))
    this.log.info({ id, ...outcome }, 'a parked row was retried')
    await this.#recountIfPossible()
    return outcome
  }

  async retryAll(page: { afterId: number; limit: number }): Promise<RetryAllOutcome> {
    const outcome = await ParkedRetry.with(this.url, this.shard, (retry) => retry.all(page))
    this.log.info({ ...page, ...outcome }, 'parked rows were retried')
    await this.#recountIfPossible()
    return outcome
  }

  /** While Postgres is away the last count stands. */
  async #recountIfPossible(): Promise<void> {
    await this.#recount().catch(() => {})
  }

  async #recount(): Promise<void> {
    this.#count = await countParked(this.sql, this.shard)
  }
}

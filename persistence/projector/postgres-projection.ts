/** The projection in Postgres. */
import postgres from 'postgres'
import { errorCode } from '../postgres/connection.js'
import type { ParkedRow } from './batch.js'
import { arrayText, rowJson } from './columns.js'
import type { ProjectorLimits } from './limits.js'
import { type ProjectionSession, RowRefusedError } from './port.js'
import { type Parameter, type Result, Session } from './session.js'
import type { Write } from './target.js'

export class PostgresProjection implements ProjectionSession {
  #purgedAt = Number.NEGATIVE_INFINITY

  private constructor(
    private readonly session: Session,
    private readonly shard: string,
    private readonly limits: ProjectorLimits,
  ) {}

  static async open(url: string, shard: string, limits: ProjectorLimits): Promise<PostgresProjection> {
    return new PostgresProjection(await Session.open(url, `comptroller projector ${shard}`), shard, limits)
  }

  async readMark(): Promise<number> {
    await this.session.query('insert into projector_mark values ($1, 0, 0) on conflict do nothing', [this.shard])
    const [mark] = await this.session.query('select applied_seq from projector_mark where shard = $1', [this.shard])
    return Number(mark?.applied_seq)
  }

  transaction<Done>(work: () => Promise<Done>): Promise<Done> {
    return this.session.transaction(work)
  }

  attempt<Done>(work: () => Promise<Done>): Promise<Done> {
    return this.session.attempt(work)
  }

  // P1
  async moveMark(from: number, to: number, at: number): Promise<boolean> {
    const { count } = await this.session.query(
      `update projector_mark set applied_seq = $3, applied_at_ms = $4, updated_at = now()
       where shard = $1 and applied_seq = $2`,
      [this.shard, from, to, at],
    )
    return count > 0
  }

  async write({ statement, entries }: Write): Promise<void> {
    await this.#refusable(
      statement.text,
      statement.columns.map((name) => arrayText(entries, name)),
    )
  }

  async park(rows: readonly ParkedRow[]): Promise<void> {
    const column = (value: (row: ParkedRow) => Parameter) =>
      arrayText(
        rows.map((row) => ({ row: { value: value(row) } })),
        'value',
      )
    await this.session.query(
      `insert into dead_letters (shard, seq, table_name, error_code, error, row)
       select $1, * from unnest($2::int8[], $3::text[], $4::text[], $5::text[], $6::json[])`,
      [
        this.shard,
        column(({ seq }) => seq),
        column(({ table }) => table),
        column(({ errorCode: code }) => code),
        column(({ error }) => error),
        column(({ row }) => rowJson(row)),
      ],
    )
  }

  /** Client keys older than the window are of no use. Goes by the time of the records, so a replay purges alike. */
  async housekeep(at: number): Promise<void> {
    const { idempotencyWindowMs, purgeIntervalMs, purgeRowsMax } = this.limits
    if (performance.now() - this.#purgedAt < purgeIntervalMs) return
    this.#purgedAt = performance.now()
    await this.session.query(
      `delete from idempotency where ctid = any(array(
         select ctid from idempotency where shard = $1 and not forever and at_ms < $2 order by at_ms limit $3))`,
      [this.shard, at - idempotencyWindowMs, purgeRowsMax],
    )
  }

  end(): Promise<void> {
    return this.session.end()
  }

  async #refusable(text: string, parameters: readonly Parameter[]): Promise<Result> {
    try {
      return await this.session.query(text, parameters)
    } catch (error) {
      if (isRefusal(error)) throw new RowRefusedError(error.code, error.message)
      throw error
    }
  }
}

/**
 * About rows: data exceptions (22), integrity violations (23), a key too long for its index (54000), and two rows of
 * one key in a statement (21), which pass one by one. Anything else may pass with time.
 */
const refusals = /^(2[123]|54000)/

function isRefusal(error: unknown): error is postgres.PostgresError {
  return error instanceof postgres.PostgresError && refusals.test(errorCode(error))
}

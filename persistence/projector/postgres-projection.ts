/** The projection in Postgres. */
import postgres from 'postgres'
import { pack } from '../../engine/record.js'
import { errorCode } from '../postgres/connection.js'
import { Session } from '../postgres/session.js'
import type { ParkedRow, RowKey } from './batch.js'
import { CodeFold } from './code-fold.js'
import { arrayText, rowJson } from './columns.js'
import type { ProjectorLimits } from './limits.js'
import { type ProjectionSession, RowRefusedError } from './port.js'
import type { Write } from './target.js'

export class PostgresProjection implements ProjectionSession {
  readonly #codeFold: CodeFold
  #purgedAt = Number.NEGATIVE_INFINITY
  #holdsKeys = false

  private constructor(
    private readonly session: Session,
    private readonly shard: string,
    private readonly limits: ProjectorLimits,
  ) {
    this.#codeFold = new CodeFold(session, shard, limits)
  }

  static async open(url: string, shard: string, limits: ProjectorLimits): Promise<PostgresProjection> {
    return new PostgresProjection(await Session.open(url, `comptroller projector ${shard}`), shard, limits)
  }

  async readMark(): Promise<number> {
    await this.session.query('insert into projector_mark values ($1, 0, 0) on conflict do nothing', [this.shard])
    const [mark] = await this.session.query('select applied_seq from projector_mark where shard = $1', [this.shard])
    await this.#lookForKeys()
    return Number(mark?.applied_seq)
  }

  get holdsKeys(): boolean {
    return this.#holdsKeys
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

  write(write: Write): Promise<void> {
    return writeRows(this.session, write)
  }

  async park(rows: readonly ParkedRow[]): Promise<void> {
    const column = (value: (row: ParkedRow) => Cell) => columnText(rows, value)
    await this.session.query(
      `insert into dead_letters
         (shard, seq, table_name, kind, row_key, error_code, error, row, entry, at_ms, packed)
       select $1, * from unnest($2::int8[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::json[],
         $9::int4[], $10::int8[], $11::bytea[])`,
      [
        this.shard,
        column(({ seq }) => seq),
        column(({ table }) => table),
        column(({ kind }) => kind),
        column(({ key }) => key),
        column(({ errorCode: code }) => code),
        column(({ error }) => error),
        column(({ row }) => rowJson(row)),
        column(({ source }) => source?.entry ?? null),
        column(({ source }) => source?.at ?? null),
        column(({ kind, row }) => (kind === 'fact' ? pack(row) : null)),
      ],
    )
    if (rows.some(({ key }) => key !== null)) this.#holdsKeys = true
  }

  async heldKeys(keys: readonly RowKey[]): Promise<readonly RowKey[]> {
    const found = await this.session.query(
      `select sent.place from unnest($2::text[], $3::text[]) with ordinality as sent (table_name, row_key, place)
       where exists (
         select from dead_letters parked where parked.shard = $1 and parked.resolved_at is null
           and parked.table_name = sent.table_name and parked.row_key = sent.row_key)`,
      [this.shard, columnText(keys, ({ table }) => table), columnText(keys, ({ key }) => key)],
    )
    // They may all have been retried.
    if (found.length === 0) await this.#lookForKeys()
    return found.flatMap(({ place }) => keys[Number(place) - 1] ?? [])
  }

  async housekeep(at: number): Promise<void> {
    await this.#purgeKeys(at)
    await this.#codeFold.step()
  }

  end(): Promise<void> {
    return this.session.end()
  }

  /** Client keys older than the window are of no use. Goes by the time of the records, so a replay purges alike. */
  async #purgeKeys(at: number): Promise<void> {
    const { idempotencyWindowMs, purgeIntervalMs, purgeRowsMax } = this.limits
    if (performance.now() - this.#purgedAt < purgeIntervalMs) return
    this.#purgedAt = performance.now()
    await this.session.query(
      `delete from idempotency where ctid = any(array(
         select ctid from idempotency where shard = $1 and not forever and at_ms < $2 order by at_ms limit $3))`,
      [this.shard, at - idempotencyWindowMs, purgeRowsMax],
    )
  }

  async #lookForKeys(): Promise<void> {
    const found = await this.session.query(
      'select from dead_letters where shard = $1 and resolved_at is null and row_key is not null limit 1',
      [this.shard],
    )
    this.#holdsKeys = found.length > 0
  }
}

type Cell = string | number | Uint8Array | null

function columnText<Row>(rows: readonly Row[], value: (row: Row) => Cell): string {
  return arrayText(
    rows.map((row) => ({ row: { value: value(row) } })),
    'value',
  )
}

/** Writes rows in the transaction of the session. Rejects with RowRefusedError. */
export async function writeRows(session: Session, { target, statement, entries }: Write): Promise<void> {
  const parameters = statement.columns.map((name) => arrayText(entries, name))
  const { count } = await session.query(statement.text, parameters).catch((error: unknown) => {
    if (isRefusal(error)) throw new RowRefusedError(error.code, error.message)
    throw error
  })
  if (target.mode === 'patch' && count < entries.length) {
    throw new RowRefusedError('no_row', `There is no such row in ${target.table} to change.`)
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

/**
 * Writes parked rows after all, when an operator says so (P3).
 *
 * R1 A row goes to its table and is marked as resolved in one transaction, or stays parked with its new error. Its
 *    lock makes that happen once, however often and by whomever it is asked for.
 * R2 The mark of the shard is locked meanwhile, as it is by every batch: a retry and the write-behind never interleave.
 * R3 What is parked under one key is written in the order of its records, and only up to the first that is refused;
 *    as nothing newer was written under that key (K2), nothing newer is overwritten.
 * R4 A fact is made into rows anew, as this version of the program does it. Only rows that depend on no others are
 *    written: no fact that changes rows by key is ever unreadable.
 */
import { unpack } from '../../engine/record.js'
import { Session } from '../postgres/session.js'
import { Batch } from './batch.js'
import type { AnyRow } from './columns.js'
import { foldFact, targets } from './fold.js'
import { isNeededAtStart, targetOf } from './parking.js'
import { RowRefusedError } from './port.js'
import { writeRows } from './postgres-projection.js'
import { type Write, writesOf } from './target.js'

/** How long a retry waits for a batch under way. */
const LOCK_TIMEOUT_MS = 10_000
/** Rows of one key that one transaction writes. */
const ROWS_PER_KEY_MAX = 1_000

export interface RetryOutcome {
  readonly found: boolean
  /** Rows that are in their table now. */
  readonly resolved: number
  /** Under the same key, the first that is not yet retried for lack of room in one transaction. */
  readonly nextId: number | null
  /** Why the first of those that stay parked was refused again. */
  readonly errorCode: string | null
  readonly error: string | null
}

export interface RetryAllOutcome {
  readonly resolved: number
  /** Rows or keys whose first row was refused again. */
  readonly refused: number
  /** Where to go on; null when all were tried. */
  readonly nextAfterId: number | null
}

interface Parked {
  readonly id: bigint
  readonly seq: bigint
  readonly table_name: string
  readonly kind: 'put' | 'patch' | 'remove' | 'fact'
  readonly row_key: string | null
  readonly row: unknown
  readonly entry: number | null
  readonly at_ms: bigint | null
  readonly packed: Uint8Array | null
  readonly resolved_at: Date | null
}

const nothing: RetryOutcome = { found: true, resolved: 0, nextId: null, errorCode: null, error: null }

export class ParkedRetry {
  private constructor(
    private readonly session: Session,
    private readonly shard: string,
  ) {}

  /** Does `work` on a connection of its own. */
  static async with<Done>(url: string, shard: string, work: (retry: ParkedRetry) => Promise<Done>): Promise<Done> {
    const session = await Session.open(url, `comptroller retry ${shard}`)
    try {
      return await work(new ParkedRetry(session, shard))
    } finally {
      await session.end()
    }
  }

  /** Retries one row, with all that is parked under its key. Repeating it is harmless. */
  one(id: number): Promise<RetryOutcome> {
    return this.session.transaction(async () => {
      await this.#lockMark()
      const [asked] = await this.#select('id = $2', [id])
      if (asked === undefined) return { ...nothing, found: false }
      if (asked.resolved_at !== null) return nothing
      return this.#writeInOrder(asked.row_key === null ? [asked] : await this.#underKeyOf(asked))
    })
  }

  /** Retries rows in the order they were parked, `limit` rows or keys at most, one transaction each. */
  async all({ afterId, limit }: { readonly afterId: number; readonly limit: number }): Promise<RetryAllOutcome> {
    const ids = await this.#firstOfEachKey(afterId, limit)
    let resolved = 0
    let refused = 0
    for (const id of ids) {
      for (let next: number | null = id; next !== null; ) {
        const outcome: RetryOutcome = await this.one(next)
        resolved += outcome.resolved
        if (outcome.error !== null) refused += 1
        next = outcome.nextId
      }
    }
    return { resolved, refused, nextAfterId: ids.length === limit ? (ids.at(-1) ?? null) : null }
  }

  // R2
  async #lockMark(): Promise<void> {
    await this.session.query(`set local lock_timeout = ${LOCK_TIMEOUT_MS}`)
    await this.session.query('select from projector_mark where shard = $1 for update', [this.shard])
  }

  async #select(where: string, parameters: readonly (string | number | bigint)[]): Promise<Parked[]> {
    const rows = await this.session.query(
      `select id, seq, table_name, kind, row_key, row, entry, at_ms, packed, resolved_at from dead_letters
       where shard = $1 and ${where}`,
      [this.shard, ...parameters],
    )
    return rows as unknown as Parked[]
  }

  #underKeyOf({ table_name, row_key }: Parked): Promise<Parked[]> {
    return this.#select(
      `resolved_at is null and table_name = $2 and row_key = $3 order by seq, id limit ${ROWS_PER_KEY_MAX + 1}`,
      [table_name, row_key ?? ''],
    )
  }

  async #firstOfEachKey(afterId: number, limit: number): Promise<number[]> {
    const rows = await this.session.query(
      `select id from dead_letters parked
       where shard = $1 and id > $2 and resolved_at is null and not exists (
         select from dead_letters earlier
         where earlier.shard = parked.shard and earlier.table_name = parked.table_name
           and earlier.row_key = parked.row_key and earlier.resolved_at is null
           and (earlier.seq, earlier.id) < (parked.seq, parked.id))
       order by id limit $3`,
      [this.shard, afterId, limit],
    )
    return rows.map(({ id }) => Number(id))
  }

  // R3
  async #writeInOrder(rows: readonly Parked[]): Promise<RetryOutcome> {
    let resolved = 0
    for (const row of rows.slice(0, ROWS_PER_KEY_MAX)) {
      try {
        await this.session.attempt(() => this.#write(row))
      } catch (error) {
        if (!(error instanceof RowRefusedError)) throw error
        await this.#stays(row, error)
        return { ...nothing, resolved, errorCode: error.code, error: error.message }
      }
      await this.#isResolved(row)
      resolved += 1
    }
    const next = rows[ROWS_PER_KEY_MAX]
    return { ...nothing, resolved, nextId: next === undefined ? null : Number(next.id) }
  }

  async #write(row: Parked): Promise<void> {
    const writes = row.kind === 'fact' ? writesOfFact(row) : writesOfRow(row, row.kind)
    for (const write of writes) await writeRows(this.session, write)
  }

  /** What is where it belongs need not be kept here too. */
  async #isResolved({ id }: Parked): Promise<void> {
    await this.session.query(
      `update dead_letters set resolved_at = now(), tried_at = now(), attempts = attempts + 1, row = null, packed = null
       where id = $1`,
      [id],
    )
  }

  async #stays({ id }: Parked, { code, message }: RowRefusedError): Promise<void> {
    await this.session.query(
      `update dead_letters set tried_at = now(), attempts = attempts + 1, error_code = $2, error = $3 where id = $1`,
      [id, code, message],
    )
  }
}

function writesOfRow({ table_name, seq, row }: Parked, kind: 'put' | 'patch' | 'remove'): Write[] {
  const target = targetOf(table_name, kind)
  if (target === undefined || isNeededAtStart(table_name)) {
    throw new RowRefusedError('not_retryable', `This version of the program does not write to ${table_name} like that.`)
  }
  const known = Object.entries(row as AnyRow).filter(([name]) => Object.hasOwn(target.columns, name))
  const entry = { seq: Number(seq), row: Object.fromEntries(known) as AnyRow, removed: kind === 'remove' }
  return writesOf(target, [entry])
}

// R4
function writesOfFact({ seq, packed, entry, at_ms }: Parked): Write[] {
  if (packed === null) throw new RowRefusedError('not_retryable', 'An older version parked it without its contents.')
  const batch = new Batch(Number(seq) - 1)
  const source = { seq: Number(seq), entry: entry ?? 0, at: Number(at_ms) }
  batch.begin(source.seq, source.at)
  try {
    foldFact(unpack(packed), source, batch)
  } catch (error) {
    throw new RowRefusedError('unreadable', error instanceof Error ? error.message : String(error))
  }
  const writes = batch.writes(targets)
  const byKey = writes.find(({ target }) => target.mode !== 'insert')
  if (byKey === undefined) return writes
  throw new RowRefusedError('not_retryable', `It changes rows of ${byKey.target.table}, which may have newer changes.`)
}

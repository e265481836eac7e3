/**
 * Writes a batch to Postgres.
 *
 * P1 The mark moves in the transaction that writes the rows, and only from the record the batch follows: what is
 *    applied already is never applied twice. P3 A refused row is parked in that same transaction, with its error.
 */
import postgres from 'postgres'
import { errorCode } from '../postgres/connection.js'
import type { Batch, ParkedRow } from './batch.js'
import { arrayText, rowJson } from './columns.js'
import { targets } from './fold.js'
import type { Parameter, Session } from './session.js'
import type { Entry, Write } from './target.js'

/** The mark is not where the batch begins: somebody else has applied these records. */
export class MarkMovedError extends Error {
  override readonly name = 'MarkMovedError'
}

export interface Applied {
  readonly rows: number
  readonly parked: readonly ParkedRow[]
}

/** The last record whose rows are in Postgres. */
export async function readMark(session: Session, shard: string): Promise<number> {
  await session.query('insert into projector_mark values ($1, 0, 0) on conflict do nothing', [shard])
  const [mark] = await session.query('select applied_seq from projector_mark where shard = $1', [shard])
  return Number(mark?.applied_seq)
}

/** Commits the batch. Throws MarkMovedError, and whatever Postgres throws that is not about a single row. */
export async function applyBatch(session: Session, shard: string, batch: Batch): Promise<Applied> {
  const writes = batch.writes(targets)
  const rows = writes.reduce((sum, { entries }) => sum + entries.length, 0)
  try {
    await session.transaction(async () => {
      await moveMark(session, shard, batch)
      await Promise.all(writes.map(({ statement, entries }) => execute(session, statement, entries)))
      await park(session, shard, batch.parked)
    })
    return { rows, parked: batch.parked }
  } catch (error) {
    if (!isRefusal(error)) throw error
  }
  const parked = [...batch.parked]
  await session.transaction(async () => {
    await moveMark(session, shard, batch)
    for (const write of writes) await executeAround(session, write, parked)
    await park(session, shard, parked)
  })
  return { rows: rows - (parked.length - batch.parked.length), parked }
}

// P1
async function moveMark(session: Session, shard: string, { previousSeq, lastSeq, lastAt }: Batch): Promise<void> {
  const { count } = await session.query(
    `update projector_mark set applied_seq = $3, applied_at_ms = $4, updated_at = now()
     where shard = $1 and applied_seq = $2`,
    [shard, previousSeq, lastSeq, lastAt],
  )
  if (count === 0) throw new MarkMovedError(`the mark of ${shard} is not at ${previousSeq}`)
}

function execute(session: Session, { text, columns }: Write['statement'], entries: readonly Entry[]) {
  return session.query(
    text,
    columns.map((name) => arrayText(entries, name)),
  )
}

/** P3: writes what can be written; halves what cannot until the refused rows stand alone. */
async function executeAround(session: Session, write: Write, parked: ParkedRow[]): Promise<void> {
  const { table, statement, entries } = write
  try {
    await session.attempt(() => execute(session, statement, entries))
    return
  } catch (error) {
    if (!isRefusal(error)) throw error
    const [only] = entries
    if (only !== undefined && entries.length === 1) {
      parked.push({ seq: only.seq, table, errorCode: error.code, error: error.message, row: only.row })
      return
    }
  }
  const middle = entries.length >> 1
  await executeAround(session, { table, statement, entries: entries.slice(0, middle) }, parked)
  await executeAround(session, { table, statement, entries: entries.slice(middle) }, parked)
}

/**
 * About rows: data exceptions (22), integrity violations (23), a key too long for its index (54000), and two rows of
 * one key in a statement (21), which pass one by one. Anything else may pass with time.
 */
const refusals = /^(2[123]|54000)/

function isRefusal(error: unknown): error is postgres.PostgresError {
  return error instanceof postgres.PostgresError && refusals.test(errorCode(error))
}

async function park(session: Session, shard: string, parked: readonly ParkedRow[]): Promise<void> {
  if (parked.length === 0) return
  const column = (value: (row: ParkedRow) => Parameter) =>
    arrayText(
      parked.map((row) => ({ row: { value: value(row) } })),
      'value',
    )
  await session.query(
    `insert into dead_letters (shard, seq, table_name, error_code, error, row)
     select $1, * from unnest($2::int8[], $3::text[], $4::text[], $5::text[], $6::json[])`,
    [
      shard,
      column(({ seq }) => seq),
      column(({ table }) => table),
      column(({ errorCode: code }) => code),
      column(({ error }) => error),
      column(({ row }) => rowJson(row)),
    ],
  )
}

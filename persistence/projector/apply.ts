/**
 * Writes a batch to Postgres.
 *
 * P1 The mark moves in the transaction that writes the rows, and only from the record the batch follows: what is
 *    applied already is never applied twice. P3 A refused row is parked in that same transaction, with its error.
 */
import postgres from 'postgres'
import { errorCode, type Sql, type Transaction } from '../postgres/connection.js'
import type { Batch, ParkedRow } from './batch.js'
import { arrayText, rowJson } from './columns.js'
import { targets } from './fold.js'
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
export async function readMark(sql: Sql, shard: string): Promise<number> {
  await sql`insert into projector_mark (shard, applied_seq, applied_at_ms) values (${shard}, 0, 0) on conflict do nothing`
  const [mark] = await sql<{ applied_seq: bigint }[]>`select applied_seq from projector_mark where shard = ${shard}`
  return Number(mark?.applied_seq)
}

/** Commits the batch. Throws MarkMovedError, and whatever Postgres throws that is not about a single row. */
export async function applyBatch(sql: Sql, shard: string, batch: Batch): Promise<Applied> {
  const writes = batch.writes(targets)
  const rows = writes.reduce((sum, { entries }) => sum + entries.length, 0)
  try {
    await inTransaction(sql, shard, batch, async (tx) => {
      await Promise.all(writes.map((write) => execute(tx, write.statement, write.entries)))
      await park(tx, shard, batch.parked)
    })
    return { rows, parked: batch.parked }
  } catch (error) {
    if (!isRefusal(error)) throw error
  }
  const parked = [...batch.parked]
  await inTransaction(sql, shard, batch, async (tx) => {
    parked.length = batch.parked.length
    for (const write of writes) await executeAround(tx, write, parked)
    await park(tx, shard, parked)
  })
  return { rows: rows - (parked.length - batch.parked.length), parked }
}

// P1
async function inTransaction(sql: Sql, shard: string, batch: Batch, work: (tx: Transaction) => Promise<void>) {
  await sql.begin(async (tx) => {
    const moved = await tx`
      update projector_mark set applied_seq = ${batch.lastSeq}, applied_at_ms = ${batch.lastAt}, updated_at = now()
      where shard = ${shard} and applied_seq = ${batch.previousSeq}`
    if (moved.count === 0) throw new MarkMovedError(`the mark of ${shard} is not at ${batch.previousSeq}`)
    await work(tx)
  })
}

function execute(tx: Transaction, { text, columns }: Write['statement'], entries: readonly Entry[]) {
  const arrays = columns.map((name) => arrayText(entries, name))
  return tx.unsafe(text, arrays, { prepare: true })
}

/** P3: writes what can be written; halves what cannot until the refused rows stand alone. */
async function executeAround(tx: Transaction, write: Write, parked: ParkedRow[]): Promise<void> {
  const { table, statement, entries } = write
  try {
    await tx.savepoint((inner) => execute(inner, statement, entries))
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
  await executeAround(tx, { table, statement, entries: entries.slice(0, middle) }, parked)
  await executeAround(tx, { table, statement, entries: entries.slice(middle) }, parked)
}

/**
 * About rows: data exceptions (22), integrity violations (23), a key too long for its index (54000), and two rows of
 * one key in a statement (21), which pass one by one. Anything else may pass with time.
 */
const refusals = /^(2[123]|54000)/

function isRefusal(error: unknown): error is postgres.PostgresError {
  return error instanceof postgres.PostgresError && refusals.test(errorCode(error))
}

async function park(tx: Transaction, shard: string, parked: readonly ParkedRow[]): Promise<void> {
  if (parked.length === 0) return
  const column = (value: (row: ParkedRow) => string) =>
    arrayText(
      parked.map((row) => ({ row: { it: value(row) } })),
      'it',
    )
  await tx`
    insert into dead_letters (shard, seq, table_name, error_code, error, row)
    select ${shard}, * from unnest(
      ${column(({ seq }) => String(seq))}::int8[], ${column(({ table }) => table)}::text[],
      ${column(({ errorCode: code }) => code)}::text[], ${column(({ error }) => error)}::text[],
      ${column(({ row }) => rowJson(row))}::json[])`
}

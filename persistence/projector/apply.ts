/**
 * Writes a batch to the database.
 *
 * P1 The mark moves in the transaction that writes the rows, and only from the record the batch follows: what is
 *    applied already is never applied twice. P3 A refused row is parked in that same transaction, with its error.
 */
import type { Batch, ParkedRow } from './batch.js'
import { targets } from './fold.js'
import { type ProjectionSession, RowRefusedError } from './port.js'
import type { Write } from './target.js'

/** The mark is not where the batch begins: somebody else has applied these records. */
export class MarkMovedError extends Error {
  override readonly name = 'MarkMovedError'
}

export interface Applied {
  readonly rows: number
  readonly parked: readonly ParkedRow[]
}

/** Commits the batch. Throws MarkMovedError, and whatever the database throws that is not about a single row. */
export async function applyBatch(session: ProjectionSession, batch: Batch): Promise<Applied> {
  const writes = batch.writes(targets)
  const rows = writes.reduce((sum, { entries }) => sum + entries.length, 0)
  try {
    await session.transaction(async () => {
      await moveMark(session, batch)
      await Promise.all(writes.map((write) => session.write(write)))
      if (batch.parked.length > 0) await session.park(batch.parked)
    })
    return { rows, parked: batch.parked }
  } catch (error) {
    if (!(error instanceof RowRefusedError)) throw error
  }
  const parked = [...batch.parked]
  await session.transaction(async () => {
    await moveMark(session, batch)
    for (const write of writes) await writeAround(session, write, parked)
    if (parked.length > 0) await session.park(parked)
  })
  return { rows: rows - (parked.length - batch.parked.length), parked }
}

// P1
async function moveMark(session: ProjectionSession, { previousSeq, lastSeq, lastAt }: Batch): Promise<void> {
  if (await session.moveMark(previousSeq, lastSeq, lastAt)) return
  throw new MarkMovedError(`the mark is not at ${previousSeq}`)
}

/** P3: writes what can be written; halves what cannot until the refused rows stand alone. */
async function writeAround(session: ProjectionSession, write: Write, parked: ParkedRow[]): Promise<void> {
  const { target, entries } = write
  try {
    await session.attempt(() => session.write(write))
    return
  } catch (error) {
    if (!(error instanceof RowRefusedError)) throw error
    const [only] = entries
    if (only !== undefined && entries.length === 1) {
      parked.push({ seq: only.seq, table: target.table, errorCode: error.code, error: error.message, row: only.row })
      return
    }
  }
  const middle = entries.length >> 1
  await writeAround(session, { ...write, entries: entries.slice(0, middle) }, parked)
  await writeAround(session, { ...write, entries: entries.slice(middle) }, parked)
}

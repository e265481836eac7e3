/**
 * Writes a batch to the database.
 *
 * P1 The mark moves in the transaction that writes the rows, and only from the record the batch follows: what is
 *    applied already is never applied twice. P3 A refused row is parked in that same transaction, with its error;
 *    parking.ts says what follows from that (K1, K2).
 */
import type { Batch, ParkedRow, RowKey } from './batch.js'
import { targets } from './fold.js'
import { isNeededAtStart, kindOf, rowKeyOf } from './parking.js'
import { BlockedError, type ProjectionSession, RowRefusedError } from './port.js'
import type { Entry, Target, Write } from './target.js'

/** The mark is not where the batch begins: somebody else has applied these records. */
export class MarkMovedError extends Error {
  override readonly name = 'MarkMovedError'
}

export interface Applied {
  readonly rows: number
  readonly parked: readonly ParkedRow[]
}

/**
 * Commits the batch. Throws MarkMovedError, BlockedError, and whatever the database throws that is not about a single
 * row.
 */
export async function applyBatch(session: ProjectionSession, batch: Batch): Promise<Applied> {
  const writes = batch.writes(targets)
  const rows = writes.reduce((sum, { entries }) => sum + entries.length, 0)
  if (!session.holdsKeys && (await applyWhole(session, batch, writes))) return { rows, parked: batch.parked }
  const parked = [...batch.parked]
  await session.transaction(async () => {
    await moveMark(session, batch)
    const around = new WriteAround(session, parked)
    await around.askForHeldKeys(writes)
    for (const write of writes) await around.write(write)
    if (parked.length > 0) await session.park(parked)
  })
  return { rows: rows - (parked.length - batch.parked.length), parked }
}

/** All statements sent at once, which is fast. False when a row is refused: then nothing has changed. */
async function applyWhole(session: ProjectionSession, batch: Batch, writes: readonly Write[]): Promise<boolean> {
  try {
    await session.transaction(async () => {
      await moveMark(session, batch)
      await Promise.all(writes.map((write) => session.write(write)))
      if (batch.parked.length > 0) await session.park(batch.parked)
    })
    return true
  } catch (error) {
    if (error instanceof RowRefusedError) return false
    throw error
  }
}

// P1
async function moveMark(session: ProjectionSession, { previousSeq, lastSeq, lastAt }: Batch): Promise<void> {
  if (await session.moveMark(previousSeq, lastSeq, lastAt)) return
  throw new MarkMovedError(`the mark is not at ${previousSeq}`)
}

/** P3: writes what can be written and parks the rest. */
class WriteAround {
  readonly #held = new Set<string>()

  constructor(
    readonly session: ProjectionSession,
    readonly parked: ParkedRow[],
  ) {}

  async askForHeldKeys(writes: readonly Write[]): Promise<void> {
    if (!this.session.holdsKeys) return
    const keys = writes.flatMap(({ target: { table }, entries }) =>
      entries.flatMap(({ row }) => keyIn(table, rowKeyOf(table, row))),
    )
    for (const key of await this.session.heldKeys(keys)) this.#held.add(nameOf(key))
  }

  async write(write: Write): Promise<void> {
    const { target, entries } = write
    const free: Entry[] = []
    for (const entry of entries) {
      if (this.#isHeld(target, entry)) {
        this.#park(target, entry, 'behind', 'It waits for a row parked before it under the same key.') // K2
      } else free.push(entry)
    }
    if (free.length > 0) await this.#writeFree({ ...write, entries: free })
  }

  /** Halves what is refused until the refused rows stand alone. */
  async #writeFree(write: Write): Promise<void> {
    const { target, entries } = write
    try {
      await this.session.attempt(() => this.session.write(write))
      return
    } catch (error) {
      if (!(error instanceof RowRefusedError)) throw error
      const [only] = entries
      if (only !== undefined && entries.length === 1) {
        if (isNeededAtStart(target.table)) throw refusedForGood(only.seq, target.table, error) // K1
        this.#park(target, only, error.code, error.message)
        return
      }
    }
    const middle = entries.length >> 1
    await this.#writeFree({ ...write, entries: entries.slice(0, middle) })
    await this.#writeFree({ ...write, entries: entries.slice(middle) })
  }

  #isHeld({ table }: Target, { row }: Entry): boolean {
    return keyIn(table, rowKeyOf(table, row)).some((key) => this.#held.has(nameOf(key)))
  }

  #park(target: Target, entry: Entry, errorCode: string, error: string): void {
    const { table } = target
    const { seq, row } = entry
    const key = rowKeyOf(table, row)
    this.parked.push({ seq, table, kind: kindOf(target, entry), key, errorCode, error, row, source: null })
    for (const held of keyIn(table, key)) this.#held.add(nameOf(held))
  }
}

const keyIn = (table: string, key: string | null): RowKey[] => (key === null ? [] : [{ table, key }])
const nameOf = ({ table, key }: RowKey) => `${table}\n${key}`

function refusedForGood(seq: number, table: string, { message }: RowRefusedError): BlockedError {
  return new BlockedError(
    seq,
    `Postgres refuses a row of ${table} of record ${seq} (${message}). Starts read this table back, so nothing after ` +
      `record ${seq - 1} is written to Postgres until it takes the row. Nothing is lost: the journal keeps it. Take ` +
      'away what forbids the row, such as a constraint or a trigger of your own; write-behind then goes on by itself.',
  )
}

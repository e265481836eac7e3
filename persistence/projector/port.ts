/** What the write-behind asks of its surroundings: a port, so that the simulator can stand in for Postgres and time. */
import type { JournalReader } from '../journal/reader.js'
import type { ParkedRow, RowKey } from './batch.js'
import type { Write } from './target.js'

/** One connection to the database of a shard. Everything rejects once the connection is lost. */
export interface ProjectionSession {
  /** The last record whose rows are in the database; 0 at first. */
  readMark(): Promise<number>
  /** Commits what `work` does, or nothing of it. If the connection is lost at the commit, its fate is unknown. */
  transaction<Done>(work: () => Promise<Done>): Promise<Done>
  /** Does `work` or nothing of it, inside a transaction, which can go on after a failure. */
  attempt<Done>(work: () => Promise<Done>): Promise<Done>
  /** False when the mark is not at `from`: then nothing has changed. `at` is the time of record `to`. */
  moveMark(from: number, to: number, at: number): Promise<boolean>
  /** Rejects with RowRefusedError when the database refuses rows for what they are, or has none to patch. */
  write(write: Write): Promise<void>
  park(rows: readonly ParkedRow[]): Promise<void>
  /** Whether rows may be parked under a key; if not, `heldKeys` need not be asked. */
  readonly holdsKeys: boolean
  /** Those of the keys under which a row is parked: what follows under them must wait. */
  heldKeys(keys: readonly RowKey[]): Promise<readonly RowKey[]>
  /** Removes what is outdated, little by little; called after each batch with the time of its last record. */
  housekeep(at: number): Promise<void>
  end(): Promise<void>
}

/** The database refuses a row for what it is, and always will (P3). */
export class RowRefusedError extends Error {
  override readonly name = 'RowRefusedError'

  constructor(
    /** What the database calls the reason. */
    readonly code: string,
    message: string,
  ) {
    super(message)
  }
}

/**
 * Write-behind cannot go past this record: what a start reads back would be wrong from here on. All before it is
 * written. The message says why, and what to do.
 */
export class BlockedError extends Error {
  override readonly name = 'BlockedError'

  constructor(
    readonly seq: number,
    message: string,
  ) {
    super(message)
  }
}

export interface TailEnvironment {
  connect(): Promise<ProjectionSession>
  openReader(fromSeq: number): JournalReader
  /** Milliseconds since the epoch. */
  now(): number
  /** Milliseconds of a clock that never goes back. */
  elapsed(): number
  /** From 0 to less than 1. */
  random(): number
  /** Calls back once after so many milliseconds; returns a function that cancels. */
  after(ms: number, callback: () => void): () => void
  /** Lets others have the thread. */
  pause(): Promise<void>
}

/** One record as the journal keeps it. `body` may be a view into a read buffer: copy what is kept for long. */
export interface JournalEntry {
  readonly seq: number
  readonly body: Uint8Array
}

/** The engine's view of a shard's journal. */
export interface Journal {
  /** Sequence number of the last appended record; 0 when empty. */
  readonly lastSeq: number
  /** Sequence number of the last record known to be on disk; its outputs and those before it may leave (J1). */
  readonly durableSeq: number
  /**
   * Buffers one record (copied at once). `seq` must be lastSeq + 1. Synchronous, never blocks.
   * Throws, with nothing appended, after a failure or when the backlog limit is reached.
   */
  append(seq: number, body: Uint8Array): void
  /** Entries from `fromSeq` to what is durable at the time of the call, in order, as many at once as come at once. */
  read(fromSeq: number): AsyncIterable<readonly JournalEntry[]>
  /** Drops whole segments that hold only records <= throughSeq. */
  truncate(throughSeq: number): Promise<void>
  /** Flushes what is buffered, then closes. */
  close(): Promise<void>
}

/** What the journal tells its shard. Neither method may throw. */
export interface JournalListener {
  /** Every record up to `seq` is durable (J1). */
  onDurable(seq: number): void
  /** A flush failed: the journal takes no more records and the shard must stop (J4). Called once. */
  onFailure(error: Error): void
}

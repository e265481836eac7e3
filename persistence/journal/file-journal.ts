// The journal of one shard in local files.
//
// - J1 Group commit: one flush in flight, the next batch fills meanwhile. The listener hears of a record only
//   after the fdatasync that covers it; on opening, what is read is synced again before it counts as durable.
// - J2 Frames are checked and chained (format.ts); a torn tail is cut on opening, damage stops it (torn-tail.ts).
// - J4 The first failed or short write or failed sync ends the journal: no retry, no further append.
// - J5 A mark beside the segments tells how far they were durable, so that a cut-off end is noticed (durable-mark.ts).
// - B1 Limits: batchBytesMax, backlogBytesMax, RECORD_BYTES_MAX, SPARE_BATCHES_MAX; gauges in `stats`.
import { AssertionError, assert } from '../../engine/assert.js'
import { DomainError } from '../../engine/errors.js'
import type { Journal, JournalEntry, JournalListener } from '../../engine/journal.js'
import { Batch, RECORD_BYTES_MAX } from './batch.js'
import { DurableMark, readMark } from './durable-mark.js'
import { type JournalFiles, nodeFiles } from './files.js'
import { FRAME_HEADER_BYTES, PAYLOAD_BYTES_MAX, RECORD_PREFIX_BYTES } from './format.js'
import { readAhead } from './read-ahead.js'
import { JournalReader } from './reader.js'
import { recover, type TornTail } from './recover.js'
import { nodeScheduler, type Scheduler } from './scheduler.js'
import { SegmentWriter } from './segment-writer.js'

export interface FileJournalListener extends JournalListener {
  /** After each flush, before onDurable: how many records and bytes it wrote and how long write and sync took. */
  onFlush?(records: number, bytes: number, micros: number): void
}

export interface FileJournalOptions {
  readonly directory: string
  readonly listener: FileJournalListener
  /** A new segment begins when the next frame would pass this size. Default 64 MiB. */
  readonly segmentBytes?: number
  /** truncate() keeps old segments as long as the journal takes no more than this. Default 0: keeps none. */
  readonly retainBytes?: number
  /** A larger backlog is flushed as several frames; a larger record is a frame by itself. Default 4 MiB. */
  readonly batchBytesMax?: number
  /** Appends that would leave more than this unflushed are refused. Default 256 MiB. */
  readonly backlogBytesMax?: number
  /** A record known to have been durable; a journal that ends before it is damaged. Default 0. */
  readonly knownDurableSeq?: number
  readonly files?: JournalFiles
  readonly scheduler?: Scheduler
}

export interface JournalStats {
  /** Since opening. */
  readonly flushes: number
  readonly records: number
  readonly bytes: number
  readonly lastBatchRecords: number
  readonly lastFlushMicros: number
  /** Appended and not yet durable. */
  readonly backlogRecords: number
  readonly backlogBytes: number
  readonly segments: number
  readonly diskBytes: number
}

export interface OpenedJournal {
  readonly journal: FileJournal
  /** What a crash left half-written and was cut, for the caller to log; null if nothing. */
  readonly tail: TornTail | null
}

/**
 * Opens the journal in a directory, creating it if need be, and takes its lock. Throws JournalLockedError or
 * JournalDamagedError.
 */
export async function openFileJournal(options: FileJournalOptions): Promise<OpenedJournal> {
  const { directory, files = nodeFiles } = options
  await files.makeDirectory(directory)
  const unlock = await files.lock(directory)
  try {
    const knownDurableSeq = Math.max(options.knownDurableSeq ?? 0, await readMark(directory, files)) // J5
    const recovered = await recover(directory, files, knownDurableSeq)
    const segments = new SegmentWriter(directory, files, options.segmentBytes ?? SEGMENT_BYTES, recovered)
    const lastSeq = recovered.nextSeq - 1
    const mark = await DurableMark.open(directory, files, lastSeq).catch(async (error: unknown) => {
      await segments.close()
      throw error
    })
    return { journal: new FileJournal(options, { segments, mark, unlock }, lastSeq), tail: recovered.tail }
  } catch (error) {
    await unlock()
    throw error
  }
}

/** What an open journal holds until it is closed. */
interface Held {
  readonly segments: SegmentWriter
  readonly mark: DurableMark
  readonly unlock: () => Promise<void>
}

const SEGMENT_BYTES = 64 * 1024 * 1024
const BATCH_BYTES_MAX = 4 * 1024 * 1024
const BACKLOG_BYTES_MAX = 256 * 1024 * 1024
const SPARE_BATCHES_MAX = 2
/** So many records are worth a thread that reads them. */
const READ_AHEAD_RECORDS_MIN = 20_000

export class FileJournal implements Journal {
  readonly #directory: string
  readonly #files: JournalFiles
  readonly #scheduler: Scheduler
  readonly #listener: FileJournalListener
  readonly #batchBytesMax: number
  readonly #backlogBytesMax: number
  readonly #retainBytes: number
  readonly #held: Held

  #state: 'open' | 'closing' | 'failed' = 'open'
  #failure: Error | null = null
  #lastSeq: number
  #durableSeq: number
  /** Takes the appends; #full are older batches waiting, oldest first, bounded by #backlogBytesMax. */
  #filling = new Batch()
  readonly #full: Batch[] = []
  readonly #spare: Batch[] = []
  #flushing: 'idle' | 'scheduled' | 'running' = 'idle'
  /** Settles when the flushes scheduled so far have run. */
  #flushed: Promise<void> = Promise.resolve()
  #truncated: Promise<void> = Promise.resolve()
  #closed: Promise<void> | null = null
  #backlogBytes = 0
  #totals = { flushes: 0, records: 0, bytes: 0, lastBatchRecords: 0, lastFlushMicros: 0 }

  constructor(options: FileJournalOptions, held: Held, lastSeq: number) {
    this.#directory = options.directory
    this.#files = options.files ?? nodeFiles
    this.#scheduler = options.scheduler ?? nodeScheduler
    this.#listener = options.listener
    this.#batchBytesMax = options.batchBytesMax ?? BATCH_BYTES_MAX
    this.#backlogBytesMax = options.backlogBytesMax ?? BACKLOG_BYTES_MAX
    this.#retainBytes = options.retainBytes ?? 0
    assert(this.#batchBytesMax <= PAYLOAD_BYTES_MAX, `batchBytesMax is at most ${PAYLOAD_BYTES_MAX}`)
    this.#held = held
    this.#lastSeq = lastSeq
    this.#durableSeq = lastSeq
  }

  get lastSeq(): number {
    return this.#lastSeq
  }

  get durableSeq(): number {
    return this.#durableSeq
  }

  get stats(): JournalStats {
    return {
      ...this.#totals,
      backlogRecords: this.#lastSeq - this.#durableSeq,
      backlogBytes: this.#backlogBytes,
      segments: this.#held.segments.count,
      diskBytes: this.#held.segments.bytes,
    }
  }

  append(seq: number, body: Uint8Array): void {
    if (this.#state !== 'open') throw this.#refusal()
    if (seq !== this.#lastSeq + 1) throw new AssertionError(`record ${seq} appended after ${this.#lastSeq}`)
    if (body.length > RECORD_BYTES_MAX)
      throw new AssertionError(`record ${seq} is larger than ${RECORD_BYTES_MAX} bytes`)
    const recordBytes = RECORD_PREFIX_BYTES + body.length
    // One record is taken when nothing else waits: it would find no more room later.
    if (this.#backlogBytes > 0 && this.#backlogBytes + recordBytes > this.#backlogBytesMax) {
      throw new DomainError('unavailable', 'journal_backlog', 'The journal cannot keep up; try again')
    }
    const filled = this.#filling.frameBytes - FRAME_HEADER_BYTES
    if (filled > 0 && filled + recordBytes > this.#batchBytesMax) this.#startBatch()
    this.#filling.add(seq, body)
    this.#lastSeq = seq
    this.#backlogBytes += recordBytes
    if (this.#flushing === 'idle') this.#scheduleFlush()
  }

  read(fromSeq: number): AsyncGenerator<readonly JournalEntry[]> {
    const throughSeq = this.#durableSeq
    const isLong = throughSeq - fromSeq >= READ_AHEAD_RECORDS_MIN
    if (isLong && this.#files === nodeFiles) return readAhead({ directory: this.#directory, fromSeq, throughSeq })
    return this.#readHere(fromSeq, throughSeq)
  }

  async *#readHere(fromSeq: number, throughSeq: number): AsyncGenerator<readonly JournalEntry[]> {
    const reader = new JournalReader({ directory: this.#directory, files: this.#files, fromSeq })
    try {
      while (reader.nextSeq <= throughSeq) yield await reader.next(throughSeq)
    } finally {
      await reader.close()
    }
  }

  /**
   * Drops whole segments that hold only records <= throughSeq, the oldest first, as long as the journal takes more
   * than retainBytes. The newest segment always stays: it carries the sequence and the chain on. A closed journal
   * keeps what it has: write-behind goes on for a while after it.
   */
  truncate(throughSeq: number): Promise<void> {
    if (this.#closed !== null) return Promise.resolve()
    assert(throughSeq <= this.#durableSeq, `truncate through ${throughSeq}, durable is ${this.#durableSeq}`)
    const drop = () => this.#held.segments.truncate(throughSeq, this.#retainBytes)
    this.#truncated = this.#truncated.then(drop, drop)
    return this.#truncated
  }

  /** Rejects if the last flush fails; the listener has then heard of it too. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    const wasOpen = this.#state === 'open'
    if (wasOpen) this.#state = 'closing'
    while (this.#flushing !== 'idle') await this.#flushed
    await this.#truncated.catch(() => {})
    await this.#release()
    if (wasOpen && this.#failure !== null) throw this.#failure
  }

  async #release(): Promise<void> {
    const { segments, mark, unlock } = this.#held
    try {
      if (this.#failure === null) await mark.sync()
    } finally {
      await Promise.allSettled([mark.close(), segments.close()])
      await unlock()
    }
  }

  /** What is appended until the scheduler gets to it shares a batch. */
  #scheduleFlush(): void {
    this.#flushing = 'scheduled'
    this.#flushed = new Promise<void>((resolve) => this.#scheduler.soon(resolve)).then(() => this.#flushAll())
  }

  /** One flush in flight, until nothing is left to flush. */
  async #flushAll(): Promise<void> {
    let flight = this.#startFlush()
    while (flight !== null) {
      let batch: Batch
      try {
        batch = await flight
      } catch (error) {
        this.#fail(error instanceof Error ? error : new Error(String(error)))
        return
      }
      const { lastSeq, recordCount, frameBytes } = batch
      this.#durableSeq = lastSeq
      this.#backlogBytes -= frameBytes - FRAME_HEADER_BYTES
      this.#recycle(batch)
      // The disk goes on with the next batch while the gate opens for this one.
      flight = this.#startFlush()
      this.#listener.onFlush?.(recordCount, frameBytes, this.#totals.lastFlushMicros)
      this.#listener.onDurable(lastSeq) // J1
    }
  }

  #startFlush(): Promise<Batch> | null {
    if (this.#full.length === 0 && this.#filling.recordCount > 0) this.#startBatch()
    const batch = this.#full.shift()
    this.#flushing = batch === undefined ? 'idle' : 'running'
    return batch === undefined ? null : this.#flush(batch)
  }

  async #flush(batch: Batch): Promise<Batch> {
    const startedAt = this.#scheduler.nowMs()
    await this.#held.segments.append(batch)
    await this.#held.mark.advance(batch.lastSeq) // J5
    const totals = this.#totals
    totals.flushes += 1
    totals.records += batch.recordCount
    totals.bytes += batch.frameBytes
    totals.lastBatchRecords = batch.recordCount
    totals.lastFlushMicros = Math.round((this.#scheduler.nowMs() - startedAt) * 1000)
    return batch
  }

  #startBatch(): void {
    this.#full.push(this.#filling)
    this.#filling = this.#spare.pop() ?? new Batch()
  }

  #recycle(batch: Batch): void {
    batch.reset()
    const isOversized = batch.capacityBytes > 2 * this.#batchBytesMax
    if (this.#spare.length < SPARE_BATCHES_MAX && !isOversized) this.#spare.push(batch)
  }

  #fail(error: Error): void {
    this.#state = 'failed' // J4
    this.#failure = error
    this.#flushing = 'idle'
    this.#full.length = 0
    this.#filling.reset()
    this.#listener.onFailure(error)
  }

  #refusal(): Error {
    if (this.#failure === null) return new AssertionError('append to a closed journal')
    return new DomainError('unavailable', 'journal_failed', `The journal failed: ${this.#failure.message}`)
  }
}

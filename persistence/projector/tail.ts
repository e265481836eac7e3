/**
 * Follows the journal and applies it: the journal file is the queue, so a slow Postgres costs disk, not memory.
 *
 * P1 After any failure, also that of a commit whose fate is unknown, the mark in Postgres says where to go on.
 * P2 It never gives up: what is not about a single row is tried again, with growing, jittered delays, each time on a
 *    new connection.
 * P3 A record it cannot go past, because starts would be wrong without it, is reported as what blocks it once all
 *    before it is written, and tried again now and then.
 * B1 Two batches are in memory at most: the one being written and, under load, the next.
 */
import { unpackRecord } from '../../engine/record.js'
import { JournalDamagedError } from '../journal/errors.js'
import type { JournalReader } from '../journal/reader.js'
import { applyBatch, MarkMovedError } from './apply.js'
import { Batch } from './batch.js'
import { foldRecord } from './fold.js'
import type { ProjectorLimits } from './limits.js'
import { BlockedError, type ProjectionSession, type TailEnvironment } from './port.js'
import { type FromWorker, PARKED_REPORTED_MAX } from './protocol.js'

/** Read and folded between two turns of the event loop, which the statements under way need to be sent. */
const SLICE_BYTES = 128 * 1024

export class Tail {
  #durableSeq = 0
  #appliedSeq = 0
  #draining = false
  #isPaused = false
  #wake: (() => void) | undefined
  #failures = 0
  /** No batch goes across from before this record: it or one after it has been found to block. */
  #boundarySeq = 0

  constructor(
    readonly shard: string,
    readonly limits: ProjectorLimits,
    readonly environment: TailEnvironment,
    readonly report: (message: FromWorker) => void,
  ) {}

  announce(durableSeq: number): void {
    this.#durableSeq = Math.max(this.#durableSeq, durableSeq)
    this.#wake?.()
  }

  /** Lets `run` return once everything announced is applied. */
  drain(): void {
    this.#draining = true
    this.#wake?.()
  }

  /** Writes nothing for a while. A batch under way is finished. */
  pause(isPaused: boolean): void {
    this.#isPaused = isPaused
    this.#wake?.()
  }

  async run(): Promise<void> {
    for (;;) {
      try {
        await this.#connected((session) => this.#follow(session))
        return
      } catch (error) {
        const blocked = this.#blockedBy(error)
        if (blocked === undefined) {
          if (!(error instanceof MarkMovedError)) await this.#waitToRetry(error)
        } else if (blocked.seq > this.#appliedSeq + 1) this.#approach(blocked.seq)
        else if (!(await this.#waitToPass(blocked))) return
      }
    }
  }

  async #connected(work: (session: ProjectionSession) => Promise<void>): Promise<void> {
    const session = await this.environment.connect()
    try {
      await work(session)
    } finally {
      await session.end()
    }
  }

  async #follow(session: ProjectionSession): Promise<void> {
    const { environment } = this
    const appliedSeq = await session.readMark()
    this.#appliedSeq = appliedSeq
    this.report({ kind: 'applied', appliedSeq, lagMs: 0, records: 0, rows: 0, batchMillis: 0 })
    const reader = environment.openReader(appliedSeq + 1)
    let ahead: Promise<Batch> | undefined
    try {
      for (;;) {
        const batch = ahead === undefined ? await this.#nextBatch(reader) : await ahead
        if (batch === undefined) return
        const startedAt = environment.elapsed()
        const applying = applyBatch(session, batch)
        ahead = this.#isLoaded(reader) && !this.#isPaused ? this.#fold(reader) : undefined
        ahead?.catch(() => {}) // dealt with when its turn comes
        this.#reportApplied(batch, await applying, startedAt)
        await session.housekeep(batch.lastAt)
      }
    } finally {
      await ahead?.catch(() => {})
      await reader.close()
    }
  }

  #isLoaded(reader: JournalReader): boolean {
    return this.#durableSeq - reader.nextSeq + 1 >= this.limits.lingerRecordsMax
  }

  /** Undefined when draining is done. */
  async #nextBatch(reader: JournalReader): Promise<Batch | undefined> {
    while (this.#isPaused || this.#durableSeq < reader.nextSeq) {
      if (this.#draining) return undefined
      await this.#changed()
    }
    const deadline = this.environment.elapsed() + this.limits.lingerMs
    for (;;) {
      const leftMs = deadline - this.environment.elapsed()
      if (leftMs <= 0 || this.#draining || this.#isLoaded(reader)) return this.#fold(reader)
      await this.#changed(leftMs)
    }
  }

  async #fold(reader: JournalReader): Promise<Batch> {
    const { shard, limits } = this
    const batch = new Batch(reader.nextSeq - 1)
    const isBefore = reader.nextSeq < this.#boundarySeq
    const endSeq = isBefore ? this.#boundarySeq - 1 : this.#durableSeq
    const throughSeq = Math.min(this.#durableSeq, endSeq, batch.previousSeq + limits.batchRecordsMax)
    let bytes = 0
    while (reader.nextSeq <= throughSeq && bytes < limits.batchBytesMax) {
      for (const { seq, body } of await reader.next(throughSeq, SLICE_BYTES)) {
        foldEntry(shard, seq, body, batch)
        bytes += body.length
      }
      await this.environment.pause()
    }
    return batch
  }

  #reportApplied(batch: Batch, { rows, parked }: Awaited<ReturnType<typeof applyBatch>>, startedAt: number): void {
    this.#failures = 0
    this.#appliedSeq = batch.lastSeq
    if (parked.length > 0) {
      const named = parked.slice(0, PARKED_REPORTED_MAX).map(({ row: _, ...what }) => what)
      this.report({ kind: 'parked', rows: named, count: parked.length })
    }
    this.report({
      kind: 'applied',
      appliedSeq: batch.lastSeq,
      lagMs: this.environment.now() - batch.lastAt,
      records: batch.records,
      rows,
      batchMillis: this.environment.elapsed() - startedAt,
    })
  }

  // P2
  async #waitToRetry(error: unknown): Promise<void> {
    const { retryDelayMinMs, retryDelayMaxMs } = this.limits
    const ceilingMs = Math.min(retryDelayMinMs * 2 ** this.#failures, retryDelayMaxMs)
    const delayMs = Math.round(ceilingMs * (0.5 + this.environment.random() / 2))
    this.#failures += 1
    const errorCode = error instanceof Error && 'code' in error ? String(error.code) : ''
    this.report({ kind: 'retrying', error: messageOf(error), errorCode, delayMs })
    await new Promise<void>((resolve) => this.environment.after(delayMs, resolve))
  }

  /** Damage in the journal blocks too: nothing that follows it is known. */
  #blockedBy(error: unknown): BlockedError | undefined {
    if (error instanceof BlockedError) return error
    if (!(error instanceof JournalDamagedError)) return undefined
    return new BlockedError(Math.max(error.expectedSeq, this.#appliedSeq + 1), error.message)
  }

  /** Halves the way: of a row that many records of a batch have changed, only the last record is known. */
  #approach(seq: number): void {
    this.#boundarySeq = this.#appliedSeq + 1 + ((seq - this.#appliedSeq) >> 1)
  }

  /** P3: false when it is to end instead. The record is tried alone. */
  async #waitToPass({ seq, message }: BlockedError): Promise<boolean> {
    const { environment, limits } = this
    this.#boundarySeq = seq + 1
    this.report({ kind: 'blocked', seq, error: message })
    const until = environment.elapsed() + limits.blockedDelayMs
    while (!this.#draining && environment.elapsed() < until) await this.#changed(until - environment.elapsed())
    return !this.#draining
  }

  /** Resolves at the next announcement, at the call to drain, or after `ms`. */
  #changed(ms?: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = ms === undefined ? undefined : this.environment.after(ms, () => this.#wake?.())
      this.#wake = () => {
        cancel?.()
        this.#wake = undefined
        resolve()
      }
    })
  }
}

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error))

/** It passed its checksum, so if it cannot be read the program is to blame, not the disk. */
function foldEntry(shard: string, seq: number, body: Uint8Array, batch: Batch): void {
  try {
    foldRecord(shard, unpackRecord(body), batch)
  } catch (error) {
    throw new BlockedError(
      seq,
      `Record ${seq} of the journal cannot be read (${messageOf(error)}). It is whole, so another version of this ` +
        `program wrote it, or there is a bug. Nothing after record ${seq - 1} is written to Postgres; nothing is ` +
        'lost: the journal keeps it. Start the version that wrote it, or report this with what ' +
        `\`comptroller journal inspect --from ${seq}\` says.`,
    )
  }
}

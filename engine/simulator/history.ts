/**
 * What is known from outside of the records: what was appended, what is truly on the disk, and what was told.
 *
 * Checked all along: nothing is told before its record is on the disk (J1, G1), a start finds everything that was told
 * and every record as it was written (J2, J3).
 */

import {
  decodeFrameHeader,
  FRAME_HEADER_BYTES,
  SEGMENT_HEADER_BYTES,
  segmentFirstSeq,
} from '../../persistence/journal/format.js'
import type { Journal, JournalEntry } from '../journal.js'
import { type TurnRecord, unpackRecord } from '../record.js'
import type { SimulatedDisk } from './disk.js'
import { LostConnectionError } from './postgres.js'
import type { Story } from './story.js'

export class History {
  /** By record number, from 1; those of a process that died before they were on the disk are overwritten. */
  readonly bodies: Uint8Array[] = []
  readonly records: TurnRecord[] = []
  /** The record that holds the outcome of a key. */
  readonly seqByKey = new Map<string, number>()
  /** Every record up to here is on the disk. */
  keptSeq = 0
  /** The last record of which anything was told. */
  toldSeq = 0
  #expectedSeq = 1

  constructor(readonly story: Story) {}

  get lastSeq(): number {
    return this.bodies.length
  }

  /** The journal as the shard sees it, with everything that passes noted. `appliedSeq` is where the database is. */
  watch(journal: Journal, appliedSeq: number): Journal {
    const { story } = this
    this.#onOpened(journal.lastSeq, appliedSeq)
    const onAppend = (seq: number, body: Uint8Array) => this.#onAppend(seq, body)
    const onRead = (entry: JournalEntry) => this.#onRead(entry)
    return {
      get lastSeq() {
        return journal.lastSeq
      },
      get durableSeq() {
        return journal.durableSeq
      },
      append(seq, body) {
        journal.append(seq, body)
        onAppend(seq, body)
      },
      async *read(fromSeq) {
        for await (const entries of journal.read(fromSeq)) {
          entries.forEach(onRead)
          yield entries
        }
      },
      truncate: (throughSeq) => journal.truncate(throughSeq),
      close: () => {
        story.mark('a journal was closed')
        return journal.close()
      },
    }
  }

  #onAppend(seq: number, body: Uint8Array): void {
    this.story.check(
      'records are numbered without gaps',
      seq === this.lastSeq + 1,
      () => `${seq} after ${this.lastSeq}`,
    )
    const record = unpackRecord(Uint8Array.from(body))
    this.bodies.push(Uint8Array.from(body))
    this.records.push(record)
    if (record.idempotency !== null) {
      const { key } = record.idempotency
      const before = this.seqByKey.get(key)
      const isNew = before === undefined || before > seq
      this.story.check('a key has one outcome', isNew, () => `${key} in records ${before} and ${seq}`)
      this.seqByKey.set(key, seq)
    }
    const facts = record.facts.map(({ type }) => type).join(' ')
    this.story.tell(
      'shard',
      `record ${seq}: ${record.input.command} ${facts}${record.consumed ? ` (${record.consumed})` : ''}`,
    )
  }

  #onRead({ seq, body }: JournalEntry): void {
    const written = this.bodies[seq - 1]
    const isSame = written !== undefined && Buffer.compare(written, body) === 0
    this.story.check('a record is read as it was written', isSame, () => `record ${seq}`)
  }

  /** Looks at the disk itself, not at what the journal says of it. */
  onSync(disk: SimulatedDisk): void {
    const segments = [...disk.keptFiles]
      .map(([path, file]) => ({ firstSeq: segmentFirstSeq(path.slice(path.lastIndexOf('/') + 1)), file }))
      .filter(({ firstSeq }) => firstSeq !== null)
      .sort((a, b) => (a.firstSeq ?? 0) - (b.firstSeq ?? 0))
    const newest = segments.at(-1)
    if (newest === undefined) return
    const { kept } = newest.file
    let nextSeq = newest.firstSeq ?? 1
    for (let at = SEGMENT_HEADER_BYTES; at + FRAME_HEADER_BYTES <= kept.length; ) {
      const header = decodeFrameHeader(kept, at)
      if (header === null || header.firstSeq !== nextSeq) break
      at += FRAME_HEADER_BYTES + header.payloadLength
      if (at > kept.length) break
      nextSeq += header.recordCount
    }
    this.keptSeq = nextSeq - 1
  }

  /** Something that saw the state up to `seq` has left the server. */
  onTold(seq: number): void {
    this.story.check('nothing is told before it is on the disk', seq <= this.keptSeq, () => {
      return `record ${seq} was told, ${this.keptSeq} is on the disk`
    })
    this.toldSeq = Math.max(this.toldSeq, seq)
  }

  /** Subscribers of one process hear of every record once, in order. */
  onPublished(seq: number): void {
    this.story.check('subscribers hear every record in order', seq === this.#expectedSeq, () => {
      return `record ${seq}, ${this.#expectedSeq} was due`
    })
    this.#expectedSeq += 1
    this.onTold(seq)
  }

  #onOpened(lastSeq: number, appliedSeq: number): void {
    const { story } = this
    story.check('what was told survives', lastSeq >= this.toldSeq, () => `told ${this.toldSeq}, found ${lastSeq}`)
    story.check('the database is not ahead', appliedSeq <= lastSeq, () => `${appliedSeq} of ${lastSeq}`)
    story.check('no record comes from nowhere', lastSeq <= this.lastSeq, () => `${lastSeq} of ${this.lastSeq}`)
    if (lastSeq < this.lastSeq) story.mark('records nobody was told of were lost')
    for (const { idempotency } of this.records.slice(lastSeq)) {
      if (idempotency !== null) this.seqByKey.delete(idempotency.key)
    }
    this.bodies.length = lastSeq
    this.records.length = lastSeq
    this.#expectedSeq = lastSeq + 1
  }

  onFault(error: unknown): void {
    if (error instanceof LostConnectionError) return
    this.story.check('no turn fails unexpectedly', false, () => String(error instanceof Error ? error.stack : error))
  }

  /** A shard stops for the disk's sake only. */
  onStopped(error: Error): void {
    const isDisk = /^(EIO|ENOSPC|Short write)/.test(error.message)
    this.story.check('a shard stops only for the disk', isDisk, () => String(error.stack))
  }
}

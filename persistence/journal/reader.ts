// Tails a journal from any thread or process: the queue of the write-behind is the journal file itself.
//
// - J1 It looks only at frames the writer announced as durable; bytes behind them may be half-written.
// - J2 Every frame is verified, and a segment must continue the chain of the one before.
// - B1 Memory is one read buffer (READ_BUFFER_BYTES, or one frame if larger) plus what the caller asked for.
import { assert } from '../../engine/assert.js'
import type { JournalEntry } from '../../engine/journal.js'
import { JournalDamagedError } from './errors.js'
import { type JournalFiles, nodeFiles } from './files.js'
import { FRAME_HEADER_BYTES, RECORD_PREFIX_BYTES } from './format.js'
import { type Frame, listSegments, type SegmentFile, SegmentReader } from './segment-reader.js'

/** Default for how many bytes of records one next() returns. */
export const NEXT_BYTES_MAX = 1024 * 1024

export class JournalReader {
  readonly #directory: string
  readonly #files: JournalFiles
  #nextSeq: number
  #segment: SegmentReader | null = null
  #frame: Frame | null = null
  #frameAt = 0
  #frameSeq = 0
  #reading = false

  constructor(options: { readonly directory: string; readonly fromSeq: number; readonly files?: JournalFiles }) {
    assert(options.fromSeq >= 1, 'journal records are numbered from 1')
    this.#directory = options.directory
    this.#files = options.files ?? nodeFiles
    this.#nextSeq = options.fromSeq
  }

  /** Sequence number of the next entry next() will return. */
  get nextSeq(): number {
    return this.#nextSeq
  }

  /**
   * The next entries up to `throughSeq`, which must be durable. Stops before `bytesMax` bytes are passed (bodies,
   * and 4 for each record), but returns at least one entry if there is one; returns none at once when there is
   * nothing up to `throughSeq`.
   * Bodies are views into a read buffer that is not reused: they stay valid, and keep that buffer alive.
   * One call at a time.
   */
  async next(throughSeq: number, bytesMax = NEXT_BYTES_MAX): Promise<JournalEntry[]> {
    assert(!this.#reading, 'JournalReader.next called while another call is running')
    this.#reading = true
    try {
      const entries: JournalEntry[] = []
      let bytesLeft = bytesMax
      while (this.#nextSeq <= throughSeq && bytesLeft > 0) {
        this.#frame ??= await this.#readFrame(throughSeq)
        bytesLeft = this.#takeEntries(this.#frame, entries, throughSeq, bytesLeft)
      }
      return entries
    } finally {
      this.#reading = false
    }
  }

  async close(): Promise<void> {
    const segment = this.#segment
    this.#segment = null
    this.#frame = null
    await segment?.close()
  }

  /** Moves entries of `frame` to `entries`; returns how many bytes may still be taken, 0 to stop. */
  #takeEntries(frame: Frame, entries: JournalEntry[], throughSeq: number, bytesMax: number): number {
    const { bytes } = frame
    let bytesLeft = bytesMax
    while (this.#frameAt < bytes.length && this.#frameSeq <= throughSeq) {
      const bodyAt = this.#frameAt + RECORD_PREFIX_BYTES
      const bodyEnd = bodyAt + bytes.readUInt32LE(this.#frameAt)
      if (this.#frameSeq >= this.#nextSeq) {
        const recordBytes = bodyEnd - this.#frameAt
        if (recordBytes > bytesLeft && entries.length > 0) return 0
        entries.push({ seq: this.#frameSeq, body: bytes.subarray(bodyAt, bodyEnd) })
        this.#nextSeq += 1
        bytesLeft = Math.max(0, bytesLeft - recordBytes)
      }
      this.#frameSeq += 1
      this.#frameAt = bodyEnd
    }
    if (this.#frameAt === bytes.length) this.#frame = null
    return bytesLeft
  }

  async #readFrame(throughSeq: number): Promise<Frame> {
    for (;;) {
      this.#segment ??= await this.#firstSegment()
      const frame = await this.#segment.nextFrame(throughSeq)
      if (frame !== null) {
        this.#frameAt = FRAME_HEADER_BYTES
        this.#frameSeq = frame.firstSeq
        return frame
      }
      await this.#followRotation(this.#segment)
    }
  }

  /** The segment that holds the first entry wanted. */
  async #firstSegment(): Promise<SegmentReader> {
    const segments = await listSegments(this.#directory, this.#files)
    const segment = segments.findLast(({ firstSeq }) => firstSeq <= this.#nextSeq)
    if (segment !== undefined) return SegmentReader.open(segment, this.#files)
    const oldest = segments[0]
    const what = oldest === undefined ? 'there are no segments' : `the oldest segment begins at ${oldest.firstSeq}`
    throw new JournalDamagedError(this.#directory, 0, this.#nextSeq, what)
  }

  /** The segment ended although a later record is durable, so it was rotated. */
  async #followRotation(ended: SegmentReader): Promise<void> {
    if (ended.tornBytes > 0) throw ended.damage('the segment ends in a torn frame, yet this record is durable')
    const following = await this.#segmentAfter(ended)
    if (following === undefined) throw ended.damage('the journal ends here, yet this record is durable')
    const next = await SegmentReader.open(following, this.#files)
    if (!next.chainBefore.equals(ended.chain)) {
      await next.close()
      throw next.damage('the segment does not continue the hash chain of the one before')
    }
    this.#segment = next
    await ended.close()
  }

  async #segmentAfter({ segment, nextSeq }: SegmentReader): Promise<SegmentFile | undefined> {
    if (nextSeq === segment.firstSeq) return undefined // it lost all its frames, and is not the one after itself
    return (await listSegments(this.#directory, this.#files)).find(({ firstSeq }) => firstSeq === nextSeq)
  }
}

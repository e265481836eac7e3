// The segments on disk as the writer sees them: appending frames, rotating, dropping old ones. One call of
// append() at a time; the file journal sees to that.
import { join } from 'node:path'
import type { Batch } from './batch.js'
import { type JournalFiles, writeWhole } from './files.js'
import { encodeSegmentHeader, SEGMENT_HEADER_BYTES, segmentName } from './format.js'
import type { Recovered } from './recover.js'
import type { Position } from './scan.js'
import type { SegmentFile } from './segment-reader.js'

export interface StoredSegment extends SegmentFile {
  bytes: number
}

/** Creates the segment that begins at `position`; durable, with its name, when this returns. */
export async function createSegment(
  directory: string,
  files: JournalFiles,
  position: Position,
): Promise<{ readonly fd: number; readonly segment: StoredSegment }> {
  const { nextSeq: firstSeq, chain } = position
  const path = join(directory, segmentName(firstSeq))
  const fd = await files.create(path)
  try {
    await writeWhole(files, fd, encodeSegmentHeader({ firstSeq, chain }), 0)
    await files.datasync(fd)
    await files.syncDirectory(directory)
  } catch (error) {
    await files.close(fd)
    throw error
  }
  return { fd, segment: { path, firstSeq, bytes: SEGMENT_HEADER_BYTES } }
}

export class SegmentWriter {
  readonly #segments: StoredSegment[]
  #active: StoredSegment
  #fd: number
  #chain: Buffer

  constructor(
    private readonly directory: string,
    private readonly files: JournalFiles,
    private readonly segmentBytes: number,
    recovered: Recovered,
  ) {
    this.#segments = recovered.segments
    this.#fd = recovered.fd
    this.#chain = recovered.chain
    this.#active = recovered.active
  }

  get count(): number {
    return this.#segments.length
  }

  /** What all segments take on disk, in bytes. */
  get bytes(): number {
    return this.#segments.reduce((sum, segment) => sum + segment.bytes, 0)
  }

  /** Writes the batch as one frame; durable when this returns. Nothing is tried twice (J4). */
  async append(batch: Batch): Promise<void> {
    const isEmpty = this.#active.bytes === SEGMENT_HEADER_BYTES
    if (!isEmpty && this.#active.bytes + batch.frameBytes > this.segmentBytes) await this.#rotate(batch.firstSeq)
    const { frame, chain } = batch.seal(this.#chain, this.#active.bytes)
    await writeWhole(this.files, this.#fd, frame, this.#active.bytes)
    await this.files.datasync(this.#fd)
    this.#active.bytes += frame.length
    this.#chain = chain
  }

  /** Removes whole segments of records <= throughSeq, oldest first, as long as more than `retainBytes` are there. */
  async truncate(throughSeq: number, retainBytes: number): Promise<void> {
    for (;;) {
      const [oldest, following] = this.#segments
      if (oldest === undefined || following === undefined || following.firstSeq - 1 > throughSeq) return
      if (this.bytes <= retainBytes) return
      await this.files.remove(oldest.path)
      // Each removal is durable before the next, so that a crash leaves no hole.
      await this.files.syncDirectory(this.directory)
      this.#segments.shift()
    }
  }

  async close(): Promise<void> {
    await this.files.close(this.#fd)
  }

  async #rotate(firstSeq: number): Promise<void> {
    const ended = this.#fd
    const { fd, segment } = await createSegment(this.directory, this.files, { nextSeq: firstSeq, chain: this.#chain })
    this.#fd = fd
    this.#active = segment
    this.#segments.push(segment)
    await this.files.close(ended)
  }
}

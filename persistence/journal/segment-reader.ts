// Reads the frames of one segment, verifying each (J2): header checksum, payload checksum, sequence, chain and
// the framing of its records. Shared by the start, the tailing reader and the checks, so that what one accepts
// the others accept too.
import { join } from 'node:path'
import { crc32c } from '@node-rs/crc32'
import { JournalDamagedError } from './errors.js'
import { type JournalFiles, readUpTo, withFile } from './files.js'
import {
  decodeFrameHeader,
  decodeSegmentHeader,
  FRAME_HEADER_BYTES,
  recordsFit,
  SEGMENT_HEADER_BYTES,
  type SegmentHeader,
  segmentFirstSeq,
  verifyChain,
} from './format.js'
import { damageOfTail } from './torn-tail.js'

/** How much is read at once; also what one entry kept for long may pin. */
export const READ_BUFFER_BYTES = 1024 * 1024
const FIRST_BUFFER_BYTES = 64 * 1024

export interface SegmentFile {
  readonly path: string
  readonly firstSeq: number
}

/** The segments of a journal, oldest first. */
export async function listSegments(directory: string, files: JournalFiles): Promise<SegmentFile[]> {
  const names = (await files.list(directory)).sort()
  return names.flatMap((name) => {
    const firstSeq = segmentFirstSeq(name)
    return firstSeq === null ? [] : [{ path: join(directory, name), firstSeq }]
  })
}

/** Reads and checks the header of one segment. */
export function readSegmentHeader(segment: SegmentFile, files: JournalFiles): Promise<SegmentHeader> {
  return withFile(files, segment.path, (fd) => headerOf(segment, files, fd))
}

async function headerOf(segment: SegmentFile, files: JournalFiles, fd: number): Promise<SegmentHeader> {
  const header = decodeSegmentHeader(await readUpTo(files, fd, 0, SEGMENT_HEADER_BYTES))
  if (typeof header === 'string') throw new JournalDamagedError(segment.path, 0, segment.firstSeq, header)
  if (header.firstSeq !== segment.firstSeq) {
    const what = `the header says its first record is ${header.firstSeq}; was the file renamed?`
    throw new JournalDamagedError(segment.path, 0, segment.firstSeq, what)
  }
  return header
}

export interface Frame {
  readonly fileOffset: number
  readonly firstSeq: number
  readonly recordCount: number
  /** Header and payload, a view into the read buffer. */
  readonly bytes: Buffer
}

export class SegmentReader {
  /** Bytes at the end of the file that hold only a torn frame; known once nextFrame() returned null. */
  tornBytes = 0
  /** Where the next frame begins. */
  fileOffset = SEGMENT_HEADER_BYTES
  nextSeq: number
  /** The chain after the last frame read. */
  chain: Buffer
  readonly chainBefore: Buffer
  #buffer: Buffer = Buffer.alloc(0)
  #start = 0
  #end = 0
  /** What is buffered was read when records up to here were durable; bytes of later ones may be half-written. */
  #bufferedThroughSeq = 0

  private constructor(
    readonly segment: SegmentFile,
    private readonly files: JournalFiles,
    private readonly fd: number,
    header: SegmentHeader,
  ) {
    this.nextSeq = header.firstSeq
    this.chain = header.chain
    this.chainBefore = header.chain
  }

  static async open(segment: SegmentFile, files: JournalFiles): Promise<SegmentReader> {
    const fd = await files.openToRead(segment.path)
    try {
      return new SegmentReader(segment, files, fd, await headerOf(segment, files, fd))
    } catch (error) {
      await files.close(fd)
      throw error
    }
  }

  /**
   * The next frame, or null at the end of the segment and at a torn frame (see tornBytes). Throws
   * JournalDamagedError. While the segment is still written to, ask only for frames up to `durableThroughSeq`.
   */
  async nextFrame(durableThroughSeq = Number.MAX_SAFE_INTEGER): Promise<Frame | null> {
    if (this.nextSeq > this.#bufferedThroughSeq) this.#end = this.#start
    if (!(await this.#buffered(FRAME_HEADER_BYTES, durableThroughSeq))) return this.#stop()
    const header = decodeFrameHeader(this.#buffer, this.#start)
    if (header === null || header.firstSeq !== this.nextSeq) return this.#stop()
    const frameBytes = FRAME_HEADER_BYTES + header.payloadLength
    if (!(await this.#buffered(frameBytes, durableThroughSeq))) return this.#stop()
    const bytes = this.#buffer.subarray(this.#start, this.#start + frameBytes)
    if (crc32c(bytes.subarray(FRAME_HEADER_BYTES)) !== header.payloadCrc) return this.#stop()
    const chain = verifyChain(bytes, this.chain)
    if (chain === null) throw this.damage('the hash chain does not continue from the frame before')
    if (!recordsFit(bytes, header.recordCount)) throw this.damage('the payload is not the records its header announces')
    const frame = { fileOffset: this.fileOffset, firstSeq: header.firstSeq, recordCount: header.recordCount, bytes }
    this.#start += frameBytes
    this.fileOffset += frameBytes
    this.nextSeq += header.recordCount
    this.chain = chain
    return frame
  }

  /** An error naming the place where the next frame should be. */
  damage(what: string): JournalDamagedError {
    return new JournalDamagedError(this.segment.path, this.fileOffset, this.nextSeq, what)
  }

  async close(): Promise<void> {
    await this.files.close(this.fd)
  }

  async #stop(): Promise<null> {
    const size = await this.files.size(this.fd)
    const tail = { fileOffset: this.fileOffset, bytes: size - this.fileOffset, nextSeq: this.nextSeq }
    const damage = await damageOfTail(tail, (position, bytes) => readUpTo(this.files, this.fd, position, bytes))
    if (damage !== null) throw this.damage(damage)
    this.tornBytes = tail.bytes
    return null
  }

  /**
   * Makes at least `bytes` bytes available from the start; false when the file ends before. Fills what is free of
   * the buffer and never overwrites what was handed out, so views stay valid for as long as someone holds them.
   */
  async #buffered(bytes: number, durableThroughSeq: number): Promise<boolean> {
    while (this.#end - this.#start < bytes) {
      if (this.#start + bytes > this.#buffer.length) this.#moveToNewBuffer(bytes)
      const position = this.fileOffset + this.#end - this.#start
      const bytesRead = await this.files.read(this.fd, this.#buffer.subarray(this.#end), position)
      if (bytesRead === 0) return false
      this.#end += bytesRead
      this.#bufferedThroughSeq = durableThroughSeq
    }
    return true
  }

  #moveToNewBuffer(bytes: number): void {
    // Small at first: most readers are of the newest segment, and follow it in small steps.
    const usual = Math.min(READ_BUFFER_BYTES, Math.max(FIRST_BUFFER_BYTES, 2 * this.#buffer.length))
    // Bounded: no header that announces more than PAYLOAD_BYTES_MAX is believed.
    const next = Buffer.allocUnsafeSlow(Math.max(usual, bytes))
    this.#buffer.copy(next, 0, this.#start, this.#end)
    this.#end -= this.#start
    this.#start = 0
    this.#buffer = next
  }
}

// One batch of records being gathered in the form of the frame it will be written as: bodies are copied straight
// behind the space of the header, so that a flush is one write of one buffer. The buffer is reused.
import { FRAME_BYTES_MAX, FRAME_HEADER_BYTES, PAYLOAD_BYTES_MAX, RECORD_PREFIX_BYTES, sealFrame } from './format.js'

const INITIAL_BYTES = 64 * 1024

export class Batch {
  firstSeq = 0
  recordCount = 0
  #buffer: Buffer = Buffer.allocUnsafeSlow(INITIAL_BYTES)
  #length = FRAME_HEADER_BYTES

  get frameBytes(): number {
    return this.#length
  }

  get capacityBytes(): number {
    return this.#buffer.length
  }

  get lastSeq(): number {
    return this.firstSeq + this.recordCount - 1
  }

  /** Adds one record; its number follows from those before it. */
  add(seq: number, body: Uint8Array): void {
    const bodyAt = this.#length + RECORD_PREFIX_BYTES
    if (bodyAt + body.length > this.#buffer.length) this.#grow(bodyAt + body.length)
    if (this.recordCount === 0) this.firstSeq = seq
    this.#buffer.writeUInt32LE(body.length, this.#length)
    this.#buffer.set(body, bodyAt)
    this.#length = bodyAt + body.length
    this.recordCount += 1
  }

  /** The frame to write at `fileOffset`, a view valid until reset(), and the chain after it. */
  seal(chainBefore: Buffer, fileOffset: number): { readonly frame: Buffer; readonly chain: Buffer } {
    const frame = this.#buffer.subarray(0, this.#length)
    const { firstSeq, recordCount } = this
    return { frame, chain: sealFrame(frame, { firstSeq, recordCount, chain: chainBefore, fileOffset }) }
  }

  reset(): void {
    this.recordCount = 0
    this.#length = FRAME_HEADER_BYTES
  }

  #grow(bytes: number): void {
    const buffer = Buffer.allocUnsafeSlow(Math.max(bytes, Math.min(2 * this.#buffer.length, FRAME_BYTES_MAX)))
    this.#buffer.copy(buffer, 0, 0, this.#length)
    this.#buffer = buffer
  }
}

/** The largest body a record may have, in bytes. */
export const RECORD_BYTES_MAX = PAYLOAD_BYTES_MAX - RECORD_PREFIX_BYTES

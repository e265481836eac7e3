/**
 * WebSocket frames as a client sends and reads them, as cheaply as Node allows: short texts out, whole texts in.
 *
 * F1 Every text is handed on once and whole, wherever the network cut it. F2 Anything but an unmasked, unfragmented frame
 *    ends the connection: no server here sends it.
 */

const OPCODE_MASK = 0x0f
const FINAL_BIT = 0x80
const LENGTH_MASK = 0x7f
const LENGTH_16 = 126
const MASK_BIT = 0x80
const MASK_BYTES = 4
/** Header, two bytes of length, four of mask. */
const CLIENT_HEADER_BYTES_MAX = 8
const TEXT_BYTES_MAX = 0xffff

export const opcodes = { text: 1, close: 8, ping: 9 } as const

/** A frame as clients send it. Its mask is all zeros, which leaves the text as it is. */
export function textFrame(text: string): Buffer {
  const length = Buffer.byteLength(text)
  if (length > TEXT_BYTES_MAX) throw new RangeError(`a text of ${length} bytes is too long to be sent`)
  const frame = Buffer.alloc(length + CLIENT_HEADER_BYTES_MAX)
  frame[0] = FINAL_BIT | opcodes.text
  let at = 2
  if (length < LENGTH_16) frame[1] = MASK_BIT | length
  else {
    frame[1] = MASK_BIT | LENGTH_16
    frame.writeUInt16BE(length, at)
    at += 2
  }
  at += MASK_BYTES
  frame.write(text, at)
  return frame.subarray(0, at + length)
}

/** Gets every frame of a connection; the bytes are valid during the call only. */
export interface FrameSink {
  frame(opcode: number, bytes: Buffer, start: number, end: number): void
}

const NOTHING = Buffer.alloc(0)

export class FrameReader {
  /** The beginning of a frame whose end has not come yet. */
  #rest = NOTHING

  constructor(readonly sink: FrameSink) {}

  /** Takes `length` bytes that came. Returns false when they are no frames (F2). */
  push(came: Buffer, length: number): boolean {
    const isWhole = this.#rest.length === 0
    const bytes = isWhole ? came : Buffer.concat([this.#rest, came.subarray(0, length)])
    const used = this.#read(bytes, isWhole ? length : bytes.length)
    if (used === null) return false
    const end = isWhole ? length : bytes.length
    this.#rest = used === end ? NOTHING : Buffer.from(bytes.subarray(used, end)) // F1
    return true
  }

  reset(): void {
    this.#rest = NOTHING
  }

  /** Returns how many bytes were whole frames, null when it was none. */
  #read(bytes: Buffer, end: number): number | null {
    let at = 0
    while (end - at >= 2) {
      const first = bytes[at] ?? 0
      const second = bytes[at + 1] ?? 0
      if ((first & FINAL_BIT) === 0 || (second & MASK_BIT) !== 0) return null // F2
      const { start, length } = payloadOf(bytes, at, second & LENGTH_MASK)
      if (start + length > end) break
      this.sink.frame(first & OPCODE_MASK, bytes, start, start + length)
      at = start + length
    }
    return at
  }
}

/** Where the payload of the frame at `at` begins, and how long it is as far as its header is there to say so. */
function payloadOf(bytes: Buffer, at: number, short: number): { start: number; length: number } {
  if (short < LENGTH_16) return { start: at + 2, length: short }
  if (short === LENGTH_16) return { start: at + 4, length: ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0) }
  return { start: at + 10, length: bytes.length >= at + 10 ? Number(bytes.readBigUInt64BE(at + 2)) : 0 }
}

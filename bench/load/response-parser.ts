/**
 * Reads one HTTP/1.1 response from the chunks a connection delivers, doing as little as possible: three headers are
 * looked at, nothing becomes a string, and a body is kept only when asked for.
 *
 * R1 What a response is does not depend on how it was cut into packets.
 * R2 Memory is bounded by HEAD_BYTES_MAX and BODY_BYTES_MAX, whatever the server sends.
 */
import { ChunkedReader } from './chunked-reader.js'

const HEAD_BYTES_MAX = 64 * 1024
const BODY_BYTES_MAX = 16 * 1024 * 1024

const LF = 10
const CR = 13
const SPACE = 32
const COLON = 58
const ZERO = 48
const LOWER_CASE = 32

const NOTHING = Buffer.alloc(0)
const HTTP_1 = Buffer.from('HTTP/1.')
const CONTENT_LENGTH = Buffer.from('content-length')
const CONNECTION = Buffer.from('connection')
const TRANSFER_ENCODING = Buffer.from('transfer-encoding')
/** `HTTP/1.1 200` */
const STATUS_LINE_BYTES_MIN = 12

export type ParseResult = 'more' | 'done' | 'malformed'

type Framing = 'head' | 'length' | 'chunked' | 'until-close'

export class ResponseParser {
  status = 0
  /** Whether the server leaves the connection open after this response. */
  keepAlive = true
  /** Whether bytes followed the response, which nobody had asked for. */
  surplus = false

  private framing: Framing = 'head'
  private chunked = false
  /** Content-Length, -1 when absent. */
  private declaredBytes = -1
  private missingBytes = 0
  private head = NOTHING
  private parts: Buffer[] = []
  private partsBytes = 0
  private readonly chunks = new ChunkedReader()

  constructor(private readonly wantBody: boolean) {}

  /** Forgets the response; the next byte starts another. */
  reset(): void {
    this.surplus = false
    this.framing = 'head'
    if (this.head.length > 0) this.head = NOTHING
    if (this.partsBytes > 0) {
      this.parts = []
      this.partsBytes = 0
    }
  }

  /** The body, null unless bodies are wanted. Valid until the next read into the buffer given to `push`. */
  body(): Buffer | null {
    if (!this.wantBody) return null
    return this.parts.length === 1 ? (this.parts[0] ?? NOTHING) : Buffer.concat(this.parts)
  }

  /** Reads the first `length` bytes of `input`, which may be overwritten afterwards unless the result is `done`. */
  push(input: Buffer, length: number): ParseResult {
    if (this.framing !== 'head') return this.pushBody(input, 0, length)
    if (this.head.length === 0) return this.pushHead(input, length)
    const joined = Buffer.concat([this.head, input.subarray(0, length)]) // R1
    return this.pushHead(joined, joined.length)
  }

  /** The server ended the connection in good order: does that complete the response? */
  end(): boolean {
    return this.framing === 'until-close'
  }

  private pushHead(input: Buffer, length: number): ParseResult {
    let start = 0
    let bodyStart = 0
    do {
      bodyStart = this.scanHead(input, start, length)
      if (bodyStart < 0) return this.keepHead(input, start, length)
      if (this.status === 0) return 'malformed'
      start = bodyStart
    } while (this.status < 200) // 100 Continue and 103 Early Hints come before the response
    if (this.status === 204 || this.status === 304) this.declaredBytes = 0
    else if (this.chunked) this.declaredBytes = -1
    this.missingBytes = this.declaredBytes
    if (this.chunked) this.chunks.reset()
    this.framing = this.declaredBytes >= 0 ? 'length' : this.chunked ? 'chunked' : 'until-close'
    return this.pushBody(input, bodyStart, length)
  }

  private keepHead(input: Buffer, start: number, length: number): ParseResult {
    if (length - start > HEAD_BYTES_MAX) return 'malformed' // R2
    this.head = Buffer.from(input.subarray(start, length))
    return 'more'
  }

  /** Returns where the body starts, or -1 when the head is incomplete. A malformed head leaves `status` at 0. */
  private scanHead(input: Buffer, start: number, length: number): number {
    this.status = 0
    this.keepAlive = true
    this.chunked = false
    this.declaredBytes = -1
    let lineStart = start
    for (let at = start; at < length; at++) {
      if (input[at] !== LF) continue
      const lineEnd = at > lineStart && input[at - 1] === CR ? at - 1 : at
      if (lineStart === start) this.readStatusLine(input, lineStart, lineEnd)
      else if (lineEnd > lineStart) this.readHeader(input, lineStart, lineEnd)
      else return at + 1
      if (this.status === 0) return at + 1
      lineStart = at + 1
    }
    return -1
  }

  private readStatusLine(input: Buffer, start: number, end: number): void {
    if (end - start < STATUS_LINE_BYTES_MIN || !sameName(input, start, HTTP_1)) return
    const status = readDecimal(input, start + 9, start + 12)
    if (status < 100 || status > 999 || input[start + 8] !== SPACE) return
    this.status = status
    if (input[start + 7] === ZERO) this.keepAlive = false
  }

  private readHeader(input: Buffer, start: number, end: number): void {
    const first = (input[start] ?? 0) | LOWER_CASE
    if (first === 99 /* c */) {
      if (isHeader(input, start, end, CONTENT_LENGTH)) {
        this.declaredBytes = readDecimal(input, valueStart(input, start + CONTENT_LENGTH.length, end), end)
        if (this.declaredBytes < 0 || (this.wantBody && this.declaredBytes > BODY_BYTES_MAX)) this.status = 0
      } else if (isHeader(input, start, end, CONNECTION)) {
        const value = (input[valueStart(input, start + CONNECTION.length, end)] ?? 0) | LOWER_CASE
        this.keepAlive = value !== 99 // "close"
      }
    } else if (first === 116 /* t */ && isHeader(input, start, end, TRANSFER_ENCODING)) {
      this.chunked = true
    }
  }

  private pushBody(input: Buffer, start: number, length: number): ParseResult {
    switch (this.framing) {
      case 'length': {
        const end = Math.min(length, start + this.missingBytes)
        if (this.wantBody) this.keepBody(input, start, end)
        this.missingBytes -= end - start
        if (this.missingBytes > 0) return 'more'
        return this.finish(end < length)
      }
      case 'chunked': {
        const end = this.chunks.read(input, start, length, (from, to) => {
          if (this.wantBody) this.keepBody(input, from, to)
        })
        if (end < 0 || this.partsBytes > BODY_BYTES_MAX) return 'malformed' // R2
        return this.chunks.done ? this.finish(end < length) : 'more'
      }
      default: {
        if (this.wantBody) this.keepBody(input, start, length)
        return this.partsBytes > BODY_BYTES_MAX ? 'malformed' : 'more' // R2
      }
    }
  }

  private finish(surplus: boolean): ParseResult {
    this.surplus = surplus
    return 'done'
  }

  /** Keeps a view when this chunk holds the whole body, a copy when later chunks would overwrite it. */
  private keepBody(input: Buffer, start: number, end: number): void {
    if (end === start) return
    const part = input.subarray(start, end)
    this.parts.push(part.length === this.declaredBytes ? part : Buffer.from(part))
    this.partsBytes += part.length
  }
}

/** Compares without regard to letter case; `name` is lower case or has no letters that differ. */
function isHeader(input: Buffer, start: number, end: number, name: Buffer): boolean {
  return end - start > name.length && input[start + name.length] === COLON && sameName(input, start, name)
}

function sameName(input: Buffer, start: number, name: Buffer): boolean {
  for (let at = 0; at < name.length; at++) {
    if (((input[start + at] ?? 0) | LOWER_CASE) !== ((name[at] ?? 0) | LOWER_CASE)) return false
  }
  return true
}

function valueStart(input: Buffer, colon: number, end: number): number {
  let at = colon + 1
  while (at < end && input[at] === SPACE) at++
  return at
}

/** The number written in `input[start, end)`, trailing blanks allowed; -1 unless it is one of at most 15 digits. */
function readDecimal(input: Buffer, start: number, end: number): number {
  let last = end
  while (last > start && input[last - 1] === SPACE) last--
  if (last === start || last - start > 15) return -1
  let value = 0
  for (let at = start; at < last; at++) {
    const digit = (input[at] ?? 0) - ZERO
    if (digit < 0 || digit > 9) return -1
    value = value * 10 + digit
  }
  return value
}

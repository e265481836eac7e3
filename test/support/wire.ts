// Bytes as no proper client sends them: raw HTTP requests and WebSocket frames, and what came back.
import { connect, type Socket } from 'node:net'

/** A whole HTTP answer. */
export interface WireAnswer {
  readonly status: number
  /** By lower-case name; the last one of a name that comes twice. */
  readonly headers: ReadonlyMap<string, string>
  readonly head: string
  readonly body: Buffer
}

export interface Exchange {
  /** Undefined when the connection ended, or the time was over, before a whole answer came. */
  readonly answer: WireAnswer | undefined
  readonly closed: boolean
}

export interface ExchangeOptions {
  /** The answer to a HEAD request has no body, whatever its length says. */
  readonly headOnly?: boolean
  /** Say that nothing more will be sent. */
  readonly end?: boolean
  readonly withinMs?: number
}

/** Sends bytes as they are over a connection of their own; resolves to the first whole answer. Never rejects. */
export function exchange(
  port: number,
  bytes: string | Buffer,
  { headOnly = false, end = false, withinMs = 20_000 }: ExchangeOptions = {},
): Promise<Exchange> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    let received: Buffer = Buffer.alloc(0)
    const settle = (closed: boolean) => {
      clearTimeout(timer)
      socket.destroy()
      resolve({ answer: parseAnswer(received, headOnly, closed), closed })
    }
    const timer = setTimeout(() => settle(false), withinMs)
    socket.on('error', () => {})
    socket.on('close', () => settle(true))
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk])
      if (parseAnswer(received, headOnly, false) !== undefined) settle(false)
    })
    const written = typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes
    if (end) socket.end(written)
    else socket.write(written)
  })
}

/** The answer at the front, or undefined when it is not all there. Without a length it ends with the connection. */
function parseAnswer(bytes: Buffer, headOnly: boolean, closed: boolean): WireAnswer | undefined {
  const headEnd = bytes.indexOf('\r\n\r\n')
  if (headEnd < 0) return undefined
  const head = bytes.toString('latin1', 0, headEnd)
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1])
  const rest = bytes.subarray(headEnd + 4)
  if (status === 100) return parseAnswer(rest, headOnly, closed)
  const headers = new Map(
    head
      .split('\r\n')
      .slice(1)
      .map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
  )
  const body = headOnly || status === 204 || status === 304 ? Buffer.alloc(0) : bodyOf(rest, headers, closed)
  return body === undefined ? undefined : { status, headers, head, body }
}

function bodyOf(rest: Buffer, headers: ReadonlyMap<string, string>, closed: boolean): Buffer | undefined {
  if (headers.get('transfer-encoding') === 'chunked') return dechunked(rest)
  const length = headers.get('content-length')
  if (length === undefined) return closed ? rest : undefined
  return rest.length < Number(length) ? undefined : rest.subarray(0, Number(length))
}

function dechunked(bytes: Buffer): Buffer | undefined {
  const chunks: Buffer[] = []
  for (let at = 0; ; ) {
    const lineEnd = bytes.indexOf('\r\n', at)
    if (lineEnd < 0) return undefined
    const size = Number.parseInt(bytes.toString('latin1', at, lineEnd), 16)
    const end = lineEnd + 2 + size
    if (bytes.length < end + 2) return undefined
    if (size === 0) return Buffer.concat(chunks)
    chunks.push(bytes.subarray(lineEnd + 2, end))
    at = end + 2
  }
}

/** A connection that stays open and does what it is told. */
export interface Line {
  readonly socket: Socket
  readonly text: () => string
  readonly closed: Promise<void>
}

export function openLine(port: number, first: string | Buffer, localAddress?: string): Line {
  const socket = connect({ port, host: '127.0.0.1', ...(localAddress === undefined ? {} : { localAddress }) })
  let text = ''
  socket.on('error', () => {})
  socket.on('data', (chunk) => {
    text += chunk.toString('latin1')
  })
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  if (first.length > 0) socket.write(typeof first === 'string' ? Buffer.from(first, 'latin1') : first)
  return { socket, text: () => text, closed }
}

export interface FrameOptions {
  /** 1 text, 2 binary, 0 continuation, 8 close, 9 ping, 10 pong; others are reserved. */
  readonly opcode?: number
  readonly last?: boolean
  readonly masked?: boolean
  readonly reservedBits?: number
}

/** A WebSocket frame of any size, right or wrong. */
export function wireFrame(
  payload: string | Buffer,
  { opcode = 1, last = true, masked = true, reservedBits = 0 }: FrameOptions = {},
): Buffer {
  const body = Buffer.from(payload)
  const mask = masked ? 0x80 : 0
  const first = (last ? 0x80 : 0) | (reservedBits << 4) | opcode
  const head = body.length < 126 ? Buffer.from([first, mask | body.length]) : Buffer.from([first, mask | 126, 0, 0])
  if (body.length >= 126) head.writeUInt16BE(Math.min(body.length, 65_535), 2)
  return Buffer.concat([head, ...(masked ? [Buffer.alloc(4)] : []), body])
}

export const upgrade = (query: string, headers = '') =>
  `GET /socket.io/?${query} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
  `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n${headers}\r\n`

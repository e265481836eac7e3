/**
 * JSON that is made once and sent to many. Socket.IO would look through all of it for binary data and put it into words
 * again for everybody it is sent to.
 */
import type { ServerSocket, SocketServer } from './client-out.js'

/** The part of a long answer that others are told too, and who this one is for: bytes are copied, not made of text again. */
export interface SharedPart {
  readonly bytes: Buffer
  readonly before: string
  readonly after: string
  readonly to: ServerSocket
}

/** What is sent in the place of an object. */
export class ReadyJson {
  constructor(
    readonly text: string,
    readonly shared: SharedPart | null = null,
  ) {}

  /** An object that is JSON already, with more fields at its end. */
  static extended(object: string, fields: object): ReadyJson {
    return new ReadyJson(`${object.slice(0, -1)},${JSON.stringify(fields).slice(1)}`)
  }
}

type Packet = Parameters<SocketServer['encoder']['encode']>[0]

/** From now on the server sends what is ready as it is. */
export function passReadyJson({ encoder }: SocketServer): void {
  const encode = encoder.encode.bind(encoder)
  encoder.encode = (packet) => {
    const ready: unknown = Array.isArray(packet.data) ? packet.data.at(-1) : undefined
    if (!(ready instanceof ReadyJson)) return encode(packet)
    const head = headOf(packet)
    // Nothing is left for Socket.IO to send.
    if (ready.shared !== null && sendBytes(ready.shared, head)) return []
    return [`${head}${ready.text}]`]
  }
}

/** As Socket.IO has it: type, namespace, id, and what an array begins with whose last element is ready. */
function headOf({ type, nsp, id, data }: Packet): string {
  const before = data.slice(0, -1).map((each: unknown) => `${JSON.stringify(each)},`)
  return `${type}${nsp === '/' ? '' : `${nsp},`}${id ?? ''}[${before.join('')}`
}

/** A message of Engine.IO. */
const MESSAGE = '4'
/** One frame at a time: uWS has a copy when `send` returns. Grows to the longest answer there is. */
let frame = Buffer.alloc(0)

/** False where the client polls, or has anything to get before. */
function sendBytes({ bytes, before, after, to: { conn } }: SharedPart, head: string): boolean {
  const { transport, readyState } = conn
  if (readyState !== 'open' || transport.name !== 'websocket' || !transport.writable) return false
  const start = Buffer.from(`${MESSAGE}${head}${before}`)
  const end = Buffer.from(`${after}]`)
  const length = start.length + bytes.length + end.length
  if (frame.length < length) frame = Buffer.alloc(length)
  start.copy(frame)
  bytes.copy(frame, start.length)
  end.copy(frame, start.length + bytes.length)
  const { socket } = transport as unknown as { readonly socket: TextSocket }
  socket.send(frame.subarray(0, length), false)
  return true
}

interface TextSocket {
  send(bytes: Uint8Array, isBinary: false): unknown
}

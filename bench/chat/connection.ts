/**
 * One Socket.IO connection to one namespace, spoken by hand over node:net: a fraction of what a real client costs.
 *
 * C1 A connection ends once: `ended` is called once for each `open`, unless `close` came first. C2 Commands are answered
 *    or die with the connection.
 */
import { connect, type Socket } from 'node:net'
import { FrameReader, opcodes, textFrame } from './frames.js'

export type Namespace = '/' | '/social/ws' | '/insights/live'
const CHAT: Namespace = '/social/ws'
/** How texts of a namespace begin: all but those of `/` name it. */
const named = (namespace: Namespace) => (namespace === '/' ? '' : `${namespace},`)
/** Of an event. */
export const prefixOf = (namespace: Namespace) => `42${named(namespace)}[`
export const eventPrefix = prefixOf(CHAT)
const READ_BUFFER_BYTES = 256 * 1024
const SWITCHING = 'HTTP/1.1 101 '
const END_OF_HEAD = '\r\n\r\n'
const CONNECT_TIMEOUT_MS = 60_000

const ENGINE_OPEN = 0x30
const ENGINE_PING = 0x32
const ENGINE_MESSAGE = 0x34
const EVENT = 0x32
const ENGINE_PONG = textFrame('3')

/** Everybody reads into the same buffer: what is in it has been dealt with when a read returns. */
const readBuffer = Buffer.allocUnsafe(READ_BUFFER_BYTES)

/** What a server says, as far as nobody has looked at it yet. */
export interface Told {
  readonly error?: { readonly code: string }
  readonly [field: string]: unknown
}

export interface Address {
  readonly host: string
  readonly port: number
  /** Ours; a range of them has ports enough for many connections. */
  readonly localAddress: string
}

export interface ConnectionListener {
  /** In the namespace: commands may be given. */
  entered(): void
  /** A text that begins with the prefix of the namespace; the bytes are valid during the call only. */
  event(bytes: Buffer, start: number, end: number): void
  ended(because: string): void
}

type State = 'closed' | 'connecting' | 'upgrading' | 'open'

export class Connection {
  #state: State = 'closed'
  #socket: Socket | undefined
  #head = ''
  #token = ''
  #nextId = 0
  #answers: Map<number, (answer: Told) => void> | undefined
  readonly #frames = new FrameReader(this)
  /** Reads that come are left for {@link resume}. */
  isSlow = false

  readonly #name: string

  constructor(
    readonly listener: ConnectionListener,
    namespace = CHAT,
  ) {
    this.#name = named(namespace)
  }

  get isOpen(): boolean {
    return this.#state === 'open'
  }

  /** Without a token (an empty one) as nobody in particular, where that is let in. */
  open({ host, port, localAddress }: Address, token: string): void {
    this.#state = 'connecting'
    this.#token = token
    this.#head = ''
    this.#frames.reset()
    const onread = { buffer: readBuffer, callback: (length: number) => this.#received(socket, length) }
    const socket: Socket = connect({ host, port, localAddress, noDelay: true, onread, timeout: CONNECT_TIMEOUT_MS })
    this.#socket = socket
    socket.on('connect', () => {
      this.#state = 'upgrading'
      socket.write(upgradeRequest(host, port))
    })
    socket.on('timeout', () => this.#end(socket, 'no answer'))
    socket.on('error', (error) => this.#end(socket, error.message))
    socket.on('close', () => this.#end(socket, 'closed by the server'))
  }

  /** C2 */
  ask(event: string, payload: object, onAnswer: (answer: Told) => void): void {
    const id = this.#nextId++
    this.#answers ??= new Map()
    this.#answers.set(id, onAnswer)
    this.#socket?.write(textFrame(`42${this.#name}${id}${JSON.stringify([event, payload])}`))
  }

  /** Goes on reading, if reading was left. */
  resume(): void {
    this.#socket?.resume()
  }

  /** As a lost network ends it, seen from here. */
  close(): void {
    const socket = this.#socket
    this.#forget()
    socket?.destroy()
  }

  frame(opcode: number, bytes: Buffer, start: number, end: number): void {
    const socket = this.#socket
    if (socket === undefined) return
    if (opcode === opcodes.close) return void this.#end(socket, 'closed by the server')
    if (opcode !== opcodes.text) return
    const first = bytes[start]
    if (first === ENGINE_MESSAGE && bytes[start + 1] === EVENT) this.listener.event(bytes, start, end)
    else if (first === ENGINE_PING) socket.write(ENGINE_PONG)
    else if (first === ENGINE_OPEN) {
      const auth = this.#token === '' ? '' : JSON.stringify({ token: this.#token })
      socket.write(textFrame(`40${this.#name}${auth}`))
    } else this.#told(socket, bytes.toString('utf8', start, end))
  }

  #told(socket: Socket, text: string): void {
    if (text.startsWith(`43${this.#name}`)) this.#answered(text)
    else if (text.startsWith(`40${this.#name}`)) this.listener.entered()
    else if (text.startsWith(`44${this.#name}`)) this.#end(socket, text.slice(2 + this.#name.length))
    else this.#end(socket, text)
  }

  #answered(text: string): void {
    const start = 2 + this.#name.length
    const open = text.indexOf('[', start)
    const id = Number(text.slice(start, open))
    const [answer] = JSON.parse(text.slice(open)) as [Told]
    const onAnswer = this.#answers?.get(id)
    this.#answers?.delete(id)
    onAnswer?.(answer)
  }

  /** Returns whether to keep reading. */
  #received(socket: Socket, length: number): boolean {
    if (this.#socket !== socket) return false
    if (this.#state === 'open') this.#read(socket, readBuffer, length)
    else this.#upgrade(socket, length)
    return !this.isSlow
  }

  #upgrade(socket: Socket, length: number): void {
    this.#head += readBuffer.toString('latin1', 0, length)
    const end = this.#head.indexOf(END_OF_HEAD)
    if (end === -1) return
    if (!this.#head.startsWith(SWITCHING))
      return void this.#end(socket, this.#head.slice(0, end).split('\r\n', 1)[0] ?? '')
    const rest = Buffer.from(this.#head.slice(end + END_OF_HEAD.length), 'latin1')
    this.#head = ''
    this.#state = 'open'
    socket.setTimeout(0)
    if (rest.length > 0) this.#read(socket, rest, rest.length)
  }

  #read(socket: Socket, bytes: Buffer, length: number): void {
    if (!this.#frames.push(bytes, length)) this.#end(socket, 'what came was no WebSocket frame')
  }

  /** C1 */
  #end(socket: Socket, because: string): void {
    if (this.#socket !== socket) return
    this.#forget()
    socket.destroy()
    this.listener.ended(because)
  }

  #forget(): void {
    this.#socket = undefined
    this.#state = 'closed'
    this.#answers = undefined
  }
}

function upgradeRequest(host: string, port: number): string {
  return [
    'GET /socket.io/?EIO=4&transport=websocket HTTP/1.1',
    `Host: ${host}:${port}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    '',
    '',
  ].join('\r\n')
}

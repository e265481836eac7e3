/**
 * One keep-alive HTTP/1.1 connection with one request in flight, on a raw socket, as cheap as Node allows.
 *
 * C1 Every request given to `send` gets exactly one outcome.
 * C2 No request is written twice: when the connection is lost after the write, the outcome is UNKNOWN.
 * C3 A connection with bytes nobody asked for is dropped, so that no answer is credited to a later request.
 * C4 After `reconnectsMax` connections in a row without an answer the client closes; from then on requests are UNSENT.
 */
import { connect, type Socket } from 'node:net'
import { assert } from '../../engine/assert.js'
import { ResponseParser } from './response-parser.js'

/** Outcome in place of a status: the request was written, then the connection was lost. */
export const UNKNOWN = 0
/** Outcome in place of a status: the request never left, there was no connection. */
export const UNSENT = -1

/** `status` is the HTTP status, UNKNOWN or UNSENT. `body` is valid during the call only, null unless bodies are wanted. */
export type OnOutcome = (status: number, body: Buffer | null) => void

export interface ClientOptions {
  readonly host: string
  readonly port: number
  readonly wantBody?: boolean
  /** Connections in a row that may end without an answer. */
  readonly reconnectsMax?: number
}

const RECONNECTS_MAX = 20
/** The first reconnect is immediate; the ones after it wait, a starting server needs a moment. */
const RECONNECT_DELAY_MS = 100
const CONNECT_TIMEOUT_MS = 5_000
const READ_BUFFER_BYTES = 16 * 1024

type Link =
  | { readonly state: 'none' }
  | { readonly state: 'waiting'; readonly timer: NodeJS.Timeout }
  | { readonly state: 'connecting'; readonly socket: Socket; readonly timer: NodeJS.Timeout }
  | { readonly state: 'open'; readonly socket: Socket }
  | { readonly state: 'closed' }

type InFlight =
  | { readonly state: 'nothing' }
  | { readonly state: 'queued'; readonly request: Buffer | string }
  | { readonly state: 'written' }

const NO_LINK: Link = { state: 'none' }
const CLOSED: Link = { state: 'closed' }
const NOTHING: InFlight = { state: 'nothing' }
const WRITTEN: InFlight = { state: 'written' }

export class KeepAliveClient {
  private link: Link = NO_LINK
  private inFlight: InFlight = NOTHING
  /** Connections opened since the last answer. */
  private fruitless = 0
  private onSettled: ((open: boolean) => void) | null = null
  private readonly input = Buffer.allocUnsafe(READ_BUFFER_BYTES)
  private readonly parser: ResponseParser
  private readonly reconnectsMax: number

  constructor(
    private readonly options: ClientOptions,
    private readonly onOutcome: OnOutcome,
  ) {
    this.parser = new ResponseParser(options.wantBody ?? false)
    this.reconnectsMax = options.reconnectsMax ?? RECONNECTS_MAX
  }

  /** True once the client gave up reconnecting (C4) or was closed. */
  get closed(): boolean {
    return this.link.state === 'closed'
  }

  /** Connects ahead of the first request; resolves to false when the client gave up. */
  open(): Promise<boolean> {
    assert(this.link.state === 'none', 'a client is opened once, before its first request')
    return new Promise((resolve) => {
      this.onSettled = resolve
      this.reconnect()
    })
  }

  /** Sends one request (strings as UTF-8) as soon as there is a connection; its outcome comes through `onOutcome`. */
  send(request: Buffer | string): void {
    assert(this.inFlight.state === 'nothing', 'one request in flight per connection')
    if (this.link.state === 'open') {
      this.inFlight = WRITTEN
      this.link.socket.write(request)
      return
    }
    this.inFlight = { state: 'queued', request }
    if (this.link.state === 'closed') this.settle(UNSENT, null)
    else if (this.link.state === 'none') this.reconnect()
  }

  /** Drops the connection; a request in flight becomes UNKNOWN or UNSENT. */
  close(): void {
    this.dropLink(CLOSED)
    this.settleOpening(false)
    this.settleLost()
  }

  private reconnect(): void {
    if (this.fruitless > this.reconnectsMax)
      this.close() // C4
    else if (this.fruitless <= 1) this.connect()
    else this.link = { state: 'waiting', timer: setTimeout(() => this.connect(), RECONNECT_DELAY_MS) }
  }

  private connect(): void {
    this.fruitless++
    const { host, port } = this.options
    const onread = { buffer: this.input, callback: (length: number): boolean => this.received(socket, length) }
    const socket: Socket = connect({ host, port, noDelay: true, onread })
    socket.on('connect', () => this.connected(socket))
    socket.on('end', () => this.ended(socket))
    socket.on('error', () => this.lost(socket))
    socket.on('close', () => this.lost(socket))
    this.link = { state: 'connecting', socket, timer: setTimeout(() => this.lost(socket), CONNECT_TIMEOUT_MS) }
  }

  private connected(socket: Socket): void {
    if (!this.owns(socket)) return
    if (this.link.state === 'connecting') clearTimeout(this.link.timer)
    this.link = { state: 'open', socket }
    if (this.inFlight.state === 'queued') {
      const { request } = this.inFlight
      this.inFlight = WRITTEN
      socket.write(request)
    }
    this.settleOpening(true)
  }

  /** Always true: keep reading. */
  private received(socket: Socket, length: number): boolean {
    if (!this.owns(socket)) return true
    if (this.inFlight.state !== 'written') {
      this.dropLink(NO_LINK) // C3
      return true
    }
    const result = this.parser.push(this.input, length)
    if (result === 'done')
      this.answered(!this.parser.surplus && this.parser.keepAlive) // C3
    else if (result === 'malformed') this.lost(socket)
    return true
  }

  private answered(reusable: boolean): void {
    const { status } = this.parser
    const body = this.parser.body()
    this.fruitless = 0
    if (reusable) this.parser.reset()
    else this.dropLink(NO_LINK)
    this.settle(status, body)
  }

  private ended(socket: Socket): void {
    if (this.owns(socket) && this.inFlight.state === 'written' && this.parser.end()) this.answered(false)
    else this.lost(socket)
  }

  private lost(socket: Socket): void {
    if (!this.owns(socket)) return
    this.dropLink(NO_LINK)
    if (this.inFlight.state === 'queued' || this.onSettled !== null) this.reconnect()
    else this.settleLost() // C2
  }

  private owns(socket: Socket): boolean {
    return (this.link.state === 'open' || this.link.state === 'connecting') && this.link.socket === socket
  }

  private dropLink(next: Link): void {
    const { link } = this
    this.link = next
    this.parser.reset()
    if (link.state === 'waiting' || link.state === 'connecting') clearTimeout(link.timer)
    if (link.state === 'open' || link.state === 'connecting') link.socket.destroy()
  }

  private settleLost(): void {
    if (this.inFlight.state === 'written') this.settle(UNKNOWN, null)
    else if (this.inFlight.state === 'queued') this.settle(UNSENT, null)
  }

  private settle(status: number, body: Buffer | null): void {
    this.inFlight = NOTHING // C1
    this.onOutcome(status, body)
  }

  private settleOpening(open: boolean): void {
    const { onSettled } = this
    this.onSettled = null
    onSettled?.(open)
  }
}

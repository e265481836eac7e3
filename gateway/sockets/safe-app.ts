/**
 * The uWS app as Socket.IO may use it. engine.io passes on few settings, ignores the result of `send` and trusts the
 * transport a request names, so all of that is seen to here.
 *
 * X2 A WebSocket that is too far behind is closed and gets nothing after the first message it missed. uWS alone would
 *    close it a turn of the loop later, and send again if its buffer drained meanwhile; the buffer drains only in its
 *    own writable event, and there it is closed before anything else can be sent.
 * W1 A request is handed on only to the transport it came by: an upgrade that names polling, or a plain request that
 *    names websocket, would throw in engine.io where nobody can catch it, or never be answered.
 * W2 What engine.io throws ends that connection, not the process.
 * W3 A client that is to blame is never told of a fault of ours: engine.io answers 500 to methods it does not know and
 *    to a second poll beside the first.
 * W4 A request whose headers contradict each other ends its connection: nothing behind it can be trusted to be one.
 */
import type { HttpRequest, HttpResponse, TemplatedApp, WebSocket, WebSocketBehavior } from 'uWebSockets.js'
import type { Client } from '../http/toolkit/client-address.js'
import { singleHeadersOf } from '../http/toolkit/single-headers.js'
import type { SocketLog } from './metrics.js'

/** Longer than engine.io waits for the answer to its ping, so that its verdict comes first. */
const IDLE_TIMEOUT_SECONDS = 60

/** What engine.io keeps with a WebSocket. */
interface EngineData {
  readonly transport: object
}
type EngineSocket = WebSocket<EngineData>
const methods = ['get', 'post', 'options']
type Handler = (res: HttpResponse, req: HttpRequest) => void

export interface SafeAppOptions {
  readonly backpressureBytesMax: number
  readonly messageBytesMax: number
  readonly clientOf: (res: HttpResponse, req: HttpRequest) => Client
  readonly log: SocketLog
  readonly onDropped: () => void
}

export class SafeApp {
  /** The WebSockets that are open. */
  readonly #open = new Set<EngineSocket>()
  readonly #slow = new WeakSet<object>()
  readonly #clients = new WeakMap<object, Client>()

  constructor(
    readonly app: TemplatedApp,
    readonly options: SafeAppOptions,
  ) {}

  get webSockets(): number {
    return this.#open.size
  }

  /** Marks an engine.io transport whose client does not keep up. */
  markSlow(transport: object): void {
    this.#slow.add(transport)
  }

  isSlow(transport: object): boolean {
    return this.#slow.has(transport)
  }

  /** Who sent an engine.io request. */
  clientOf(request: object): Client {
    return this.#clients.get(request) ?? { ip: 'unknown', limitKey: 'unknown', loopback: false, trustedProxy: false }
  }

  readonly any = (path: string, handler: Handler): this => {
    this.app.any(path, (res, req) => {
      if (singleHeadersOf(req).repeated !== undefined) return void res.close() // W4
      if (transportNamed(req) === 'websocket') return refuse(res) // W1
      if (!methods.includes(req.getMethod())) return refuseMethod(res) // W3
      blameClient(res)
      this.#clients.set(req, this.options.clientOf(res, req))
      this.#guarded(
        () => handler(res, req),
        () => res.close(),
      )
    })
    return this
  }

  readonly ws = (path: string, engine: WebSocketBehavior<EngineData>): this => {
    const { backpressureBytesMax, messageBytesMax, clientOf, onDropped } = this.options
    this.app.ws<EngineData>(path, {
      idleTimeout: IDLE_TIMEOUT_SECONDS,
      maxBackpressure: backpressureBytesMax,
      closeOnBackpressureLimit: true,
      maxPayloadLength: messageBytesMax,
      upgrade: (res, req, context) => {
        if (singleHeadersOf(req).repeated !== undefined) return void res.close() // W4
        if (transportNamed(req) !== 'websocket') return refuse(res) // W1
        this.#clients.set(req, clientOf(res, req))
        this.#guarded(
          () => engine.upgrade?.(res, req, context),
          () => res.close(),
        )
      },
      open: (ws) => {
        this.#open.add(ws)
        this.#guarded(
          () => engine.open?.(ws),
          () => this.#close(ws),
        )
      },
      message: (ws, message, isBinary) => {
        this.#guarded(
          () => engine.message?.(ws, message, isBinary),
          () => this.#close(ws),
        )
      },
      dropped: (ws) => {
        onDropped()
        const { transport } = ws.getUserData()
        if (this.isSlow(transport)) return
        this.markSlow(transport)
        // uWS is in the midst of sending: closing has to wait until it is done.
        setImmediate(() => this.#close(ws))
      },
      drain: (ws) => {
        if (this.isSlow(ws.getUserData().transport)) this.#close(ws) // X2
      },
      close: (ws, code, message) => {
        this.#open.delete(ws)
        this.#guarded(
          () => engine.close?.(ws, code, message),
          () => {},
        )
      },
    })
    return this
  }

  readonly publish = (topic: string, message: string | Uint8Array, isBinary: boolean): boolean =>
    this.app.publish(topic, message, isBinary)

  #close(ws: EngineSocket): void {
    if (this.#open.has(ws)) ws.close()
  }

  /** W2 */
  #guarded(run: () => void, abandon: () => void): void {
    try {
      run()
    } catch (error) {
      this.options.log.error({ err: error }, 'engine.io threw; the connection is closed')
      try {
        abandon()
      } catch {
        // The response was answered or aborted before: there is nothing left to close.
      }
    }
  }
}

/** The transport engine.io will read from the query: the last one named. */
function transportNamed(req: HttpRequest): string | undefined {
  return new URLSearchParams(req.getQuery()).getAll('transport').at(-1)
}

function refuse(res: HttpResponse): void {
  res.writeStatus('400 Bad Request').writeHeader('content-type', 'application/json')
  res.end('{"code":3,"message":"Bad request"}')
}

function refuseMethod(res: HttpResponse): void {
  res.writeStatus('405 Method Not Allowed').writeHeader('allow', methods.join(', ').toUpperCase())
  res.writeHeader('content-type', 'application/json').end('{"code":2,"message":"Bad handshake method"}')
}

/** W3 */
function blameClient(res: HttpResponse): void {
  const writeStatus = res.writeStatus.bind(res)
  res.writeStatus = (status) => writeStatus(status === '500 Internal Server Error' ? '400 Bad Request' : status)
}

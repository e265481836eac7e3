/**
 * Connections, whatever they carry: who may open one, and how far behind one may fall.
 *
 * X2 engine.io buffers without bound for a polling client that does not poll; past the limit the connection is closed.
 *    Its next poll is answered 400, and it connects anew.
 * B1 Connections are bounded, together and per address.
 */
import type { Socket } from 'socket.io'
import { DomainError } from '../../engine/errors.js'
import type { Client } from '../http/toolkit/client-address.js'
import type { SocketLimits } from './limits.js'
import type { SocketMetrics } from './metrics.js'
import type { SafeApp } from './safe-app.js'

/** An engine.io connection. */
type Connection = Socket['conn']

export interface ConnectionsOptions {
  readonly limits: SocketLimits
  readonly limitLoopback: boolean
  /** Counts a new connection against its address; returns 0, or in how many milliseconds there is room. */
  readonly addressBucket: { take(key: string): number }
}

export class Connections {
  readonly #perAddress = new Map<string, number>()
  readonly #watched = new Set<Connection>()
  #stopping = false

  constructor(
    readonly app: SafeApp,
    readonly metrics: SocketMetrics,
    readonly options: ConnectionsOptions,
  ) {}

  get open(): number {
    return this.#watched.size
  }

  get addresses(): number {
    return this.#perAddress.size
  }

  /** From now on no connection is admitted. */
  stop(): void {
    this.#stopping = true
  }

  /** Closes every connection; clients connect anew by themselves. */
  closeAll(): void {
    for (const connection of [...this.#watched]) connection.close()
  }

  /** Why a new connection is refused, if it is. To be asked before it is opened. */
  refusal(client: Client): DomainError | undefined {
    const error = this.#refusal(client)
    if (error !== undefined) this.metrics.refused(error.code)
    return error
  }

  #refusal(client: Client): DomainError | undefined {
    const { limits, addressBucket } = this.options
    if (this.#stopping) return new DomainError('unavailable', 'stopping', 'This server is stopping.')
    if (this.#watched.size >= limits.connectionsMax)
      return new DomainError('unavailable', 'full', 'Too many connections.')
    if (!this.#counts(client)) return undefined
    if ((this.#perAddress.get(client.limitKey) ?? 0) >= limits.connectionsPerAddressMax) {
      return new DomainError('too_many', 'too_many_connections', 'Too many connections from this address.')
    }
    if (addressBucket.take(client.limitKey) > 0) {
      return new DomainError('too_many', 'rate_limited', 'Too many new connections from this address.')
    }
    return undefined
  }

  /** Keeps account of a connection until it closes. */
  watch(connection: Connection): void {
    const client = this.app.clientOf(connection.request)
    this.#watched.add(connection)
    this.#count(client, 1)
    this.#boundPolling(connection)
    closeAtOnce(connection)
    connection.once('close', (reason: string) => {
      this.#watched.delete(connection)
      this.#count(client, -1)
      this.metrics.closed(this.app.isSlow(connection.transport) ? 'slow_client' : reason)
    })
  }

  #boundPolling(connection: Connection): void {
    const { pollBufferMax } = this.options.limits
    let waiting = 0
    connection.on('packetCreate', ({ data }: { readonly data?: string | Buffer }) => {
      if (connection.transport.name !== 'polling') return
      waiting += data?.length ?? 1
      if (waiting <= pollBufferMax) return
      this.app.markSlow(connection.transport) // X2
      connection.close(true)
    })
    connection.on('flush', () => {
      waiting = 0
    })
    // An aborted poll leaves nothing to answer; engine.io would wait half a minute for the chance to.
    const first = connection.transport
    first.prependOnceListener('error', () => first.discard())
  }

  #counts(client: Client): boolean {
    return !client.loopback || this.options.limitLoopback
  }

  #count(client: Client, change: 1 | -1): void {
    if (!this.#counts(client)) return
    const count = (this.#perAddress.get(client.limitKey) ?? 0) + change
    if (count === 0) this.#perAddress.delete(client.limitKey)
    else this.#perAddress.set(client.limitKey, count)
  }
}

/**
 * engine.io waits up to 45 seconds to tell a polling client, which may never poll again, that it is closed. The next
 * poll is refused anyway, and that tells it, too.
 */
function closeAtOnce(connection: Connection): void {
  const close = connection.close.bind(connection)
  connection.close = (discard) => close(discard === true || !connection.transport.writable)
}

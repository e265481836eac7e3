import { Counter, Gauge, type Registry } from 'prom-client'

/** Where the sockets write what operators must see; a pino logger fits. */
export interface SocketLog {
  error(context: object, message: string): void
}

export class SocketMetrics {
  readonly #closed: Counter<'reason'>
  readonly #dropped: Counter
  readonly #refused: Counter<'code'>
  readonly #received: Counter<'event' | 'outcome'>
  readonly #published: Counter<'event'>

  constructor(readonly registry: Registry) {
    const registers = [registry]
    this.#closed = new Counter({
      name: 'comptroller_sockets_closed_total',
      help: 'Connections that ended; reason slow_client when the server closed one that did not keep up',
      labelNames: ['reason'],
      registers,
    })
    this.#dropped = new Counter({
      name: 'comptroller_sockets_dropped_total',
      help: 'Messages not sent to clients about to be closed for being too slow',
      registers,
    })
    this.#refused = new Counter({
      name: 'comptroller_sockets_refused_total',
      help: 'Connections and namespace joins refused',
      labelNames: ['code'],
      registers,
    })
    this.#received = new Counter({
      name: 'comptroller_sockets_events_received_total',
      help: 'Events of clients by outcome: ok, or the error code',
      labelNames: ['event', 'outcome'],
      registers,
    })
    this.#published = new Counter({
      name: 'comptroller_sockets_events_published_total',
      help: 'Events published, each counted once however many clients get it',
      labelNames: ['event'],
      registers,
    })
  }

  /** Exports every gauge under its name. */
  expose(gauges: () => Readonly<Record<string, number>>): void {
    for (const name of Object.keys(gauges())) {
      new Gauge({
        name: `comptroller_sockets_${name}`,
        help: `Sockets: ${name.replaceAll('_', ' ')}`,
        registers: [this.registry],
        collect() {
          this.set(gauges()[name] ?? 0)
        },
      })
    }
  }

  closed(reason: string): void {
    this.#closed.inc({ reason: reason.replaceAll(' ', '_') })
  }

  dropped(): void {
    this.#dropped.inc()
  }

  refused(code: string): void {
    this.#refused.inc({ code })
  }

  received(event: string, outcome: string): void {
    this.#received.inc({ event, outcome })
  }

  published(event: string): void {
    this.#published.inc({ event })
  }
}

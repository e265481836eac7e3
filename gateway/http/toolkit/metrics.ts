import { Counter, Gauge, type Registry } from 'prom-client'
import { type Tally, TallyHistogram } from '../../tally-histogram.js'
import type { ClientAddresses } from './client-address.js'
import type { RateLimiter } from './rate-limit.js'

const bucketsSeconds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10]

/** Durations of one route and method, by status. */
export class RouteDurations {
  readonly #byStatus = new Map<number, Tally>()

  constructor(
    readonly histogram: TallyHistogram,
    readonly route: string,
    readonly method: string,
  ) {}

  observe(status: number, seconds: number): void {
    let tally = this.#byStatus.get(status)
    if (tally === undefined) {
      tally = this.histogram.of({ route: this.route, method: this.method, status: String(status) })
      this.#byStatus.set(status, tally)
    }
    tally.observe(seconds)
  }
}

/** The metrics of one HTTP server. */
export class HttpMetrics {
  private readonly durations: TallyHistogram
  private readonly rateLimited: Counter<'limit'>

  constructor(registry: Registry, limiter: RateLimiter, clients: ClientAddresses, inFlight: () => number) {
    const registers = [registry]
    this.durations = new TallyHistogram(
      'comptroller_http_request_duration_seconds',
      'From the arrival of a request to the end of its answer; status 499 when the client left first',
      bucketsSeconds,
      registry,
    )
    this.rateLimited = new Counter({
      name: 'comptroller_http_rate_limited_total',
      help: 'Requests refused by a rate limit',
      labelNames: ['limit'],
      registers,
    })
    new Gauge({
      name: 'comptroller_http_requests_in_flight',
      help: 'Requests without a complete answer yet',
      registers,
      collect() {
        this.set(inFlight())
      },
    })
    new Gauge({
      name: 'comptroller_http_clients_known',
      help: 'Client addresses remembered',
      registers,
      collect() {
        this.set(clients.size)
      },
    })
    new Gauge({
      name: 'comptroller_rate_limit_keys',
      help: 'Keys remembered by each rate limit',
      labelNames: ['limit'],
      registers,
      collect() {
        for (const bucket of limiter.buckets.values()) this.set({ limit: bucket.name }, bucket.size)
      },
    })
  }

  durationsOf(route: string, method: string): RouteDurations {
    return new RouteDurations(this.durations, route, method)
  }

  countRateLimited(limit: string): void {
    this.rateLimited.inc({ limit })
  }
}

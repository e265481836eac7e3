import { Counter, Gauge, type Histogram, type Registry } from 'prom-client'
import type { ClientAddresses } from './client-address.js'
import type { RateLimiter } from './rate-limit.js'

const bucketsSeconds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10]

interface Tally {
  readonly counts: Float64Array
  sumSeconds: number
}

/** Durations of one route and method: an array increment per request, where prom-client would hash the labels. */
export class RouteDurations {
  readonly byStatus = new Map<number, Tally>()

  constructor(
    readonly route: string,
    readonly method: string,
  ) {}

  observe(status: number, seconds: number): void {
    let tally = this.byStatus.get(status)
    if (tally === undefined) {
      tally = { counts: new Float64Array(bucketsSeconds.length + 1), sumSeconds: 0 }
      this.byStatus.set(status, tally)
    }
    let index = 0
    while (index < bucketsSeconds.length && seconds > (bucketsSeconds[index] ?? Number.POSITIVE_INFINITY)) index++
    tally.counts[index] = (tally.counts[index] ?? 0) + 1
    tally.sumSeconds += seconds
  }
}

/** The request histogram as a prom-client registry wants to see one; exports what {@link RouteDurations} counted. */
class RequestDurations {
  readonly name = 'comptroller_http_request_duration_seconds'
  readonly help = 'From the arrival of a request to the end of its answer; status 499 when the client left first'
  readonly type = 'histogram'
  readonly aggregator = 'sum'
  private readonly series: RouteDurations[] = []

  of(route: string, method: string): RouteDurations {
    const durations = new RouteDurations(route, method)
    this.series.push(durations)
    return durations
  }

  async get() {
    const { name, help, type, aggregator } = this
    return { name, help, type, aggregator, values: this.series.flatMap((durations) => this.valuesOf(durations)) }
  }

  reset(): void {
    for (const { byStatus } of this.series) byStatus.clear()
  }

  private valuesOf({ route, method, byStatus }: RouteDurations) {
    return [...byStatus].flatMap(([status, { counts, sumSeconds }]) => {
      const labels = { route, method, status: String(status) }
      let count = 0
      const buckets = Array.from(counts, (tally, index) => {
        count += tally
        const le = bucketsSeconds[index] ?? '+Inf'
        return { metricName: `${this.name}_bucket`, labels: { ...labels, le }, value: count }
      })
      const sum = { metricName: `${this.name}_sum`, labels, value: sumSeconds }
      return [...buckets, sum, { metricName: `${this.name}_count`, labels, value: count }]
    })
  }
}

/** The metrics of one HTTP server. */
export class HttpMetrics {
  private readonly durations = new RequestDurations()
  private readonly rateLimited: Counter<'limit'>

  constructor(registry: Registry, limiter: RateLimiter, clients: ClientAddresses, inFlight: () => number) {
    const registers = [registry]
    registry.registerMetric(this.durations as unknown as Histogram)
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
    return this.durations.of(route, method)
  }

  countRateLimited(limit: string): void {
    this.rateLimited.inc({ limit })
  }
}

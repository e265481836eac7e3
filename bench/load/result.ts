import { type EventLoopUtilization, performance } from 'node:perf_hooks'
import { UNKNOWN, UNSENT } from './http-client.js'
import { LatencyHistogram } from './latency.js'

/** Above this share of its one thread the generator, not the server, may be what limits the figures. */
const GENERATOR_BUSY_MAX = 0.9

/** How hard this process worked while it measured. */
export interface GeneratorLoad {
  /** CPU seconds of the whole process per second; 1 is one core. */
  readonly cpuShare: number
  /** Share of the time the event loop was working, naps of the open loop not counted. */
  readonly utilisation: number
  /** The figures are a lower bound of what the server can do. */
  readonly limiting: boolean
}

/** What one run saw. Latencies in microseconds. `requests` = the sum of `byStatus` + `unknown` + `unsent`. */
export interface LoadResult {
  readonly requests: number
  /** Answered with 2xx. */
  readonly ok: number
  readonly byStatus: Readonly<Record<number, number>>
  /** Written, then the connection was lost or the run's patience ended. */
  readonly unknown: number
  /** Never written: no connection, or an open loop's backlog was full. */
  readonly unsent: number
  /** Written later than due, in an open loop; in both cases the wait is part of the latency. */
  readonly late: number
  /** Connections given up during the run. */
  readonly connectionsLost: number
  /** From the first measured request to the last outcome. */
  readonly seconds: number
  /** Answers of any status per second. */
  readonly perSecond: number
  readonly p50: number
  readonly p90: number
  readonly p99: number
  readonly p999: number
  readonly max: number
  /** All latencies, to be added to those of other runs. */
  readonly latency: LatencyHistogram
  readonly generator: GeneratorLoad
}

/** Microseconds on the monotonic clock, with fractions. */
export function nowMicros(): number {
  return performance.now() * 1000
}

/** Counts outcomes and latencies of one run. */
export class Tally {
  requests = 0
  late = 0
  connectionsLost = 0
  private unknown = 0
  private unsent = 0
  private readonly answers = new Uint32Array(1000)
  private readonly latency = new LatencyHistogram()

  /** Counts one outcome of a request that has been counted in `requests`. */
  outcome(status: number, latencyMicros: number): void {
    if (status === UNKNOWN) this.unknown++
    else if (status === UNSENT) this.unsent++
    else {
      this.answers[status] = (this.answers[status] ?? 0) + 1
      this.latency.record(latencyMicros)
    }
  }

  result(seconds: number, generator: GeneratorLoad): LoadResult {
    const { requests, unknown, unsent, late, connectionsLost, latency } = this
    const seen = [...this.answers.entries()].filter(([, count]) => count > 0)
    const total = (counts: [number, number][]) => counts.reduce((sum, [, count]) => sum + count, 0)
    return {
      requests,
      ok: total(seen.filter(([status]) => status >= 200 && status < 300)),
      byStatus: Object.fromEntries(seen),
      unknown,
      unsent,
      late,
      connectionsLost,
      seconds,
      perSecond: seconds > 0 ? total(seen) / seconds : 0,
      p50: latency.at(50),
      p90: latency.at(90),
      p99: latency.at(99),
      p999: latency.at(99.9),
      max: latency.max,
      latency,
      generator,
    }
  }
}

/** Measures this process between two moments. */
export class GeneratorMeter {
  private cpu = process.cpuUsage()
  private loop: EventLoopUtilization = performance.eventLoopUtilization()
  private startedAt = nowMicros()
  private nappedMicros = 0

  /** Forgets what came before: the warm-up is over. */
  restart(): void {
    this.cpu = process.cpuUsage()
    this.loop = performance.eventLoopUtilization()
    this.startedAt = nowMicros()
    this.nappedMicros = 0
  }

  /** Time the event loop looked busy but slept. */
  napped(micros: number): void {
    this.nappedMicros += micros
  }

  read(): GeneratorLoad {
    const wallMicros = nowMicros() - this.startedAt
    const { user, system } = process.cpuUsage(this.cpu)
    const { active, idle } = performance.eventLoopUtilization(this.loop)
    const utilisation = Math.max(0, active - this.nappedMicros / 1000) / Math.max(1e-9, active + idle)
    return { cpuShare: (user + system) / wallMicros, utilisation, limiting: utilisation > GENERATOR_BUSY_MAX }
  }
}

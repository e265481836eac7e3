import { build, type Histogram } from 'hdr-histogram-js'

const HIGHEST_MICROS = 3_600_000_000

/** Latencies in whole microseconds, three significant digits (HdrHistogram; about 0.1 µs a record). */
export class LatencyHistogram {
  private readonly counts: Histogram = build({
    bitBucketSize: 32,
    lowestDiscernibleValue: 1,
    highestTrackableValue: HIGHEST_MICROS,
    numberOfSignificantValueDigits: 3,
  })

  get count(): number {
    return this.counts.totalCount
  }

  record(micros: number): void {
    this.counts.recordValue(Math.min(HIGHEST_MICROS, Math.max(0, Math.round(micros))))
  }

  /** Adds what another histogram recorded, for example another generator's. */
  add(other: LatencyHistogram): void {
    this.counts.add(other.counts)
  }

  /** Microseconds that `percentile` (0–100) of the records do not exceed; 0 when there are none. */
  at(percentile: number): number {
    return this.counts.totalCount === 0 ? 0 : this.counts.getValueAtPercentile(percentile)
  }

  get max(): number {
    return this.counts.maxValue
  }
}

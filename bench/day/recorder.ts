/** Times by what they are of: of the whole day, and of the part since the last look. */
import { LatencyHistogram } from '../load/latency.js'

export interface Times {
  readonly count: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
}

const timesOf = (histogram: LatencyHistogram): Times => ({
  count: histogram.count,
  p50Ms: histogram.at(50) / 1_000,
  p99Ms: histogram.at(99) / 1_000,
  maxMs: histogram.count === 0 ? 0 : histogram.max / 1_000,
})

export class Recorder {
  readonly #day = new Map<string, LatencyHistogram>()
  #part = new Map<string, LatencyHistogram>()
  readonly #counts: Record<string, number> = {}

  time(kind: string, ms: number): void {
    for (const histograms of [this.#day, this.#part]) {
      let histogram = histograms.get(kind)
      if (histogram === undefined) {
        histogram = new LatencyHistogram()
        histograms.set(kind, histogram)
      }
      histogram.record(ms * 1_000)
    }
  }

  /** Something happened once more, or so many times. */
  count(what: string, times = 1): void {
    this.#counts[what] = (this.#counts[what] ?? 0) + times
  }

  get counts(): Readonly<Record<string, number>> {
    return this.#counts
  }

  /** Since the last look. */
  takePart(): Record<string, Times> {
    const part = this.#part
    this.#part = new Map()
    return readingOf(part)
  }

  get day(): Record<string, Times> {
    return readingOf(this.#day)
  }
}

function readingOf(histograms: ReadonlyMap<string, LatencyHistogram>): Record<string, Times> {
  return Object.fromEntries([...histograms].map(([kind, histogram]) => [kind, timesOf(histogram)]))
}

/** A Prometheus histogram for hot paths: an array increment per value, where prom-client would hash the labels. */
import type { Histogram, Registry } from 'prom-client'

type Labels = Readonly<Record<string, string>>

/** The values of one combination of labels. */
export class Tally {
  readonly counts: Float64Array
  sum = 0

  constructor(
    readonly labels: Labels,
    readonly bounds: readonly number[],
  ) {
    this.counts = new Float64Array(bounds.length + 1)
  }

  observe(value: number): void {
    let index = 0
    while (index < this.bounds.length && value > (this.bounds[index] ?? Number.POSITIVE_INFINITY)) index++
    this.counts[index] = (this.counts[index] ?? 0) + 1
    this.sum += value
  }
}

export class TallyHistogram {
  readonly type = 'histogram'
  readonly aggregator = 'sum'
  readonly #tallies: Tally[] = []

  constructor(
    readonly name: string,
    readonly help: string,
    /** Upper bounds of the buckets, ascending. */
    readonly bounds: readonly number[],
    registry: Registry,
  ) {
    registry.registerMetric(this as unknown as Histogram)
  }

  of(labels: Labels): Tally {
    const tally = new Tally(labels, this.bounds)
    this.#tallies.push(tally)
    return tally
  }

  /** What prom-client asks of a metric. */
  async get() {
    const { name, help, type, aggregator } = this
    return { name, help, type, aggregator, values: this.#tallies.flatMap((tally) => this.#valuesOf(tally)) }
  }

  reset(): void {
    this.#tallies.length = 0
  }

  #valuesOf({ labels, bounds, counts, sum }: Tally) {
    let count = 0
    const buckets = Array.from(counts, (tally, index) => {
      count += tally
      return { metricName: `${this.name}_bucket`, labels: { ...labels, le: bounds[index] ?? '+Inf' }, value: count }
    })
    return [
      ...buckets,
      { metricName: `${this.name}_sum`, labels, value: sum },
      { metricName: `${this.name}_count`, labels, value: count },
    ]
  }
}

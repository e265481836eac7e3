/** Reads the Prometheus text format as far as prom-client writes it. */

/** Values of one scrape by series: `name{label="value"}`. */
export type Scrape = ReadonlyMap<string, number>

export async function scrape(url: string): Promise<Scrape> {
  const response = await fetch(new URL('/metrics', url))
  if (!response.ok) throw new Error(`${url}/metrics answered ${response.status}`)
  return parseScrape(await response.text())
}

export function parseScrape(text: string): Scrape {
  const values = new Map<string, number>()
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue
    const space = line.lastIndexOf(' ')
    values.set(line.slice(0, space), Number(line.slice(space + 1)))
  }
  return values
}

/** What a histogram counted between two scrapes. */
export class HistogramDifference {
  /** Cumulative counts by upper bound, ascending. */
  readonly #buckets: { readonly bound: number; readonly count: number }[] = []
  readonly count: number
  readonly sum: number

  /** `labels` as in the text, `command="scan.submit"` say; empty for none. */
  constructor(before: Scrape, after: Scrape, name: string, labels = '') {
    const difference = (series: string) => (after.get(series) ?? 0) - (before.get(series) ?? 0)
    const inBraces = labels === '' ? '' : `{${labels}}`
    const prefix = `${name}_bucket{${labels === '' ? '' : `${labels},`}le="`
    for (const series of after.keys()) {
      if (!series.startsWith(prefix)) continue
      const bound = series.slice(prefix.length, -'"}'.length)
      this.#buckets.push({
        bound: bound === '+Inf' ? Number.POSITIVE_INFINITY : Number(bound),
        count: difference(series),
      })
    }
    this.#buckets.sort((a, b) => a.bound - b.bound)
    this.count = difference(`${name}_count${inBraces}`)
    this.sum = difference(`${name}_sum${inBraces}`)
  }

  get mean(): number {
    return this.count === 0 ? 0 : this.sum / this.count
  }

  /** The value that `percentile` (0–100) of the counted do not exceed, interpolated within its bucket. */
  at(percentile: number): number {
    const rank = (this.count * percentile) / 100
    let lower = { bound: 0, count: 0 }
    for (const bucket of this.#buckets) {
      if (bucket.count >= rank && bucket.count > lower.count) {
        if (bucket.bound === Number.POSITIVE_INFINITY) return lower.bound
        const share = (rank - lower.count) / (bucket.count - lower.count)
        return lower.bound + share * (bucket.bound - lower.bound)
      }
      lower = bucket
    }
    return lower.bound
  }
}

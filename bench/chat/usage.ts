import { scrape } from '../scan/prometheus.js'

/** What a process has used so far: `process.cpuUsage`, all its threads included, and its memory. */
export interface Usage {
  readonly cpuSeconds: number
  readonly rssBytes: number
}

/** The usage of a server of ours, as its metrics say. */
export async function usageOf(url: string): Promise<Usage> {
  const values = await scrape(url)
  return {
    cpuSeconds: values.get('process_cpu_seconds_total') ?? Number.NaN,
    rssBytes: values.get('process_resident_memory_bytes') ?? Number.NaN,
  }
}

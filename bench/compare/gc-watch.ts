/**
 * Preloaded into the Node of a server (`--import`): notes each pause of its main thread for garbage in a file of its own, so
 * that the longest of a run is known to the microsecond; the server's metrics know only buckets.
 */
import { appendFileSync } from 'node:fs'
import { join } from 'node:path'
import { PerformanceObserver } from 'node:perf_hooks'
import { isMainThread } from 'node:worker_threads'

const { BENCH_GC_FOLDER: folder } = process.env

if (isMainThread && folder !== undefined) {
  const file = join(folder, `${process.pid}.txt`)
  const observer = new PerformanceObserver((list) => {
    const pauses = list
      .getEntries()
      .map(({ startTime, duration }) => `${(performance.timeOrigin + startTime).toFixed(3)} ${duration.toFixed(3)}\n`)
    appendFileSync(file, pauses.join(''))
  })
  observer.observe({ entryTypes: ['gc'] })
}

/** When the oversight of a wallet does what. Nothing is kept between starts: what is due then is done once more. */
import type { Oversight } from './oversight.js'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS
const CONTINUOUS_EVERY_MS = 5 * MINUTE_MS
/** BJ-REC-01, BJ-JOB-03 */
const DAILY_AT_MS = 5 * HOUR_MS

export class Schedule {
  #comparedAt = Number.NEGATIVE_INFINITY
  #hour = -1
  #day = -1

  constructor(
    private readonly oversight: Oversight,
    private readonly nowMs: () => number,
  ) {}

  /** Looks at new blocks and does what is due; returns whether there are more blocks. */
  async work(): Promise<boolean> {
    if (await this.oversight.watch()) return true
    const now = this.nowMs()
    const day = Math.floor((now - DAILY_AT_MS) / DAY_MS)
    if (day !== this.#day) {
      await this.oversight.reconcile('daily')
      this.#day = day
      this.#comparedAt = now
    }
    if (now - this.#comparedAt >= CONTINUOUS_EVERY_MS) {
      await this.oversight.reconcile('continuous')
      this.#comparedAt = now
    }
    // BJ-TRS-11, BJ-JOB-01
    const hour = Math.floor(now / HOUR_MS)
    if (hour !== this.#hour) {
      await this.oversight.snapshot()
      this.#hour = hour
    }
    return false
  }
}

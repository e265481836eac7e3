/**
 * Scans a minute, now and at its highest today (BJ-INS-14): a fold over the times of scans, in whole seconds. It keeps
 * five minutes; what is asked for a time is counted up to that time.
 */
const KEPT_SECONDS = 300
const WINDOW_SECONDS = 60
const DAY_SECONDS = 86_400

/** As it travels to another process. */
export interface KeptVelocity {
  /** The last second; null when nothing was counted yet. */
  readonly second: number | null
  readonly perMinute: number
  readonly peak: number
  /** Of the last seconds, oldest first; the last is {@link second}. */
  readonly counts: readonly number[]
}

export class ScanVelocity {
  readonly #counts = new Uint32Array(KEPT_SECONDS)
  #second = Number.NEGATIVE_INFINITY
  #perMinute = 0
  #peak = 0

  static restored({ second, perMinute, peak, counts }: KeptVelocity): ScanVelocity {
    const velocity = new ScanVelocity()
    if (second === null) return velocity
    velocity.#second = second
    velocity.#perMinute = perMinute
    velocity.#peak = peak
    for (const [index, count] of counts.entries()) {
      velocity.#counts[(second - counts.length + 1 + index) % KEPT_SECONDS] = count
    }
    return velocity
  }

  get kept(): KeptVelocity {
    const last = this.#second
    if (last === Number.NEGATIVE_INFINITY) return { second: null, perMinute: 0, peak: this.#peak, counts: [] }
    const counts = Array.from({ length: KEPT_SECONDS }, (_, index) => this.#at(last - KEPT_SECONDS + 1 + index))
    return { second: last, perMinute: this.#perMinute, peak: this.#peak, counts }
  }

  /** Counts scans accepted at a time in milliseconds since 1970; times more than five minutes old are left out. */
  add(atMs: number, scans = 1): void {
    const second = Math.floor(atMs / 1_000)
    this.#advance(second)
    const age = this.#second - second
    if (age >= KEPT_SECONDS) return
    this.#counts[second % KEPT_SECONDS] = this.#at(second) + scans
    if (age < WINDOW_SECONDS) this.#perMinute += scans
    this.#peak = Math.max(this.#peak, this.#perMinute)
  }

  /** Scans in the minute that ends now. */
  scansPerMinute(nowMs: number): number {
    this.#advance(Math.floor(nowMs / 1_000))
    return this.#perMinute
  }

  /** The highest {@link scansPerMinute} of the UTC day so far. */
  peakToday(nowMs: number): number {
    this.#advance(Math.floor(nowMs / 1_000))
    return this.#peak
  }

  /** Scans of the last five minutes in steps, oldest first; the last step is the one running now. */
  recent(nowMs: number, stepSeconds: number): number[] {
    this.#advance(Math.floor(nowMs / 1_000))
    const steps = KEPT_SECONDS / stepSeconds
    const lastStep = Math.floor(this.#second / stepSeconds)
    return Array.from({ length: steps }, (_, index) => {
      const from = (lastStep - steps + 1 + index) * stepSeconds
      let scans = 0
      for (let second = Math.max(from, this.#second - KEPT_SECONDS + 1); second < from + stepSeconds; second += 1) {
        if (second <= this.#second) scans += this.#at(second)
      }
      return scans
    })
  }

  #at(second: number): number {
    return this.#counts[second % KEPT_SECONDS] ?? 0
  }

  #advance(to: number): void {
    const stepwise = Math.min(to, this.#second + KEPT_SECONDS)
    while (this.#second < stepwise) {
      this.#second += 1
      this.#perMinute -= this.#at(this.#second - WINDOW_SECONDS)
      this.#counts[this.#second % KEPT_SECONDS] = 0
      if (this.#second % DAY_SECONDS === 0) this.#peak = this.#perMinute
    }
    if (to <= this.#second) return
    // Everything kept has been passed and is zero by now.
    if (Math.floor(to / DAY_SECONDS) !== Math.floor(this.#second / DAY_SECONDS)) this.#peak = 0
    this.#second = to
  }
}

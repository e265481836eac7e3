/** May spend `burst` at once and gains `ratePerSecond`. */
export class TokenBucket {
  #tokens: number
  #atMs: number

  constructor(
    readonly burst: number,
    readonly ratePerSecond: number,
    readonly now: () => number,
  ) {
    this.#tokens = burst
    this.#atMs = now()
  }

  /** Spends one token. Returns 0, or in how many milliseconds there will be one. */
  take(): number {
    const nowMs = this.now()
    const gained = (Math.max(0, nowMs - this.#atMs) / 1_000) * this.ratePerSecond
    this.#tokens = Math.min(this.burst, this.#tokens + gained)
    this.#atMs = nowMs
    if (this.#tokens < 1) return ((1 - this.#tokens) / this.ratePerSecond) * 1_000
    this.#tokens -= 1
    return 0
  }
}

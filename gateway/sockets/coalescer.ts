import type { Environment } from '../../engine/store.js'

/**
 * Runs something at most once per interval, at once when it has been quiet, and always after the last touch (X3). Each
 * run finds the latest state, so what was touched in between is in it.
 */
export class Coalescer {
  #lastAt = Number.NEGATIVE_INFINITY
  #cancel: (() => void) | undefined

  constructor(
    readonly intervalMs: number,
    readonly environment: Pick<Environment, 'now' | 'wakeAt'>,
    readonly run: () => void,
  ) {}

  touch(): void {
    if (this.#cancel !== undefined) return
    const now = this.environment.now()
    const dueAt = Math.min(this.#lastAt, now) + this.intervalMs // the clock may have been set back
    if (now >= dueAt) this.#fire(now)
    else this.#cancel = this.environment.wakeAt(dueAt, () => this.#fire(this.environment.now()))
  }

  stop(): void {
    this.#cancel?.()
    this.#cancel = undefined
  }

  #fire(now: number): void {
    this.#cancel = undefined
    this.#lastAt = now
    this.run()
  }
}

/** Keeps a job going: again soon while there is work, later when there is none, with growing pauses after failures. */
import type { Logger } from 'pino'

const RETRY_MS = 500
const RETRY_MAX_MS = 30_000

export interface WorkerOptions {
  readonly name: string
  /** One round; returns whether there is more to do soon. */
  readonly work: () => Promise<boolean>
  readonly busyIntervalMs: number
  readonly idleIntervalMs: number
  readonly log: Logger
}

export class Worker {
  #stopped = false
  #done: Promise<void> | null = null
  #wake: (() => void) | null = null
  /** Somebody called while a round was under way. */
  #isCalled = false
  failuresInARow = 0

  constructor(private readonly options: WorkerOptions) {}

  start(): void {
    this.#done ??= this.#run()
  }

  /** There may be work: look now. */
  wake(): void {
    this.#isCalled = true
    this.#wake?.()
  }

  /** Ends after the round that is under way. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#wake?.()
    await this.#done
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      this.#isCalled = false
      const pauseMs = await this.#once()
      // After a failure a call does not spare the pause: it would be a loop without one.
      if (!this.#isCalled || this.failuresInARow > 0) await this.#pause(pauseMs)
    }
  }

  async #once(): Promise<number> {
    const { name, work, busyIntervalMs, idleIntervalMs, log } = this.options
    try {
      const isBusy = await work()
      if (this.failuresInARow > 0) log.info({ worker: name }, 'goes on')
      this.failuresInARow = 0
      return isBusy ? busyIntervalMs : idleIntervalMs
    } catch (error) {
      this.failuresInARow += 1
      if (!this.#stopped) log.warn({ err: error, worker: name, failures: this.failuresInARow }, 'failed; tries again')
      return Math.min(RETRY_MAX_MS, RETRY_MS * 2 ** (this.failuresInARow - 1))
    }
  }

  #pause(ms: number): Promise<void> {
    if (this.#stopped) return Promise.resolve()
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#wake?.(), ms)
      this.#wake = () => {
        clearTimeout(timer)
        this.#wake = null
        resolve()
      }
    })
  }
}

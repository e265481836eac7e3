/** The commands of all sockets that wait for their outcome. A stop answers them, and refuses what comes after. */
import { DomainError } from '../../engine/errors.js'

const STOPPING_RETRY_AFTER_MS = 1_000

export class CommandsUnderWay {
  #count = 0
  #refused = 0
  #stopping = false
  #onIdle: () => void = () => {}

  get count(): number {
    return this.#count
  }

  /** Commands that came after {@link stop}. */
  get refused(): number {
    return this.#refused
  }

  /** Runs a command; rejects with `stopping` once {@link stop} was called. */
  async run<Answer>(command: () => Answer | Promise<Answer>): Promise<Answer> {
    if (this.#stopping) {
      this.#refused += 1
      const message = 'This server is stopping; try again.'
      throw new DomainError('unavailable', 'stopping', message, { retryAfterMs: STOPPING_RETRY_AFTER_MS })
    }
    this.#count += 1
    try {
      return await command()
    } finally {
      this.#count -= 1
      if (this.#count === 0) this.#onIdle()
    }
  }

  /** Resolves when nothing is under way any more, or after `timeoutMs`. */
  async stop(timeoutMs: number): Promise<void> {
    this.#stopping = true
    if (this.#count === 0) return
    let timer: NodeJS.Timeout | undefined
    await new Promise<void>((resolve) => {
      this.#onIdle = resolve
      timer = setTimeout(resolve, timeoutMs)
    })
    clearTimeout(timer)
  }
}

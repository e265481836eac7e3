/** What is asked of the server over one connection, no faster than it takes it. B1 `WAITING_MAX` wait at most. */
import { asChatError, ChatError, connectionLost, isPassing } from './errors.js'
import type { Timers } from './timers.js'
import type { Connection } from './wire.js'

/** Half of what the server lets one socket have. */
const IN_FLIGHT_MAX = 8
const WAITING_MAX = 200
const ATTEMPTS_MAX = 4
const RETRY_AFTER_MS = 1_000

export class Commands {
  #inFlight = 0
  #isOver = false
  readonly #waiting: (() => void)[] = []

  constructor(
    readonly connection: Connection,
    readonly timers: Timers,
  ) {}

  get isOver(): boolean {
    return this.#isOver
  }

  /** The connection has ended: what waits is not asked any more. */
  end(): void {
    this.#isOver = true
    for (const go of this.#waiting.splice(0)) go()
  }

  /** Rejects with a ChatError. What the server has no time for is asked again a few times. */
  async ask<Answer>(event: string, payload: object): Promise<Answer> {
    for (let attempt = 1; ; attempt++) {
      try {
        return (await this.#askOnce(event, payload)) as Answer
      } catch (cause) {
        const error = asChatError(cause)
        if (this.#isOver || !isPassing(error) || attempt === ATTEMPTS_MAX) throw error
        await new Promise<void>((resolve) => this.timers.after(error.retryAfterMs ?? RETRY_AFTER_MS * attempt, resolve))
      }
    }
  }

  async #askOnce(event: string, payload: object): Promise<unknown> {
    if (this.#inFlight >= IN_FLIGHT_MAX) {
      if (this.#waiting.length >= WAITING_MAX) throw new ChatError('too_many_waiting', 'Too much is waiting already.')
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
    if (this.#isOver) throw connectionLost()
    this.#inFlight += 1
    try {
      return await this.connection.ask(event, payload)
    } finally {
      this.#inFlight -= 1
      this.#waiting.shift()?.()
    }
  }
}

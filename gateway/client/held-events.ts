/**
 * Events that came while they cannot be applied. B1 When there are more than `HELD_MAX`, only the last is kept: what is
 * missing is asked for.
 */
import type { ChannelEvent } from './events.js'

const HELD_MAX = 500

export class HeldEvents {
  #held: ChannelEvent[] = []

  hold(event: ChannelEvent): void {
    if (this.#held.length >= HELD_MAX) this.#held = []
    this.#held.push(event)
  }

  /** All of them, by offset. */
  takeAll(): readonly ChannelEvent[] {
    const held = this.#held
    this.#held = []
    return held.sort((one, other) => one.data.offset - other.data.offset)
  }
}

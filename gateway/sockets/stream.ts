/**
 * A numbered sequence of events of which the last few are kept.
 *
 * X1 Offsets start at 1 and have no gaps; whoever names the epoch and the last offset he has gets exactly what came
 *    after it, or is told to resync when that is not known any more.
 */
import { assert } from '../../engine/assert.js'

/** Where a reader stands: the offset of the last event he has, 0 for none. */
export interface Position {
  readonly epoch: string
  readonly offset: number
}

/** A stream as it travels to another process. */
export interface KeptStream<Event> extends Position {
  /** The last ones, oldest first. */
  readonly events: readonly Event[]
}

export class Stream<Event> {
  readonly #kept: Event[] = []
  #offset = 0

  constructor(
    readonly epoch: string,
    readonly keptMax: number,
  ) {
    assert(keptMax > 0, 'a stream keeps at least one event')
  }

  /** A copy of one elsewhere that keeps as many. */
  static restored<Event>({ epoch, offset, events }: KeptStream<Event>, keptMax: number): Stream<Event> {
    const stream = new Stream<Event>(epoch, keptMax)
    assert(events.length === Math.min(offset, keptMax), 'nothing that a stream keeps is missing')
    stream.#offset = offset - events.length
    for (const event of events) stream.append(() => event)
    return stream
  }

  get kept(): KeptStream<Event> {
    return { ...this.position, events: this.latest(this.keptMax) }
  }

  get offset(): number {
    return this.#offset
  }

  get position(): Position {
    return { epoch: this.epoch, offset: this.#offset }
  }

  /** Adds the event made for the next position. */
  append(make: (position: Position) => Event): Event {
    const event = make({ epoch: this.epoch, offset: this.#offset + 1 })
    this.#kept[this.#offset % this.keptMax] = event
    this.#offset += 1
    return event
  }

  /** What came after `offset`, oldest first (X1). */
  since(epoch: string, offset: number): Event[] | 'resync' {
    const missed = this.#offset - offset
    if (epoch !== this.epoch || missed < 0 || missed > this.#kept.length) return 'resync'
    return this.latest(missed)
  }

  /** The last `count` events at most, oldest first. */
  latest(count: number): Event[] {
    const known = Math.min(count, this.#kept.length)
    const from = this.#offset - known
    return Array.from({ length: known }, (_, index) => this.#kept[(from + index) % this.keptMax] as Event)
  }
}

/** Follows a numbered stream over reconnections: every item once and in order, or a fresh start. */

export interface Position {
  readonly epoch: string
  readonly offset: number
}

/** What the server says on every connection. */
export interface Beginning<Item> extends Position {
  /** The latest items, oldest first. */
  readonly items: readonly Item[]
}

export type Resumed<Item> =
  | ({ readonly events: readonly { readonly data: Item }[] } & Position)
  | ({ readonly resync: true } & Position)

export interface FollowerOptions<Item> {
  /** Shows items: in addition, or instead of all before. */
  readonly show: (items: readonly Item[], instead: boolean) => void
  /** Asks the server for what came after a position. */
  readonly resume: (from: Position) => Promise<Resumed<Item>>
}

export class Follower<Item extends Position> {
  #at: Position | undefined
  #latest: Beginning<Item> | undefined
  /** Live items that came while a resume is on its way; undefined when none is. */
  #held: Item[] | undefined

  constructor(readonly options: FollowerOptions<Item>) {}

  /** A connection begins; what came of the one before is over. */
  connected(beginning: Beginning<Item>): void {
    this.#latest = beginning
    this.#held = undefined
    const at = this.#at
    if (at === undefined || at.epoch !== beginning.epoch || at.offset > beginning.offset) {
      this.#begin(beginning)
      return
    }
    const missed = beginning.items.filter(({ offset }) => offset > at.offset)
    if (missed.length === beginning.offset - at.offset) this.#add(missed)
    else this.#catchUp(at)
  }

  /** The server tells an item. */
  receive(item: Item): void {
    if (this.#held !== undefined) {
      this.#held.push(item)
      return
    }
    const at = this.#at
    if (at === undefined || (item.epoch === at.epoch && item.offset <= at.offset)) return
    if (item.epoch === at.epoch && item.offset === at.offset + 1) this.#add([item])
    else this.#catchUp(at, item)
  }

  #catchUp(from: Position, ...held: Item[]): void {
    const waiting = held
    this.#held = waiting
    this.options.resume(from).then(
      (resumed) => {
        if (this.#held === waiting) this.#join(resumed, waiting)
      },
      () => {
        if (this.#held === waiting) this.#held = undefined // the next item or connection tries again
      },
    )
  }

  /** The answer holds everything up to its offset; of what came meanwhile only the rest is new. */
  #join(resumed: Resumed<Item>, waiting: readonly Item[]): void {
    this.#held = undefined
    if ('events' in resumed) this.#add(resumed.events.map(({ data }) => data))
    else if (this.#latest !== undefined) this.#begin(this.#latest)
    for (const item of waiting) {
      if (this.#at === undefined || item.epoch !== this.#at.epoch || item.offset > this.#at.offset) this.#add([item])
    }
  }

  #begin(beginning: Beginning<Item>): void {
    this.#at = { epoch: beginning.epoch, offset: beginning.offset }
    this.options.show(beginning.items, true)
  }

  #add(items: readonly Item[]): void {
    const last = items.at(-1)
    if (last === undefined) return
    this.#at = { epoch: last.epoch, offset: last.offset }
    this.options.show(items, false)
  }
}

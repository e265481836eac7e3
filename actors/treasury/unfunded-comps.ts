/** Comps awarded while the pool was short, in the order they were won: first funds in, first comp funded. */
import type { Table } from '../../engine/table.js'

export interface UnfundedComp {
  readonly compId: string
  readonly userId: string
  /** Micro-USDT. */
  readonly amount: bigint
}

export type UnfundedDelta =
  | ({ readonly op: 'waits' } & UnfundedComp)
  | { readonly op: 'funded'; readonly compId: string }

const BYTES_PER_ENTRY = 200

export class UnfundedComps implements Table<UnfundedDelta> {
  readonly name = 'unfunded-comps'
  readonly #waiting = new Map<string, UnfundedComp>()

  get size(): number {
    return this.#waiting.size
  }

  get bytes(): number {
    return this.#waiting.size * BYTES_PER_ENTRY
  }

  /** Longest waiting first. */
  waiting(): IterableIterator<UnfundedComp> {
    return this.#waiting.values()
  }

  apply(delta: UnfundedDelta): void {
    if (delta.op === 'funded') this.#waiting.delete(delta.compId)
    else this.#waiting.set(delta.compId, { compId: delta.compId, userId: delta.userId, amount: delta.amount })
  }
}

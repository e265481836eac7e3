/** Withdrawals that are not over, oldest first: what is followed on chain. */
import type { Table } from '../../engine/table.js'

export interface OpenWithdrawal {
  readonly withdrawalId: string
  readonly userId: string
}

export type OpenWithdrawalDelta =
  | ({ readonly op: 'is' } & OpenWithdrawal)
  | { readonly op: 'over'; readonly withdrawalId: string }

const BYTES_PER_ENTRY = 400

export class OpenWithdrawals implements Table<OpenWithdrawalDelta> {
  readonly name = 'open-withdrawals'
  readonly #open = new Map<string, OpenWithdrawal>()
  readonly #countOf = new Map<string, number>()

  get size(): number {
    return this.#open.size
  }

  get bytes(): number {
    return this.#open.size * BYTES_PER_ENTRY
  }

  all(): IterableIterator<OpenWithdrawal> {
    return this.#open.values()
  }

  /** Of one member. */
  countOf(userId: string): number {
    return this.#countOf.get(userId) ?? 0
  }

  apply(delta: OpenWithdrawalDelta): void {
    const { withdrawalId } = delta
    const before = this.#open.get(withdrawalId)
    if (before !== undefined) {
      this.#open.delete(withdrawalId)
      this.#count(before.userId, -1)
    }
    if (delta.op === 'over') return
    const { userId } = delta
    this.#open.set(withdrawalId, { withdrawalId, userId })
    this.#count(userId, 1)
  }

  #count(userId: string, change: number): void {
    const count = this.countOf(userId) + change
    if (count === 0) this.#countOf.delete(userId)
    else this.#countOf.set(userId, count)
  }
}

import type { PackedFact } from './recovery-record.js'

/**
 * A large pinned structure that is not a machine (code book, directories). It changes only by deltas, which are
 * journaled and applied once when the turn commits and again at recovery (J3), so `apply` must be total.
 */
export interface Table<Delta = never> {
  readonly name: string
  /** Memory held, for a gauge. */
  readonly bytes: number
  apply(delta: Delta): void
}

/** A table whose delta type is not known to the holder; deltas reach it only from its own records. */
export type AnyTable = Table<never>

/** An in-memory fold over facts that is only read, never decided on. */
export interface View {
  readonly name: string
  /** The types of facts it folds; it is given no others. */
  readonly facts: readonly string[]
  fold(fact: { readonly type: string }, at: number, seq: number): void
  /** The same at recovery. What the view keeps of the fact, it copies. */
  restore(fact: PackedFact, at: number, seq: number): void
  /** Postgres holds everything up to `seq`. */
  applied(seq: number): void
}

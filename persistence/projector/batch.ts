/**
 * The rows of some consecutive records, gathered until they are written together.
 *
 * One row per key: what comes later replaces (upsert, removal) or amends (patch) what came before, so that a batch
 * writes the last image of an actor once, however often it changed.
 */
import type { AnyRow, Columns, Row } from './columns.js'
import { type Entry, type Target, type Write, writesOf } from './target.js'

/**
 * - `put`: a row to add or to write whole.
 * - `patch`: columns to change.
 * - `remove`: the key of a row to remove.
 * - `fact`: what no row could be made of.
 */
export type ParkedKind = 'put' | 'patch' | 'remove' | 'fact'

/** Names a row of a table whose rows are changed after they were added. */
export interface RowKey {
  readonly table: string
  readonly key: string
}

/** What will not be in its table until it is retried, with all that this takes (P3). */
export interface ParkedRow {
  readonly seq: number
  readonly table: string
  readonly kind: ParkedKind
  /** Null where rows are only ever added, so that none depends on another. */
  readonly key: string | null
  readonly errorCode: string
  readonly error: string
  readonly row: unknown
  /** Of a fact: its place in the record, and the time of the input in milliseconds. */
  readonly source: { readonly entry: number; readonly at: number } | null
}

export class Batch {
  lastAt = 0
  readonly parked: ParkedRow[] = []
  readonly #inserted = new Map<Target, Entry[]>()
  readonly #keyed = new Map<Target, Map<string, Entry>>()
  #seq: number

  /** `previousSeq` is the record before the first one. */
  constructor(readonly previousSeq: number) {
    this.#seq = previousSeq
  }

  get lastSeq(): number {
    return this.#seq
  }

  get records(): number {
    return this.#seq - this.previousSeq
  }

  /** What follows comes from this record. */
  begin(seq: number, at: number): void {
    this.#seq = seq
    this.lastAt = at
  }

  /** Adds a row, or writes the whole row of a key. */
  put<C extends Columns>(target: Target<C>, row: Row<C>): void {
    const entry = { seq: this.#seq, row: row as AnyRow, removed: false }
    if (target.mode !== 'insert') {
      this.#entriesOf(target).set(keyOf(target, entry.row), entry)
      return
    }
    const entries = this.#inserted.get(target)
    if (entries === undefined) this.#inserted.set(target, [entry])
    else entries.push(entry)
  }

  /** Changes some columns of the row of a key. */
  patch<C extends Columns>(target: Target<C>, change: Partial<Row<C>>): void {
    const entries = this.#entriesOf(target)
    const key = keyOf(target, change as AnyRow)
    const earlier = entries.get(key)
    const row = (earlier === undefined ? change : { ...earlier.row, ...change }) as AnyRow
    entries.set(key, { seq: this.#seq, row, removed: false })
  }

  /** Removes the row of a key. */
  remove<C extends Columns>(target: Target<C>, key: Partial<Row<C>>): void {
    const row = key as AnyRow
    this.#entriesOf(target).set(keyOf(target, row), { seq: this.#seq, row, removed: true })
  }

  /** Keeps a fact of which no row could be made (P3). */
  parkFact(fact: { readonly type: string }, entry: number, why: unknown): void {
    this.parked.push({
      seq: this.#seq,
      table: `fact ${fact.type}`,
      kind: 'fact',
      key: null,
      errorCode: 'unreadable',
      error: why instanceof Error ? why.message : String(why),
      row: fact,
      source: { entry, at: this.lastAt },
    })
  }

  /** Everything to write, in the order of `targets`; rows with a key sorted by it, so that writers never deadlock. */
  writes(targets: readonly Target[]): Write[] {
    return targets.flatMap((target) => {
      const keyed = this.#keyed.get(target)
      return writesOf(target, keyed === undefined ? (this.#inserted.get(target) ?? []) : sortedEntries(keyed))
    })
  }

  #entriesOf(target: Target): Map<string, Entry> {
    let entries = this.#keyed.get(target)
    if (entries === undefined) {
      entries = new Map()
      this.#keyed.set(target, entries)
    }
    return entries
  }
}

function keyOf({ key }: Target, row: AnyRow): string {
  const first = `${row[key[0] as string]}`
  return key.length === 1 ? first : key.map((name) => row[name]).join('\n')
}

function sortedEntries(keyed: ReadonlyMap<string, Entry>): Entry[] {
  return [...keyed.keys()].sort().map((key) => keyed.get(key) as Entry)
}

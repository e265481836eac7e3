/**
 * The rows of some consecutive records, gathered until they are written together.
 *
 * One row per key: what comes later replaces (upsert, removal) or amends (patch) what came before, so that a batch
 * writes the last image of an actor once, however often it changed.
 */
import type { AnyRow, Columns, Row } from './columns.js'
import { type Entry, type Target, type Write, writesOf } from './target.js'

/** A row that will not be in its table: Postgres refused it, or no row could be made of the fact (P3). */
export interface ParkedRow {
  readonly seq: number
  readonly table: string
  readonly errorCode: string
  readonly error: string
  readonly row: unknown
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

  park(table: string, error: unknown, row: unknown): void {
    const message = error instanceof Error ? error.message : String(error)
    this.parked.push({ seq: this.#seq, table, errorCode: 'unreadable', error: message, row })
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

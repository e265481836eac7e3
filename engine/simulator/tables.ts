/** The rows of the simulated database, and what statements do to them. */
import type { ParkedRow, RowKey } from '../../persistence/projector/batch.js'
import type { AnyRow } from '../../persistence/projector/columns.js'
import { RowRefusedError } from '../../persistence/projector/port.js'
import type { Write } from '../../persistence/projector/target.js'
import { assert } from '../assert.js'

/** A change that is made when its transaction commits. */
export type Change = () => void

/** Keys of tables whose targets only insert; the others' targets name them. Where rows have none: record and place. */
const primaryKeys: Readonly<Record<string, readonly string[]>> = {
  scans: ['ordinal'],
  comps: ['id'],
  qr_batches: ['id'],
  social_channels: ['id'],
  chat_reports: ['id'],
  ledger_entries: ['seq', 'line'],
}

export interface Chunk {
  readonly batch: number
  readonly firstRow: number
  readonly codes: Uint8Array
  readonly statuses: Uint8Array
}

export class Tables {
  readonly #rows = new Map<string, Map<string, AnyRow>>()
  readonly chunks: Chunk[] = []
  readonly parked: ParkedRow[] = []
  appliedSeq = 0
  lastAt = 0

  constructor(readonly isRefused: (table: string, row: AnyRow) => boolean) {}

  rows(table: string): readonly AnyRow[] {
    return [...this.#of(table).values()]
  }

  find(table: string, key: string): AnyRow | undefined {
    return this.#of(table).get(key)
  }

  /**
   * What the statement changes. Throws RowRefusedError; `made` are rows written before in the same transaction.
   */
  changesOf({ target, entries }: Write, made: Set<string>): Change[] {
    const { table, columns } = target
    for (const { row } of entries) {
      if (this.isRefused(table, row)) throw new RowRefusedError('23514', `a row of ${table} violates a check`)
    }
    if (table === 'qr_code_chunks') {
      return entries.map(({ row }) => ('codes' in columns ? () => this.#addChunk(row) : () => this.#setStatus(row)))
    }
    return entries.map(({ row, removed }) => {
      if (target.mode === 'insert') return this.#insert(table, row, made)
      const key = keyOf(target.key, row)
      const rows = this.#of(table)
      if (removed) return () => void rows.delete(key)
      const name = `${table}/${key}`
      if (target.mode === 'patch' && !rows.has(key) && !made.has(name)) {
        throw new RowRefusedError('no_row', `${table} has no row ${key}`)
      }
      made.add(name)
      return () => void rows.set(key, { ...rows.get(key), ...row })
    })
  }

  /** Those of the keys under which a row is parked. */
  heldKeys(keys: readonly RowKey[]): RowKey[] {
    return keys.filter(({ table, key }) => this.parked.some((row) => row.table === table && row.key === key))
  }

  #insert(table: string, row: AnyRow, made: Set<string>): Change {
    const key = keyOf(primaryKeys[table] ?? ['seq', 'entry'], row)
    const rows = this.#of(table)
    if (rows.has(key) || made.has(`${table}/${key}`)) {
      throw new RowRefusedError('23505', `${table} has a row ${key} already`)
    }
    made.add(`${table}/${key}`)
    return () => void rows.set(key, row)
  }

  #addChunk({ batch_id, codes, statuses }: AnyRow): void {
    const last = this.chunks.at(-1)
    const firstRow = last === undefined ? 0 : last.firstRow + last.statuses.length
    const bytes = Uint8Array.from(codes as Uint8Array)
    this.chunks.push({ batch: Number(batch_id), firstRow, codes: bytes, statuses: statuses as Uint8Array })
  }

  #setStatus({ runs, status }: AnyRow): void {
    const state = ['generated', 'manufactured', 'scanned', 'invalidated'].indexOf(String(status))
    const flat = runs as readonly number[]
    for (let at = 0; at < flat.length; at += 2) {
      const [first = 0, count = 0] = flat.slice(at, at + 2)
      for (let row = first; row < first + count; row++) {
        const chunk = this.chunks.findLast(({ firstRow }) => firstRow <= row)
        assert(chunk !== undefined, `no chunk holds row ${row}`)
        chunk.statuses[row - chunk.firstRow] = state
      }
    }
  }

  #of(table: string): Map<string, AnyRow> {
    let rows = this.#rows.get(table)
    if (rows === undefined) {
      rows = new Map()
      this.#rows.set(table, rows)
    }
    return rows
  }
}

export function keyOf(names: readonly string[], row: AnyRow): string {
  return names.map((name) => String(row[name])).join('\n')
}

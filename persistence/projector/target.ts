/** Where projected rows go, as data: a table, its columns, and what is done when a row is there already. */
import { type AnyRow, type Columns, sentRows, sentValue } from './columns.js'

/**
 * - `insert`: rows are only ever added.
 * - `upsert`: the row of a key is written whole, or removed.
 * - `patch`: some columns of an existing row are changed.
 */
export type Mode = 'insert' | 'upsert' | 'patch'

export interface Target<C extends Columns = Columns> {
  readonly table: string
  readonly mode: Mode
  readonly columns: C
  /** The columns that name a row. */
  readonly key: readonly string[]
  /** Statements by the columns they carry; made once, so that Postgres prepares them once. */
  readonly statements: Map<string, Statement>
  /** For what is not a plain insert. */
  readonly insertText: ((sent: string) => string) | undefined
}

export interface Statement {
  readonly text: string
  /** In the order of the parameters. */
  readonly columns: readonly string[]
}

/** A row on its way, with the record it comes from. */
export interface Entry {
  readonly seq: number
  readonly row: AnyRow
  readonly removed: boolean
}

/** Rows that one statement writes. */
export interface Write {
  readonly target: Target
  readonly statement: Statement
  readonly entries: readonly Entry[]
}

export function insertInto<const C extends Columns>(
  table: string,
  columns: C,
  insertText?: (sent: string) => string,
): Target<C> {
  return { table, mode: 'insert', columns, key: [], statements: new Map(), insertText }
}

export function upsertInto<const C extends Columns>(
  table: string,
  key: readonly (keyof C & string)[],
  columns: C,
): Target<C> {
  return { table, mode: 'upsert', columns, key, statements: new Map(), insertText: undefined }
}

/** Columns that are undefined in a row stay as they are. */
export function patchOf<const C extends Columns>(
  table: string,
  key: readonly (keyof C & string)[],
  columns: C,
): Target<C> {
  return { table, mode: 'patch', columns, key, statements: new Map(), insertText: undefined }
}

/** The writes of one target's entries, each one statement. */
export function writesOf(target: Target, entries: readonly Entry[]): Write[] {
  const groups = new Map<Statement, Entry[]>()
  for (const entry of entries) {
    const statement = statementFor(target, entry)
    const group = groups.get(statement)
    if (group === undefined) groups.set(statement, [entry])
    else group.push(entry)
  }
  return [...groups].map(([statement, group]) => ({ target, statement, entries: group }))
}

function statementFor(target: Target, { row, removed }: Entry): Statement {
  const names = removed ? target.key : target.mode === 'patch' ? Object.keys(row) : undefined
  const id = removed ? 'removed' : (names?.join() ?? '')
  let statement = target.statements.get(id)
  if (statement === undefined) {
    statement = makeStatement(target, names ?? Object.keys(target.columns), removed)
    target.statements.set(id, statement)
  }
  return statement
}

function makeStatement(target: Target, columns: readonly string[], removed: boolean): Statement {
  const sent = sentRows(target.columns, columns)
  if (removed) return { text: deleteText(target, sent), columns }
  if (target.mode === 'patch') return { text: updateText(target, columns, sent), columns }
  if (target.insertText !== undefined) return { text: target.insertText(sent), columns }
  const values = columns.map((name) => sentValue(target.columns, name)).join(', ')
  const insert = `insert into ${target.table} (${columns.join(', ')}) select ${values} from ${sent}`
  if (target.mode === 'insert') return { text: insert, columns }
  const changes = columns.filter((name) => !target.key.includes(name)).map((name) => `${name} = excluded.${name}`)
  return { text: `${insert} on conflict (${target.key.join(', ')}) do update set ${changes.join(', ')}`, columns }
}

function deleteText({ table, key }: Target, sent: string): string {
  return `delete from ${table} using ${sent} where ${sameKey(table, key)}`
}

function updateText({ table, key, columns }: Target, names: readonly string[], sent: string): string {
  const changes = names.filter((name) => !key.includes(name)).map((name) => `${name} = ${sentValue(columns, name)}`)
  return `update ${table} set ${changes.join(', ')} from ${sent} where ${sameKey(table, key)}`
}

const sameKey = (table: string, key: readonly string[]) =>
  key.map((name) => `${table}.${name} = sent.${name}`).join(' and ')

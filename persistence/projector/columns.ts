/**
 * Column types of the projected tables, and how their values travel: one array parameter per column, so that any
 * number of rows is one prepared statement. COPY would spare Postgres a third of the work for insert-only rows, but
 * the driver does not report all of its errors, and which row is refused must be known (P3).
 */

/** What a cell of each type is made of; null stands for NULL in all of them. */
export interface Cells {
  bigint: number | bigint
  int: number
  smallint: number
  float: number
  boolean: boolean
  text: string
  uuid: string
  /** ISO */
  date: string
  inet: string
  bytes: Uint8Array
  /** As text. */
  json: string
  ints: readonly number[]
  point: readonly [number, number]
  /** Milliseconds since the epoch; a timestamp in the table. */
  time: number
  /** Micro-USDT; USDT in the table. */
  usdt: bigint
  /** Any integer. */
  amount: bigint
}

export type ColumnType = keyof Cells
export type Columns = Readonly<Record<string, ColumnType>>
export type Row<C extends Columns> = { readonly [Name in keyof C]: Cells[C[Name]] | null }
export type AnyRow = Readonly<Record<string, Cells[ColumnType] | null>>

const sentAs: Readonly<Record<ColumnType, string>> = {
  bigint: 'int8',
  int: 'int4',
  smallint: 'int2',
  float: 'float8',
  boolean: 'bool',
  text: 'text',
  uuid: 'uuid',
  date: 'date',
  inet: 'inet',
  bytes: 'bytea',
  json: 'json',
  ints: 'text',
  point: 'text',
  time: 'int8',
  usdt: 'int8',
  amount: 'numeric',
}

/** The rows sent, as a table to select from: one array parameter per column, in the order of the names. */
export function sentRows(columns: Columns, names: readonly string[]): string {
  const arrays = names.map((name, index) => `$${index + 1}::${sentAs[typeOf(columns, name)]}[]`)
  return `unnest(${arrays.join(', ')}) with ordinality as sent (${names.join(', ')}, place)`
}

/** A sent value as its column wants it. */
export function sentValue(columns: Columns, name: string): string {
  switch (typeOf(columns, name)) {
    case 'time':
      return `to_timestamp(sent.${name} / 1000.0::float8)`
    case 'usdt':
      return `sent.${name} * 0.000001`
    case 'ints':
      return `('{' || sent.${name} || '}')::int4[]`
    case 'point':
      return `sent.${name}::point`
    default:
      return `sent.${name}`
  }
}

function typeOf(columns: Columns, name: string): ColumnType {
  return columns[name] as ColumnType
}

/** One column of many rows as the text of a Postgres array. */
export function arrayText(rows: readonly { readonly row: AnyRow }[], name: string): string {
  let text = '{'
  let separator = ''
  for (const { row } of rows) {
    text += separator + elementText(row[name])
    separator = ','
  }
  return `${text}}`
}

/** Goes by the value, not by the column: a value of a wrong type must be refused by Postgres, not break the array. */
function elementText(value: unknown): string {
  switch (typeof value) {
    case 'number':
    case 'bigint':
      return `${value}`
    case 'boolean':
      return value ? 't' : 'f'
    case 'string':
      return `"${needsEscape.test(value) ? escapeText(value) : value}"`
    default:
      if (value === null || value === undefined) return 'NULL'
      if (value instanceof Uint8Array) return `"\\\\x${hexOf(value)}"`
      if (Array.isArray(value)) return `"${value.join(',')}"`
      return `"${escapeText(rowJson(value))}"`
  }
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: NUL is what is looked for
const needsEscape = /["\\\u0000]/

/** Postgres text cannot hold NUL, which a member can type: the replacement character stands in for it. */
function escapeText(text: string): string {
  return text.replaceAll('\0', '\ufffd').replace(/["\\]/g, '\\$&')
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')
}

/** A row as JSON that loses nothing: its values, written back as they stand there, make the same row. */
export function rowJson(row: unknown): string {
  return JSON.stringify(plain(row))
}

function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString()
  if (typeof value === 'number') return Number.isFinite(value) ? value : String(value)
  if (value === undefined || value === null) return null
  if (typeof value !== 'object') return value
  if (value instanceof Uint8Array) return `\\x${hexOf(value)}`
  if (Array.isArray(value)) return value.map(plain)
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, plain(item)]))
}

import { STATUS_CODES } from 'node:http'
import { assert } from '../../../engine/assert.js'

export type Headers = Readonly<Record<string, string>>

/** Said with every answer. API answers are never stored unless a handler says otherwise. */
export const securityHeaders: Headers = {
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-store',
}

/** Several constant headers in the shape of one, so that one call into uWS writes them all. */
export interface PackedHeaders {
  readonly name: string
  readonly value: string
  readonly parts: Headers
}

/** Packs headers; names are lower case. uWS copies a value as it is, so the lines after the first ride along in it. */
export function packHeaders(parts: Headers): PackedHeaders {
  const [first, ...rest] = Object.entries(parts)
  assert(first !== undefined, 'no headers to pack')
  for (const [name, value] of Object.entries(parts)) assertHeader(name, value)
  const value = [first[1], ...rest.map(([name, text]) => `${name}: ${text}`)].join('\r\n')
  return { name: first[0], value, parts }
}

/** `packed` with `extra` added, replacing headers of the same name. */
export function mergeHeaders(packed: PackedHeaders, extra: Headers): PackedHeaders {
  const merged = { ...packed.parts }
  for (const [name, value] of Object.entries(extra)) merged[name.toLowerCase()] = value
  return packHeaders(merged)
}

/** Refuses what would end a header early: an answer must never carry a line of an attacker's making. */
function assertHeader(name: string, value: string): void {
  assert(/^[\w-]+$/.test(name), `${JSON.stringify(name)} is not a header name`)
  assert(/^[\t\x20-\x7e]*$/.test(value), `header ${name} has a value that cannot be sent`)
}

const statusLines = new Map(Object.entries(STATUS_CODES).map(([code, reason]) => [Number(code), `${code} ${reason}`]))

/** The status line of a status code, such as "200 OK". */
export function statusLine(status: number): string {
  return statusLines.get(status) ?? String(status)
}

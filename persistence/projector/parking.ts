/**
 * What becomes of a row that Postgres refuses (P3).
 *
 * K1 What a start reads back is never parked: from then on every start would begin in a state that never was. It blocks
 *    the write-behind, visibly, and passes once it is taken. Exceptions are tables of which a start reads parked rows
 *    too: `scans` (which codes are used up) and `idempotency`.
 * K2 Rows that are changed later have a key. While one is parked, what follows under its key is parked behind it and
 *    retried in order, so no retry ever overwrites what is newer, and no change meets a row that is not there.
 */
import { createHash } from 'node:crypto'
import type { AnyRow } from './columns.js'
import { targets } from './fold.js'
import type { Entry, Target } from './target.js'

const neededAtStart = new Set([
  'actor_images',
  'alarms',
  'messages',
  'directory_members',
  'directory_names',
  'unfunded_comps',
  'open_payouts',
  'open_withdrawals',
  'qr_code_chunks',
  'social_messages',
])

/** Longer keys are told apart by their digest: an index takes no more than 2,700 bytes. */
const KEY_CHARACTERS_MAX = 200

const keyColumns = new Map(targets.filter(({ key }) => key.length > 0).map(({ table, key }) => [table, key]))

// K1
export function isNeededAtStart(table: string): boolean {
  return neededAtStart.has(table)
}

/** K2. Null where rows are only ever added. */
export function rowKeyOf(table: string, row: AnyRow): string | null {
  const columns = keyColumns.get(table)
  if (columns === undefined) return null
  const text = columns.map((name) => row[name]).join('\n')
  return text.length <= KEY_CHARACTERS_MAX ? text : `sha256:${createHash('sha256').update(text).digest('hex')}`
}

export function kindOf({ mode }: Target, { removed }: Entry): 'put' | 'patch' | 'remove' {
  if (removed) return 'remove'
  return mode === 'patch' ? 'patch' : 'put'
}

/** Where a parked row of this kind goes. */
export function targetOf(table: string, kind: 'put' | 'patch' | 'remove'): Target | undefined {
  return targets.find((target) => target.table === table && (target.mode === 'patch') === (kind === 'patch'))
}

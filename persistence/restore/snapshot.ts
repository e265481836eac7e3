import { assert } from '../../engine/assert.js'
import type { Transaction } from '../postgres/connection.js'
import type { Transactions } from '../postgres/session.js'

/** For sorting and grouping, which would use the disk with what Postgres allows by default. */
const WORK_MEMORY = '256MB'

/**
 * Runs reads that must fit together, as those of a restore must, on one state of the database. Nothing is written
 * meanwhile by us, because the projector starts later; by another process it may be.
 */
export async function inOneSnapshot<Result>(
  sql: Transactions,
  read: (tx: Transaction) => Promise<Result>,
): Promise<Result> {
  let result: { readonly of: Result } | undefined
  await sql.begin('isolation level repeatable read read only', async (tx) => {
    await tx.unsafe(`set local work_mem = '${WORK_MEMORY}'`)
    result = { of: await read(tx) }
  })
  assert(result !== undefined, 'a transaction ended before it was read')
  return result.of
}

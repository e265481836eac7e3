import { assert } from '../../engine/assert.js'
import type { Transaction } from '../postgres/connection.js'
import type { Transactions } from '../postgres/session.js'

/** For sorting and grouping, which would use the disk with what Postgres allows by default. */
const WORK_MEMORY = '256MB'

/**
 * Runs reads that must fit together, as those of a restore must, on one state of the database. Nothing is written
 * meanwhile by us, because the projector starts later; by another process it may be. `snapshot` is that of a transaction
 * on another connection, which is still open: see {@link bothInOneSnapshot}.
 */
export async function inOneSnapshot<Result>(
  sql: Transactions,
  read: (tx: Transaction) => Promise<Result>,
  snapshot?: string,
): Promise<Result> {
  let result: { readonly of: Result } | undefined
  await sql.begin('isolation level repeatable read read only', async (tx) => {
    if (snapshot !== undefined) await tx.unsafe(`set transaction snapshot '${snapshot}'`)
    await tx.unsafe(`set local work_mem = '${WORK_MEMORY}'`)
    result = { of: await read(tx) }
  })
  assert(result !== undefined, 'a transaction ended before it was read')
  return result.of
}

/** Two reads at once, each on a connection of its own, of one state of the database. */
export function bothInOneSnapshot<Result>(
  [sql, other]: readonly [Transactions, Transactions],
  read: (tx: Transaction) => Promise<Result>,
  readOther: (tx: Transaction) => Promise<void>,
): Promise<Result> {
  return inOneSnapshot(sql, async (tx) => {
    const [exported] = await tx<{ snapshot: string }[]>`select pg_export_snapshot() as snapshot`
    const reads = [read(tx), inOneSnapshot(other, readOther, exported?.snapshot)] as const
    await Promise.allSettled(reads)
    const [result] = await Promise.all(reads)
    return result
  })
}

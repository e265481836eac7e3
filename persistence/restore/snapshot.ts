import type { Sql, Transaction } from '../postgres/connection.js'

/**
 * Runs reads that must fit together, as those of a restore must, on one state of the database. Nothing is written
 * meanwhile by us, because the projector starts later; by another process it may be.
 */
export async function inOneSnapshot<Result>(sql: Sql, read: (tx: Transaction) => Promise<Result>): Promise<Result> {
  const result = await sql.begin('isolation level repeatable read read only', async (tx) => ({ of: await read(tx) }))
  return result.of
}

import pino from 'pino'
import { connect, type Sql } from '../../persistence/postgres/connection.js'
import { startEmbeddedPostgres } from '../../persistence/postgres/embedded.js'

export interface RunningPostgres {
  readonly sql: Sql
  readonly url: string
  readonly pid: number
}

/** Works on the Postgres of a data folder, beside the server that may be using it. */
export async function onPostgres<Result>(
  folder: string,
  work: (postgres: RunningPostgres) => Promise<Result>,
): Promise<Result> {
  const postgres = await startEmbeddedPostgres({ dataDirectory: folder, log: pino({ level: 'silent' }) })
  const sql = connect(postgres.url, { max: 1, applicationName: 'comptroller bench' })
  try {
    return await work({ sql, url: postgres.url, pid: postgres.pid })
  } finally {
    await sql.end()
    await postgres.stop()
  }
}

import { setTimeout as sleep } from 'node:timers/promises'
import postgres from 'postgres'
import { DomainError } from '../../engine/errors.js'
import { onRenewal, type PoolEvents, renewed } from './renewed.js'

/** A pool of connections. `int8` columns are read as `bigint`: money and sequence numbers pass 2^53. */
export type Sql = postgres.Sql<Types>

/** The same inside `sql.begin`. */
export type Transaction = postgres.TransactionSql<Types>

/** One connection of a pool, held. */
export type Reserved = postgres.ReservedSql<Types>

interface Types extends Record<string, unknown> {
  readonly bigint: bigint
  readonly texts: readonly string[]
}

export interface ConnectOptions {
  /** Most connections open at once. */
  readonly max: number
  /** Shown in pg_stat_activity. */
  readonly applicationName: string
}

const CONNECT_TIMEOUT_S = 10
const IDLE_TIMEOUT_S = 60
const RECONNECT_DELAY_MAX_S = 1
const PROBE_INTERVAL_MS = 50

/** Short, so that writing resumes soon after Postgres is back; the library's own goes up to 20 s. */
const reconnectDelayS = (retries: number) => Math.min(0.02 * 2 ** Math.min(retries, 10), RECONNECT_DELAY_MAX_S)

/**
 * Arrays of text, or the text of one. The driver would ask the server for the types of all arrays on every new
 * connection, where nothing catches what goes wrong: a Postgres that dies then would end our process.
 */
const texts = {
  to: 1009,
  from: [],
  serialize: (values: readonly string[] | string) =>
    typeof values === 'string' ? values : `{${values.map(quoted).join()}}`,
  parse: (values: readonly string[]) => values,
}

function quoted(value: string): string {
  return `"${value.replaceAll(/["\\]/g, '\\$&')}"`
}

const common = ({ onConnected, onClosed }: PoolEvents, parameters: Partial<postgres.ConnectionParameters>) => ({
  connect_timeout: CONNECT_TIMEOUT_S,
  fetch_types: false,
  backoff: reconnectDelayS,
  onnotice: () => {},
  onparameter: onConnected,
  onclose: onClosed,
  types: { bigint: postgres.BigInt, texts },
  connection: parameters,
})

/** Opens a pool; connections are made when first needed and closed when idle. End it with `sql.end()`. */
export function connect(url: string, { max, applicationName }: ConnectOptions): Sql {
  const parameters = { application_name: applicationName }
  return renewed((events) => postgres(url, { ...common(events, parameters), max, idle_timeout: IDLE_TIMEOUT_S }))
}

/**
 * One connection that is never recycled, for locks bound to a session. `onClose` also reports failed attempts to
 * connect. The server drops such a session within a minute when our machine vanishes from the network.
 */
export function connectSession(url: string, applicationName: string, onClose: () => void = () => {}): Sql {
  const keepalives = { tcp_keepalives_idle: 30, tcp_keepalives_interval: 10, tcp_keepalives_count: 3 }
  const parameters = { application_name: applicationName, ...keepalives }
  return renewed(({ onConnected, onClosed }) => {
    const events = {
      onConnected,
      onClosed: () => {
        onClosed()
        onClose()
      },
    }
    return postgres(url, { ...common(events, parameters), max: 1, idle_timeout: 0, max_lifetime: null })
  })
}

/** Postgres' five-character code of an error, or the connection error's name. */
export function errorCode(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}

const DEAD_CONNECTIONS_MAX = 16

/**
 * Reads, and asks again where the connection it was given turns out to be dead: that says nothing of Postgres, since a
 * pool keeps connections to one that was replaced meanwhile. Only for work on `sql` that may run twice. Where no
 * connection can be made it rejects at once.
 */
export async function readOnLiveConnection<Rows>(sql: Sql, work: () => Promise<Rows>): Promise<Rows> {
  for (let dead = 1; ; dead++) {
    try {
      return await unlessRenewed(sql, work)
    } catch (error) {
      if (!isDeadConnection(errorCode(error)) || dead > DEAD_CONNECTIONS_MAX) throw error
    }
  }
}

/** Closed by the other side, or by a backend that outlived its postmaster (57P01), or forgotten with its pool. */
const isDeadConnection = (code: string) =>
  ['57P01', 'CONNECTION_CLOSED', 'ECONNRESET', 'EPIPE', 'postgres_lost'].includes(code)

/** What waits in a pool that is replaced may wait for long. */
function unlessRenewed<Rows>(sql: Sql, work: () => Promise<Rows>): Promise<Rows> {
  return new Promise((resolve, reject) => {
    const forget = onRenewal(sql, () => reject(postgresLost()))
    work().then(resolve, reject).finally(forget)
  })
}

export const postgresLost = () =>
  new DomainError('unavailable', 'postgres_lost', 'The connection to Postgres was lost.')

const connectionErrors = [
  ...['CONNECTION_CLOSED', 'CONNECTION_ENDED', 'CONNECTION_DESTROYED', 'CONNECT_TIMEOUT', 'postgres_lost'],
  ...['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH'],
  ...['57P01', '57P02', '57P03'], // it is shut down, has crashed, is starting up
]

/** Whether the error says that Postgres is not there, rather than what it thinks of a statement. */
export const isConnectionError = (error: unknown): boolean => connectionErrors.includes(errorCode(error))

/** Invalid password, no such role, not allowed by pg_hba.conf, no such database: waiting does not help. */
const isFinal = (code: string) => code.startsWith('28') || code === '3D000'

/** Asks once. Undefined when Postgres answers, else why it does not yet; throws when it never will. */
export async function probe(url: string): Promise<string | undefined> {
  const sql = connectSession(url, 'comptroller probe')
  try {
    await sql`select 1`
    return undefined
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    if (isFinal(errorCode(error))) {
      throw new DomainError('unavailable', 'postgres_refused', `Postgres refuses us: ${reason}`)
    }
    return reason
  } finally {
    await sql.end({ timeout: 0 })
  }
}

/** Resolves when Postgres answers a query; rejects with `postgres_unreachable` after `deadlineMs` milliseconds. */
export async function waitUntilReady(url: string, deadlineMs: number): Promise<void> {
  const deadline = performance.now() + deadlineMs
  for (;;) {
    const reason = await probe(url)
    if (reason === undefined) return
    if (performance.now() > deadline) {
      const message = `Postgres did not answer within ${deadlineMs} ms: ${reason}`
      throw new DomainError('unavailable', 'postgres_unreachable', message)
    }
    await sleep(PROBE_INTERVAL_MS)
  }
}

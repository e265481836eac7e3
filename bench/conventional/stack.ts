/** The conventional stack as it is measured: its Postgres with our settings, its Redis, its server, and the same stock. */
import { once } from 'node:events'
import { mkdir } from 'node:fs/promises'
import { constants, setPriority } from 'node:os'
import { fileURLToPath } from 'node:url'
import pino from 'pino'
import postgres from 'postgres'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../persistence/postgres/embedded.js'
import { Helper } from '../chat/calls.js'
import type { NamedPids } from '../load/processes.js'
import { RedisProcess } from '../redis-process.js'
import type { PackedCodes } from '../scan/stock.js'
import { createTables } from './schema.js'
import type { ServerCalls } from './server.js'
import type { Form } from './store.js'

const serverFile = fileURLToPath(new URL('server.js', import.meta.url))
const COPY_ROWS = 10_000
const SKU = 'SPEARMINT-3MG'

export interface StackOptions {
  readonly form: Form
  /** Of this stack alone. */
  readonly folder: string
  readonly keysDirectory: string
  readonly codes: Pick<PackedCodes, 'text' | 'length'>
  readonly nodeArgs: readonly string[]
}

export class ConventionalStack {
  private constructor(
    readonly url: string,
    readonly databaseUrl: string,
    readonly redisUrl: string,
    readonly pids: NamedPids,
    private readonly stops: (() => Promise<unknown>)[],
  ) {}

  static async start({ form, folder, keysDirectory, codes, nodeArgs }: StackOptions): Promise<ConventionalStack> {
    const stops: (() => Promise<unknown>)[] = []
    try {
      await mkdir(folder, { mode: 0o711 })
      const database = await startEmbeddedPostgres({ dataDirectory: folder, log: pino({ level: 'silent' }) })
      stops.push(() => database.stop())
      givePriority(database.pid)
      await fillDatabase(database, codes)
      const redis = await RedisProcess.start()
      stops.push(() => redis.kill())
      const server = new Helper<ServerCalls>(serverFile, () => {}, nodeArgs)
      stops.push(() => server.stop())
      const [databaseUrl, redisUrl] = [database.url, redis.url]
      const url = await server.call('listen', { form, databaseUrl, redisUrl, keysDirectory })
      const pids = { server: await server.call('pid', undefined), postgres: database.pid, redis: redis.pid }
      return new ConventionalStack(url, databaseUrl, redisUrl, pids, stops)
    } catch (error) {
      await stopAll(stops)
      throw error
    }
  }

  stop(): Promise<void> {
    return stopAll(this.stops)
  }
}

async function stopAll(stops: (() => Promise<unknown>)[]): Promise<void> {
  for (let stop = stops.pop(); stop !== undefined; stop = stops.pop()) await stop()
}

/**
 * Ours puts its Postgres behind everything else, since what is written behind can wait. Here every answer waits for it, so
 * it gets the priority of its server. Its connections inherit that.
 */
function givePriority(pid: number): void {
  try {
    setPriority(pid, constants.priority.PRIORITY_NORMAL)
  } catch {
    process.stderr.write(
      'Only root may give the conventional Postgres normal priority: it has that of ours, a lower one.\n',
    )
  }
}

/** Tables with every code in circulation, analysed and written out, so that no run pays for having filled them. */
async function fillDatabase({ url }: EmbeddedPostgres, codes: StackOptions['codes']): Promise<void> {
  const sql = postgres(url, { max: 1, fetch_types: false, onnotice: () => {} })
  try {
    await createTables(sql)
    const rows = await sql`copy qr_codes (code, status, product_sku) from stdin`.writable()
    for (let at = 0; at < codes.length; at += COPY_ROWS) {
      let text = ''
      const until = Math.min(codes.length, at + COPY_ROWS)
      for (let row = at; row < until; row++) text += `${codes.text(row)}\tmanufactured\t${SKU}\n`
      if (!rows.write(text)) await once(rows, 'drain')
    }
    rows.end()
    await once(rows, 'finish')
    await sql`vacuum analyze`
    await sql`checkpoint`
  } finally {
    await sql.end()
  }
}

// A Postgres of our own for tests, and processes of our own that may be killed.
import { type ChildProcess, spawn } from 'node:child_process'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import pino from 'pino'
import type { Test } from 'tap'
import type { RecentMessage } from '../../actors/chat/recent-messages.js'
import { messageColumns, recentMessageOf, type StoredMessage } from '../../persistence/message-rows.js'
import type { Account } from '../../persistence/postgres/account.js'
import { connect, type Sql } from '../../persistence/postgres/connection.js'
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../persistence/postgres/embedded.js'
import { goneWithin } from '../../persistence/postgres/postmaster.js'
import { layCluster } from './cluster.js'

export const READY_WITHIN_MS = 60_000
export const silent = pino({ level: 'silent' })

export async function temporaryFolder(test: Test, mode = 0o755): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'comptroller-postgres-'))
  await chmod(folder, mode)
  test.teardown(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }))
  return folder
}

/** For tests of what is in a database; how it comes into being is the subject of others. */
export async function startOnTemplate(test: Test): Promise<EmbeddedPostgres> {
  const dataDirectory = join(await temporaryFolder(test), 'data')
  await layCluster(dataDirectory)
  return start(test, dataDirectory)
}

export async function start(test: Test, dataDirectory: string, log = silent): Promise<EmbeddedPostgres> {
  const server = await startEmbeddedPostgres({ dataDirectory, log })
  test.teardown(() => server.stop())
  return server
}

export function open(test: Test, url: string, max = 2): Sql {
  const sql = connect(url, { max, applicationName: 'comptroller test' })
  test.teardown(() => sql.end({ timeout: 1 }))
  return sql
}

/** A logger whose lines can be read back. */
export function recordingLog(): { log: pino.Logger; lines: string[] } {
  const lines: string[] = []
  return { log: pino({ level: 'info' }, { write: (line: string) => void lines.push(line) }), lines }
}

const moduleUrl = (path: string) => new URL(`../../persistence/postgres/${path}`, import.meta.url).href

/** Runs code in a process of its own; `print(value)` reports, the end of stdin is its sign to leave. */
export function spawnChild(test: Test, body: string, account?: Account, env: NodeJS.ProcessEnv = {}): ChildProcess {
  const code = `
    const { default: pino } = await import(${JSON.stringify(import.meta.resolve('pino'))})
    const log = pino({ level: 'silent' })
    const print = (value) => process.stdout.write(JSON.stringify(value) + '\\n')
    const asked = new Promise((resolve) => process.stdin.on('end', resolve).resume())
    const load = (path) => import(new URL(path, ${JSON.stringify(moduleUrl(''))}).href)
    const { startEmbeddedPostgres } = await load('embedded.js')
    ${body}`
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], {
    stdio: ['pipe', 'pipe', 'inherit'],
    cwd: '/',
    env: { PATH: process.env.PATH, ...env },
    ...(account ? { uid: account.uid, gid: account.gid } : {}),
  })
  test.teardown(() => child.kill('SIGKILL'))
  return child
}

export async function firstLine<T>(child: ChildProcess): Promise<T> {
  for await (const line of createInterface({ input: child.stdout as NodeJS.ReadableStream })) return JSON.parse(line)
  throw new Error('the child ended without a word')
}

export const startInChild = (dataDirectory: string) => `
  const server = await startEmbeddedPostgres({ dataDirectory: ${JSON.stringify(dataDirectory)}, log })
  print({ pid: server.pid, url: server.url, adopted: server.adopted, uid: process.getuid?.() })
  await asked
  await server.stop()`

export const killAndWait = async (pid: number) => {
  process.kill(pid, 'SIGKILL')
  await goneWithin(pid, READY_WITHIN_MS)
}

export async function rejectsWithCode(test: Test, promise: Promise<unknown>, code: string, message?: RegExp) {
  await test.rejects(promise, { code, ...(message ? { message } : {}) })
}

/** A message as its row has it, also one that was deleted; null when there is none. */
export async function storedMessage(sql: Sql, messageId: string): Promise<RecentMessage | null> {
  const [row] = await sql<StoredMessage[]>`
    select ${messageColumns(sql)} from social_messages where id = ${messageId}`
  return row === undefined ? null : recentMessageOf(row)
}

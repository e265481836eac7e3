/** The servers that are compared, all running at once; only one of them has work at a time. */
import { chmod, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Helper } from '../chat/calls.js'
import { ConventionalStack } from '../conventional/stack.js'
import type { Form } from '../conventional/store.js'
import type { NamedPids } from '../load/processes.js'
import { onPostgres } from '../recovery/postgres.js'
import { scrape } from '../scan/prometheus.js'
import { NPM_START_ARGS, ServerProcess } from '../scan/server-process.js'
import type { PackedCodes } from '../scan/stock.js'
import type { CeilingCalls } from './ceiling-server.js'
import { watchingPauses } from './pauses.js'

const ceilingFile = fileURLToPath(new URL('ceiling-server.js', import.meta.url))
export const names = ['ours', 'transaction', 'statement', 'ceiling'] as const
export type ContenderName = (typeof names)[number]

/** As people read them. */
export const titles: Readonly<Record<ContenderName, string>> = {
  ours: 'Comptroller',
  transaction: 'conventional: transaction',
  statement: 'conventional: one statement',
  ceiling: 'ceiling: uWS echo',
}

export interface Contender {
  readonly name: ContenderName
  readonly url: string
  readonly pids: NamedPids
  /** Scans that were answered and are not in Postgres yet. */
  lag(): Promise<number>
  stop(): Promise<void>
}

const nothingBehind = async () => 0

export async function startOurs(folder: string): Promise<Contender> {
  const server = await ServerProcess.start(folder, watchingPauses)
  const postgres = await onPostgres(folder, async ({ pid }) => pid)
  return {
    name: 'ours',
    url: server.url,
    pids: { server: server.pid, postgres },
    lag: async () => (await scrape(server.url)).get('comptroller_shard_lag_records') ?? Number.NaN,
    stop: () => server.stop(),
  }
}

/** `folder` is that of ours: its keys sign the tokens of all. */
export async function startConventional(folder: string, form: Form, codes: PackedCodes): Promise<Contender> {
  const stack = await ConventionalStack.start({
    form,
    folder: join(folder, form),
    keysDirectory: join(folder, 'keys'),
    codes,
    nodeArgs: [...NPM_START_ARGS, ...watchingPauses],
  })
  return { name: form, url: stack.url, pids: stack.pids, lag: nothingBehind, stop: () => stack.stop() }
}

export async function startCeiling(): Promise<Contender> {
  const server = new Helper<CeilingCalls>(ceilingFile, () => {}, [...NPM_START_ARGS, ...watchingPauses])
  const url = await server.call('listen', undefined)
  const pids = { server: await server.call('pid', undefined) }
  return { name: 'ceiling', url, pids, lag: nothingBehind, stop: () => server.stop() }
}

/** Makes the Node of every server that is started from now on note its pauses in the folder. */
export async function notePausesIn(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true })
  await chmod(folder, 0o711)
  process.env.BENCH_GC_FOLDER = folder
}

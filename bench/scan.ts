/** `npm run bench:scan`: durable scans through the real server, from an empty folder to the rows in Postgres. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Command, Option } from 'commander'
import pino from 'pino'
import { count } from '../cli/options.js'
import { connect, type Sql } from '../persistence/postgres/connection.js'
import { startEmbeddedPostgres } from '../persistence/postgres/embedded.js'
import { inTemporaryFolder } from './data-folder.js'
import { machine } from './scan/machine.js'
import { type Load, measure, SCANS_PER_MEMBER_MAX } from './scan/measure.js'
import { type Figures, figuresOf, medianOf, missedTargets, notMeasured, tableOf } from './scan/report.js'
import { runCommand, ServerProcess } from './scan/server-process.js'
import { freshCodes, mintTokens, someMembers } from './scan/stock.js'

const RESULTS_FOLDER = join('bench', 'results')
const MEMBERS_MAX = 20_000

interface Options {
  readonly users: number
  readonly codes: number
  readonly connections: number
  readonly seconds: number
  readonly runs: number
  readonly targets: boolean
  readonly data?: string
  readonly nodeArg: readonly string[]
}

const options = new Command('bench:scan')
  .description('Durable scans a second, and what they cost: server, its Postgres and the generator on this machine.')
  .option('--users <n>', 'members', count, 50_000)
  .option('--codes <n>', 'active codes', count, 1_000_000)
  .option('--connections <n>', 'keep-alive connections, each with one request under way', count, 64)
  .option('--seconds <n>', 'measured, after a warm-up', count, 10)
  .option('--runs <n>', 'runs on the same data with a restart between; the table shows medians', count, 1)
  .option('--no-targets', 'end with 0 even when a target is missed')
  .option('--data <folder>', 'a folder on the disk to be measured, filled if it is new, and kept')
  .option('--node-arg <arg>', 'an argument for the Node of the server; may be repeated', collect, [])
  .addOption(
    new Option('--quick', 'a small run, to see that it works').implies({
      users: 2_000,
      codes: 100_000,
      seconds: 2,
      targets: false,
    }),
  )
  .parse()
  .opts<Options>()

function collect(value: string, before: readonly string[]): readonly string[] {
  return [...before, value]
}

/** Works on the Postgres of a data folder, beside the server that may be using it. */
async function onPostgres<Result>(folder: string, work: (sql: Sql, pid: number) => Promise<Result>): Promise<Result> {
  const postgres = await startEmbeddedPostgres({ dataDirectory: folder, log: pino({ level: 'silent' }) })
  const sql = connect(postgres.url, { max: 1, applicationName: 'comptroller bench' })
  try {
    return await work(sql, postgres.pid)
  } finally {
    await sql.end()
    await postgres.stop()
  }
}

async function fill(folder: string): Promise<void> {
  const isFilled = await onPostgres(folder, async (sql) => {
    const [found] = await sql<{ it: boolean }[]>`select to_regclass('qr_code_chunks') is not null as it`
    return found?.it
  })
  if (isFilled) return
  await runCommand(folder, ['seed', '--users', String(options.users), '--codes', String(options.codes)])
}

function scansStored(folder: string): Promise<number> {
  return onPostgres(folder, async (sql) => {
    const [row] = await sql<{ scans: number }[]>`select count(*)::int as scans from scans`
    return row?.scans ?? 0
  })
}

type Stock = Pick<Load, 'members' | 'codes'>

function readStock(folder: string): Promise<Stock> {
  return onPostgres(folder, async (sql) => {
    const members = await someMembers(sql, Math.min(options.users, MEMBERS_MAX))
    const codes = await freshCodes(sql)
    return { members, codes: codes.slice(0, SCANS_PER_MEMBER_MAX * members.length) }
  })
}

async function oneRun(folder: string, stock: Stock): Promise<Figures> {
  const server = await ServerProcess.start(folder, options.nodeArg)
  try {
    const tokens = await mintTokens(folder, stock.members)
    const storedBefore = await scansStored(folder)
    const postgres = await onPostgres(folder, async (_, pid) => pid)
    const { connections, seconds } = options
    const pids = { server: server.pid, postgres, generator: process.pid }
    const measurement = await measure({ ...stock, url: server.url, pids, connections, seconds, tokens })
    const rowsInPostgres = (await scansStored(folder)) - storedBefore
    await server.stop()
    const restarted = await ServerProcess.start(folder, [])
    await restarted.stop()
    return figuresOf({ measurement, rowsInPostgres, readyMs: server.readyMs, restartMs: restarted.readyMs })
  } finally {
    await server.stop()
  }
}

async function bench(folder: string): Promise<Figures> {
  await fill(folder)
  const stock = await readStock(folder)
  const runs: Figures[] = []
  for (let run = 1; run <= options.runs; run++) {
    const figures = await oneRun(folder, stock)
    runs.push(figures)
    if (stock.codes.length === 0) throw new Error('All codes are scanned: the run was cut short. Give it more --codes.')
    if (options.runs > 1) process.stdout.write(`Run ${run} of ${options.runs}\n${tableOf(figures)}\n`)
  }
  const median = medianOf(runs)
  process.stdout.write(`${options.runs > 1 ? `Medians of ${options.runs} runs` : 'Scans'} on ${machine()}\n`)
  process.stdout.write(`${tableOf(median)}\n${notMeasured}`)
  await mkdir(RESULTS_FOLDER, { recursive: true })
  const result = { at: new Date().toISOString(), machine: machine(), options, median, runs }
  await writeFile(join(RESULTS_FOLDER, 'scan.json'), `${JSON.stringify(result, null, 2)}\n`)
  return median
}

async function benchAndJudge(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true })
  const missed = missedTargets(await bench(folder))
  for (const target of missed) process.stdout.write(`MISSED: ${target}\n`)
  if (missed.length > 0 && options.targets) process.exitCode = 1
}

await (options.data === undefined ? inTemporaryFolder(benchAndJudge) : benchAndJudge(options.data))

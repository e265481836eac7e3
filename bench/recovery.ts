/** `npm run bench:recovery`: how fast a server with a large Postgres starts, how fast a journal is replayed, and memory. */
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Command, Option } from 'commander'
import { count } from '../cli/options.js'
import { inTemporaryFolder } from './data-folder.js'
import { sampleProcesses } from './load/processes.js'
import { runPart } from './recovery/part.js'
import { onPostgres } from './recovery/postgres.js'
import {
  bestOf,
  figuresOf,
  foldingTable,
  missedTargets,
  notMeasured,
  type Run,
  type Start,
  tableOf,
} from './recovery/report.js'
import { type Folding, fillKeys, fillScans, foldScans, seedStock, UNFOLDED } from './recovery/stock.js'
import { busySeconds, machine } from './scan/machine.js'
import { type Figures, medianOf } from './scan/report.js'
import { ServerProcess } from './scan/server-process.js'
import { mintTokens, someMembers } from './scan/stock.js'

const RESULTS_FOLDER = join('bench', 'results')

interface Options {
  readonly users: number
  readonly codes: number
  readonly scans: number
  readonly keys: number
  readonly replay: number
  readonly runs: number
  readonly targets: boolean
  readonly data?: string
}

const options = new Command('bench:recovery')
  .description('Start of a server with a large Postgres, replay of a journal, and memory of members and codes.')
  .option('--users <n>', 'members', count, 1_000_000)
  .option('--codes <n>', 'active codes, scanned or not', count, 11_000_000)
  .option('--scans <n>', 'of these, scanned', count, 10_000_000)
  .option('--keys <n>', 'idempotency keys of the last hours', count, 1_000_000)
  .option('--replay <n>', 'scans in the journal that is replayed, by a tenth as many members', count, 1_000_000)
  .option('--runs <n>', 'runs on the same data; the table shows medians', count, 1)
  .option('--no-targets', 'end with 0 even when a target is missed')
  .option('--data <folder>', 'a folder, filled if it is new, and kept: filling it takes a quarter of an hour')
  .addOption(
    new Option('--quick', 'a small run, to see that it works').implies({
      users: 2_000,
      codes: 1_100_000,
      scans: 1_000_000,
      keys: 2_000,
      replay: 10_000,
      targets: false,
    }),
  )
  .parse()
  .opts<Options>()

/** What a folder holds, in the folder: it is complete once this is there. */
interface Stock {
  readonly folding: Folding
  /** By journal: the last record before its scans. */
  readonly stockSeqs: readonly number[]
}

const serverFolder = (folder: string) => join(folder, 'server')
const journalFolder = (folder: string, keyed: boolean) => join(folder, keyed ? 'journal-keyed' : 'journal')

async function fill(folder: string): Promise<Stock> {
  const data = serverFolder(folder)
  await mkdir(data, { recursive: true })
  await seedStock(data, options)
  // The first start makes what every server has.
  await (await ServerProcess.start(data, [])).stop()
  const folding = await onPostgres(data, async ({ sql, url }) => {
    await fillScans(sql, options)
    await fillKeys(sql, options)
    const folding = await foldScans(sql, url)
    await sql`vacuum analyze`
    return folding
  })
  const stockSeqs: number[] = []
  for (const keyed of [false, true]) {
    const directory = journalFolder(folder, keyed)
    await mkdir(directory, { recursive: true })
    const load = { directory, members: Math.ceil(options.replay / 10), scans: options.replay, keyed }
    stockSeqs.push((await runPart('record', load)).stockSeq)
  }
  return { folding, stockSeqs }
}

async function stockOf(folder: string): Promise<Stock> {
  const file = join(folder, 'stock.json')
  const known = await readFile(file, 'utf8').catch(() => null)
  if (known !== null) return JSON.parse(known)
  const stock = await fill(folder)
  await writeFile(file, JSON.stringify(stock))
  return stock
}

async function startServer(data: string): Promise<Start> {
  const server = await ServerProcess.start(data, [])
  try {
    return await onPostgres(data, async ({ sql, pid }) => {
      const { server: used, postgres } = sampleProcesses({ server: server.pid, postgres: pid })?.byName ?? {}
      const [token] = await mintTokens(data, await someMembers(sql, 1))
      const askedAt = performance.now()
      const answer = await fetch(new URL('/v1/users/me', server.url), { headers: { authorization: `Bearer ${token}` } })
      if (!answer.ok) throw new Error(`the first member was answered ${answer.status}`)
      const firstAnswerMs = performance.now() - askedAt
      return {
        readyMs: server.readyMs,
        firstAnswerMs,
        serverCpuSeconds: used?.cpuSeconds ?? Number.NaN,
        postgresCpuSeconds: postgres?.cpuSeconds ?? Number.NaN,
        serverRssBytes: used?.rssBytes ?? Number.NaN,
        postgresRssBytes: postgres?.rssBytes ?? Number.NaN,
      }
    })
  } finally {
    await server.stop()
  }
}

/** Cores used by anybody on this machine, ourselves included. */
async function busyDuring<Result>(work: () => Promise<Result>): Promise<[Result, number]> {
  const [busyBefore, startedAt] = [busySeconds() ?? Number.NaN, performance.now()]
  const result = await work()
  return [result, ((busySeconds() ?? Number.NaN) - busyBefore) / ((performance.now() - startedAt) / 1_000)]
}

async function oneRun(folder: string, { stockSeqs }: Stock): Promise<Figures> {
  const data = serverFolder(folder)
  const [start, busyAtStart] = await busyDuring(() => startServer(data))
  const { restore, members } = await onPostgres(data, async ({ url }) => ({
    restore: await runPart('restore', { url }),
    members: await runPart('members', { url, count: Math.min(options.users, 100_000) }),
  }))
  const replayed = (keyed: boolean) =>
    runPart('replay', { directory: journalFolder(folder, keyed), stockSeq: stockSeqs[keyed ? 1 : 0] ?? 0 })
  const [[replay, replayKeyed], busyAtReplay] = await busyDuring(async () => [
    await replayed(false),
    await replayed(true),
  ])
  const run: Run = { start, restore, members, replay, replayKeyed, busyAtStart, busyAtReplay }
  return figuresOf(run)
}

async function bench(folder: string): Promise<Figures> {
  const stock = await stockOf(folder)
  const runs: Figures[] = []
  for (let run = 1; run <= options.runs; run++) {
    const figures = await oneRun(folder, stock)
    runs.push(figures)
    if (options.runs > 1) process.stdout.write(`Run ${run} of ${options.runs}\n${tableOf(figures)}\n`)
  }
  const median = medianOf(runs)
  const best = bestOf(runs)
  process.stdout.write(`${options.runs > 1 ? `Medians of ${options.runs} runs` : 'Recovery'} on ${machine()}\n`)
  process.stdout.write(`${tableOf(median)}\nFolding, all but the last ${UNFOLDED.toLocaleString('en-US')} scans\n`)
  process.stdout.write(`${foldingTable(stock.folding)}\n${notMeasured}`)
  await mkdir(RESULTS_FOLDER, { recursive: true })
  const result = {
    at: new Date().toISOString(),
    machine: machine(),
    options,
    folding: stock.folding,
    median,
    best,
    runs,
  }
  await writeFile(join(RESULTS_FOLDER, 'recovery.json'), `${JSON.stringify(result, null, 2)}\n`)
  return median
}

async function benchAndJudge(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true })
  const missed = missedTargets(await bench(folder))
  for (const target of missed) process.stdout.write(`MISSED: ${target}\n`)
  if (missed.length > 0 && options.targets) process.exitCode = 1
}

await (options.data === undefined ? inTemporaryFolder(benchAndJudge) : benchAndJudge(options.data))

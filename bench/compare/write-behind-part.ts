/** Write-behind at a fixed rate for minutes: does Postgres keep up, and does memory stay where it is? */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { sampleProcesses } from '../load/processes.js'
import { onPostgres } from '../recovery/postgres.js'
import { runCommand } from '../scan/server-process.js'
import { Mint, packedCodes, someMembers } from '../scan/stock.js'
import { type Contender, notePausesIn, startOurs } from './contenders.js'
import { acquaint, measureRun, type RunFigures } from './run.js'
import type { Section } from './section.js'
import { formatFigure, spreadOf } from './statistics.js'
import { SCANS_PER_MEMBER_MAX, Supply, scannersOf } from './supply.js'

const CONNECTIONS = 256
const SAMPLE_EVERY_MS = 2_000
const WARM_UP_MS = 2_000
const MINUTE_S = 60
const MEBIBYTE = 1024 * 1024
/** Members come and go: fewer than the server remembers the tokens of. */
const ACTIVE_MEMBERS = 10_000
export interface WriteBehindPlan {
  readonly ratePerSecond: number
  readonly seconds: number
}

export const writeBehindPlan: WriteBehindPlan = { ratePerSecond: 15_000, seconds: 300 }

interface Sample {
  readonly seconds: number
  readonly serverMib: number
  readonly postgresMib: number
  readonly lagRecords: number
}

export async function writeBehindPart(folder: string, plan: WriteBehindPlan): Promise<Section> {
  const scans = Math.ceil(plan.ratePerSecond * (plan.seconds + WARM_UP_MS / 1_000)) + ACTIVE_MEMBERS
  const users = Math.ceil(scans / SCANS_PER_MEMBER_MAX) + ACTIVE_MEMBERS
  await notePausesIn(join(folder, 'pauses'))
  await runCommand(folder, ['seed', '--users', String(users), '--codes', String(scans)])
  const stock = await onPostgres(folder, async ({ sql }) => ({
    codes: await packedCodes(sql),
    members: await someMembers(sql, users),
  }))
  const tokens = await (await Mint.open(folder)).tokens(stock.members)
  const ours = await startOurs(folder)
  try {
    const supply = new Supply(stock.codes, false)
    const next = supply.requests(scannersOf(tokens), ACTIVE_MEMBERS)
    await acquaint(ours, next, Math.min(ACTIVE_MEMBERS, tokens.length))
    const over = new AbortController()
    const samples = watch(ours, over.signal)
    const load = { next, connections: CONNECTIONS, warmupMs: WARM_UP_MS, durationMs: plan.seconds * 1_000 }
    const figures = await measureRun(ours, { ...load, ratePerSecond: plan.ratePerSecond }).finally(() => over.abort())
    supply.assertLasted()
    return sectionOf(plan, figures, await samples)
  } finally {
    await ours.stop()
  }
}

/** Until told that it is over. */
async function watch(ours: Contender, over: AbortSignal): Promise<Sample[]> {
  const samples: Sample[] = []
  const startedAt = performance.now()
  while (!over.aborted) {
    const used = sampleProcesses(ours.pids)?.byName ?? {}
    samples.push({
      seconds: (performance.now() - startedAt) / 1_000,
      serverMib: (used.server?.rssBytes ?? Number.NaN) / MEBIBYTE,
      postgresMib: (used.postgres?.rssBytes ?? Number.NaN) / MEBIBYTE,
      lagRecords: await ours.lag(),
    })
    await sleep(SAMPLE_EVERY_MS, undefined, { signal: over }).catch(() => {})
  }
  return samples
}

/** Median memory of the last minute against that of the second, when caches have filled; NaN before three minutes. */
export function growthOf(samples: readonly Pick<Sample, 'seconds' | 'serverMib'>[]): number {
  const end = samples.at(-1)?.seconds ?? 0
  if (end < 3 * MINUTE_S) return Number.NaN
  const between = (from: number, to: number) =>
    spreadOf(samples.filter(({ seconds }) => seconds >= from && seconds < to).map(({ serverMib }) => serverMib)).median
  return between(end - MINUTE_S, end) / between(MINUTE_S, 2 * MINUTE_S)
}

function sectionOf({ ratePerSecond, seconds }: WriteBehindPlan, figures: RunFigures, samples: Sample[]): Section {
  const line = (name: string, of: (sample: Sample) => number) => ({
    name,
    points: samples.map((sample) => [sample.seconds, of(sample)] as const),
  })
  const { decision, cpuMicros } = figures
  const lag = spreadOf(samples.map(({ lagRecords }) => lagRecords))
  const accepted = (figures.perSecond * seconds) / (figures.perSecond * seconds + figures.failed)
  const growth = growthOf(samples)
  const isWhole = ratePerSecond >= writeBehindPlan.ratePerSecond && seconds >= writeBehindPlan.seconds
  const rows = [
    ['scans due a second', formatFigure(ratePerSecond)],
    ['accepted a second', formatFigure(figures.perSecond)],
    ['not answered 200', String(figures.failed)],
    ['answer p50, p99, p99.9, ms', [figures.p50Ms, figures.p99Ms, figures.p999Ms].map(formatFigure).join(', ')],
    [
      'decision p50, p99, p99.9, µs',
      decision ? [decision.p50, decision.p99, decision.p999].map(formatFigure).join(', ') : '–',
    ],
    ['scans not yet in Postgres: median, most', `${formatFigure(lag.median)}, ${formatFigure(lag.max)}`],
    ['seconds behind at the end', formatFigure(figures.drainSeconds)],
    ['memory in the last minute against the second', formatFigure(growth)],
    [
      'CPU a scan, µs: server, postgres, generator',
      [cpuMicros.server, cpuMicros.postgres, cpuMicros.generator]
        .map((micros) => formatFigure(micros ?? Number.NaN))
        .join(', '),
    ],
    ['longest GC pause, ms', formatFigure(figures.longestPauseMs ?? Number.NaN)],
    ['other programs, cores', formatFigure(figures.othersCores)],
  ]
  const lines = { kind: 'lines', xTitle: 'seconds', isLogarithmic: false } as const
  return {
    title: `Write-behind: ${formatFigure(ratePerSecond)} scans a second for ${formatFigure(seconds)} s`,
    paragraphs: [
      `Open loop over ${CONNECTIONS} connections, one run. ${formatFigure(ACTIVE_MEMBERS)} members are active at a time, each for 58 scans: ` +
        'that many an hour they may. Those who begin are known to the server; new ones are loaded and their tokens checked meanwhile.',
    ],
    tables: [{ caption: 'One run', head: ['what', 'measured'], rows }],
    plots: [
      {
        ...lines,
        file: 'write-behind-memory',
        title: 'Memory while scans are written behind',
        yTitle: 'MiB',
        lines: [line('server', ({ serverMib }) => serverMib), line('Postgres', ({ postgresMib }) => postgresMib)],
      },
      {
        ...lines,
        file: 'write-behind-lag',
        title: 'Scans not yet in Postgres',
        yTitle: 'scans',
        lines: [line('behind', ({ lagRecords }) => lagRecords)],
      },
    ],
    notMeasured: ['write-behind for more than one run, or for hours'],
    // A smaller run says nothing of the targets.
    goals: isWhole
      ? { writeBehindSeconds: figures.drainSeconds, writeBehindAnswered: accepted, memoryGrowth: growth }
      : {},
    goalNotes: {},
    targets: [],
    figures: { figures, samples },
  }
}

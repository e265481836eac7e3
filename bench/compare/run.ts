/** One measured run: load on one contender, and what came of it. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type NamedPids, sampleProcesses, usageBetween } from '../load/processes.js'
import { nowMicros } from '../load/result.js'
import { runClosedLoop, runOpenLoop } from '../load/runner.js'
import { busySeconds } from '../scan/machine.js'
import { HistogramDifference, type Scrape, scrape } from '../scan/prometheus.js'
import type { Contender } from './contenders.js'
import { longestPauseMs } from './pauses.js'
import type { Requests } from './supply.js'

const LAG_POLL_MS = 20
const CATCH_UP_TIMEOUT_MS = 300_000
/** The process that makes the load is one of them. */
export const processNames = ['server', 'postgres', 'redis', 'generator'] as const
export type ProcessName = (typeof processNames)[number]

export interface RunLoad {
  readonly next: Requests
  readonly connections: number
  readonly warmupMs: number
  readonly durationMs: number
  /** Requests a second on a fixed schedule; null for as many as are answered. */
  readonly ratePerSecond: number | null
  /** Processes that are there and have nothing to do: what they use is not the generator's, which started them. */
  readonly bystanders?: NamedPids
}

/** Latencies and pauses in milliseconds. */
export interface RunFigures {
  readonly perSecond: number
  /** With the time in the divisor that write-behind needed after the last answer. */
  readonly drainedPerSecond: number
  readonly drainSeconds: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly p999Ms: number
  /** Not answered 2xx, for whatever reason. */
  readonly failed: number
  readonly cpuMicros: Readonly<Partial<Record<ProcessName, number>>>
  /** Microseconds a decision takes; null where nothing tells. */
  readonly decision: { readonly p50: number; readonly p99: number; readonly p999: number } | null
  readonly longestPauseMs: number | null
  /** Cores that programs not measured here used meanwhile; NaN where the system does not tell. */
  readonly othersCores: number
  /** Share of the time the one thread of the generator worked. */
  readonly generatorBusy: number
  readonly generatorIsLimit: boolean
}

export async function measureRun(contender: Contender, load: RunLoad): Promise<RunFigures> {
  const { hostname: host, port } = new URL(contender.url)
  const { connections, warmupMs, durationMs, ratePerSecond } = load
  const common = { host, port: Number(port), connections, next: load.next, warmupMs, durationMs }
  const begin = sleep(warmupMs).then(() => sample(contender, load.bystanders))
  const result = await (ratePerSecond === null ? runClosedLoop(common) : runOpenLoop({ ...common, ratePerSecond }))
  const endedAt = performance.now()
  const scrapeAtEnd = await scrapeOf(contender)
  const before = await begin
  const drainSeconds = await drain(contender, endedAt)
  const after = await sample(contender, load.bystanders)
  const usage = before.processes && after.processes && usageBetween(before.processes, after.processes)
  const used = processNames.flatMap((name) => (usage?.[name] ? [[name, usage[name].cpuSeconds] as const] : []))
  const ours = used.reduce((sum, [, cpuSeconds]) => sum + cpuSeconds, usage === null ? Number.NaN : 0)
  const busy = (after.busySeconds ?? Number.NaN) - (before.busySeconds ?? Number.NaN)
  return {
    perSecond: result.ok / result.seconds,
    drainedPerSecond: result.ok / (result.seconds + drainSeconds),
    drainSeconds,
    p50Ms: result.p50 / 1_000,
    p99Ms: result.p99 / 1_000,
    p999Ms: result.p999 / 1_000,
    failed: result.requests - result.ok,
    cpuMicros: Object.fromEntries(used.map(([name, cpuSeconds]) => [name, (cpuSeconds * 1e6) / result.ok])),
    decision: decisionsBetween(before.scrape, scrapeAtEnd),
    longestPauseMs: await longestPauseMs(contender.pids.server ?? 0, before.epochMs, after.epochMs),
    othersCores: (busy - ours) / ((after.atMicros - before.atMicros) / 1e6),
    generatorBusy: result.generator.utilisation,
    generatorIsLimit: result.generator.limiting,
  }
}

/**
 * One request of each: what only a member's first one pays for, the check of the token, is not measured. Nor is the work
 * that these requests leave behind them.
 */
export async function acquaint(contender: Contender, next: Requests, requests: number): Promise<void> {
  const { hostname: host, port } = new URL(contender.url)
  const { ok } = await runClosedLoop({ host, port: Number(port), connections: 64, next, requests })
  if (ok < requests) throw new Error(`${contender.url}: of ${requests} first scans ${ok} were accepted`)
  await drain(contender, performance.now())
}

async function sample(contender: Contender, bystanders: NamedPids = {}) {
  return {
    scrape: await scrapeOf(contender),
    processes: sampleProcesses({ ...bystanders, ...contender.pids, generator: process.pid }),
    busySeconds: busySeconds(),
    atMicros: nowMicros(),
    epochMs: Date.now(),
  }
}

async function scrapeOf({ name, url }: Contender): Promise<Scrape | null> {
  return name === 'ours' ? scrape(url) : null
}

function decisionsBetween(before: Scrape | null, after: Scrape | null): RunFigures['decision'] {
  if (before === null || after === null) return null
  const turns = new HistogramDifference(before, after, 'comptroller_turn_microseconds', 'command="scan.submit"')
  return { p50: turns.at(50), p99: turns.at(99), p999: turns.at(99.9) }
}

/** Seconds from the last answer until Postgres holds everything. */
async function drain(contender: Contender, sinceMs: number): Promise<number> {
  if ((await contender.lag()) === 0) return 0
  for (;;) {
    await sleep(LAG_POLL_MS)
    const seconds = (performance.now() - sinceMs) / 1_000
    if ((await contender.lag()) === 0) return seconds
    if (seconds * 1_000 > CATCH_UP_TIMEOUT_MS) throw new Error('Postgres does not catch up')
  }
}

/** One measured run: load on a running server, and what came of it. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Principal } from '../../gateway/http/toolkit/principal.js'
import { prepareRequest } from '../load/http-request.js'
import { type NamedPids, type ProcessUsage, sampleProcesses, usageBetween } from '../load/processes.js'
import type { LoadResult } from '../load/result.js'
import { runClosedLoop } from '../load/runner.js'
import { busySeconds } from './machine.js'
import { HistogramDifference, type Scrape, scrape } from './prometheus.js'

/** What is left of the velocity limit of 60 an hour is for the scans in flight. */
export const SCANS_PER_MEMBER_MAX = 58
const WARM_UP_MS = 2_000
const LAG_POLL_MS = 20
const CATCH_UP_TIMEOUT_MS = 120_000

export interface Load {
  readonly url: string
  readonly pids: NamedPids
  readonly connections: number
  readonly seconds: number
  readonly members: readonly Principal[]
  readonly tokens: readonly string[]
  /** Taken from the end, so that no run scans a code twice. */
  readonly codes: string[]
}

export interface Measurement {
  readonly load: LoadResult
  /** Answers of the whole run, warm-up included. */
  readonly accepted: number
  readonly unknown: number
  readonly turns: HistogramDifference
  readonly batches: HistogramDifference
  readonly flushes: HistogramDifference
  readonly lagRecords: number
  readonly lagSeconds: number
  readonly usage: Record<string, ProcessUsage | null> | null
  /** Share of the measured time the server's main thread collected garbage. */
  readonly garbageShare: number
  /** Cores that programs not measured here used meanwhile; NaN when the system does not tell. */
  readonly othersShare: number
}

export async function measure(run: Load): Promise<Measurement> {
  const seen = { accepted: 0, unknown: 0 }
  const onResponse = (status: number) => {
    if (status === 200) seen.accepted += 1
    else if (status === 0) seen.unknown += 1
  }
  const { hostname: host, port } = new URL(run.url)
  const common = { host, port: Number(port), connections: run.connections, next: scansOf(run), onResponse }
  // The first request of a member pays for checking the token; that is not what is measured here.
  await runClosedLoop({ ...common, requests: run.members.length })

  const start = sampleAfterWarmUp(run)
  const load = await runClosedLoop({ ...common, warmupMs: WARM_UP_MS, durationMs: run.seconds * 1_000 })
  const endedAt = performance.now()
  const after = await sample(run)
  const before = await start
  const usage = before.processes && after.processes && usageBetween(before.processes, after.processes)
  const ours = Object.values(usage ?? {}).reduce((sum, used) => sum + (used?.cpuSeconds ?? Number.NaN), 0)
  const busy = (after.busySeconds ?? Number.NaN) - (before.busySeconds ?? Number.NaN)
  const seconds = (after.atMs - before.atMs) / 1_000
  const difference = (name: string, labels?: string) =>
    new HistogramDifference(before.scrape, after.scrape, name, labels)
  const garbage = ['minor', 'major', 'incremental'].map((kind) =>
    difference('nodejs_gc_duration_seconds', `kind="${kind}"`),
  )
  const lagSeconds = await catchUp(run.url, endedAt)
  return {
    load,
    ...seen,
    turns: difference('comptroller_turn_microseconds', 'command="scan.submit"'),
    batches: difference('comptroller_journal_flush_records'),
    flushes: difference('comptroller_journal_flush_microseconds'),
    lagRecords: lagOf(after.scrape),
    lagSeconds,
    usage,
    garbageShare: garbage.reduce((sum, kind) => sum + kind.sum, 0) / seconds,
    othersShare: (busy - ours) / seconds,
  }
}

/** Members take turns, each always at about the same place and on the same device. */
function scansOf({ url, members, tokens, codes }: Load): () => Buffer | null {
  const { host } = new URL(url)
  const requests = tokens.map((token) => prepareRequest({ method: 'POST', path: '/v1/scans/submit', host, token }))
  const details = members.map(
    (_, member) =>
      `"location":{"lat":${(25 + (member % 2_000) / 100).toFixed(4)},"lng":${(-120 + (member % 4_500) / 100).toFixed(4)}},` +
      `"device_id":"bench-${member}","method":"qr"}`,
  )
  let sent = 0
  return () => {
    const code = codes.pop()
    if (code === undefined) return null
    const member = sent % requests.length
    sent += 1
    const body = `{"code":"${code}","timestamp":${Date.now()},${details[member]}`
    return requests[member]?.(body) ?? null
  }
}

/** Takes the first sample when the warm-up ends. */
async function sampleAfterWarmUp(run: Load) {
  await sleep(WARM_UP_MS)
  return sample(run)
}

async function sample({ url, pids }: Load) {
  return {
    scrape: await scrape(url),
    processes: sampleProcesses(pids),
    busySeconds: busySeconds(),
    atMs: performance.now(),
  }
}

/** Seconds from `sinceMs` until Postgres holds everything. */
async function catchUp(url: string, sinceMs: number): Promise<number> {
  for (;;) {
    if (lagOf(await scrape(url)) === 0) return (performance.now() - sinceMs) / 1_000
    if (performance.now() - sinceMs > CATCH_UP_TIMEOUT_MS) throw new Error('Postgres does not catch up')
    await sleep(LAG_POLL_MS)
  }
}

function lagOf(values: Scrape): number {
  return values.get('comptroller_shard_lag_records') ?? Number.NaN
}

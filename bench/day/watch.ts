/** Looks at the server now and then: what it has to do, what it holds, what it used, what it paid. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Sql } from '../../persistence/postgres/connection.js'
import { longestPauseMs } from '../compare/pauses.js'
import { type NamedPids, type ProcessSample, sampleProcesses, usageBetween } from '../load/processes.js'
import { busySeconds } from '../scan/machine.js'
import { type Scrape, scrape } from '../scan/prometheus.js'
import type { Recorder, Times } from './recorder.js'

const MEBIBYTE = 1024 * 1024
const GC_KINDS = ['minor', 'major', 'incremental']

export interface Sample {
  /** Of the day, 0 to 24. */
  readonly hour: number
  readonly times: Readonly<Record<string, Times>>
  readonly lagRecords: number
  readonly lagMs: number
  /** Bytes written to the journal a second, as records. */
  readonly recordsPerSecond: number
  readonly rssMib: number
  readonly heapMib: number
  readonly gcShare: number
  readonly longestPauseMs: number | null
  /** Cores, by process. */
  readonly cores: Readonly<Record<string, number>>
  readonly otherCores: number
  readonly sockets: number
  readonly compsWon: number
  readonly compsPaid: number
}

interface Look {
  readonly atMs: number
  readonly wallMs: number
  readonly scrape: Scrape
  readonly processes: ProcessSample | null
  readonly busySeconds: number | null
}

export class Watch {
  readonly samples: Sample[] = []
  #last: Look | undefined

  constructor(
    readonly url: string,
    readonly pids: NamedPids,
    readonly sql: Sql,
    readonly recorder: Recorder,
  ) {}

  async begin(): Promise<void> {
    this.#last = await this.#look()
  }

  async sample(hour: number): Promise<void> {
    const [before, after] = [this.#last, await this.#look()]
    this.#last = after
    if (before === undefined) return
    const [comps] = await this.sql<{ won: number; paid: number }[]>`
      select count(*)::int as won, (count(*) filter (where status = 'paid'))::int as paid from comps where amount > 0`
    this.samples.push({
      ...differenceOf(before, after),
      hour,
      times: this.recorder.takePart(),
      longestPauseMs: await longestPauseMs(this.pids.server ?? 0, before.wallMs, after.wallMs),
      compsWon: comps?.won ?? 0,
      compsPaid: comps?.paid ?? 0,
    })
  }

  async #look(): Promise<Look> {
    const values = await scrape(this.url)
    const wallMs = performance.timeOrigin + performance.now()
    return {
      atMs: performance.now(),
      wallMs,
      scrape: values,
      processes: sampleProcesses(this.pids),
      busySeconds: busySeconds(),
    }
  }
}

function differenceOf(before: Look, after: Look) {
  const seconds = (after.atMs - before.atMs) / 1_000
  const value = (series: string) => after.scrape.get(series) ?? Number.NaN
  const grown = (series: string) => value(series) - (before.scrape.get(series) ?? 0)
  const used = before.processes && after.processes && usageBetween(before.processes, after.processes)
  const cores = Object.fromEntries(
    Object.entries(used ?? {}).map(([name, usage]) => [name, usage === null ? 0 : usage.cpuShare]),
  )
  const busy = ((after.busySeconds ?? Number.NaN) - (before.busySeconds ?? Number.NaN)) / seconds
  const garbage = GC_KINDS.map((kind) => grown(`nodejs_gc_duration_seconds_sum{kind="${kind}"}`))
  return {
    lagRecords: value('comptroller_shard_lag_records'),
    lagMs: value('comptroller_projector_lag_ms'),
    recordsPerSecond: grown('comptroller_journal_flush_records_sum') / seconds,
    rssMib: value('process_resident_memory_bytes') / MEBIBYTE,
    heapMib: value('nodejs_heap_size_used_bytes') / MEBIBYTE,
    gcShare: garbage.filter((part) => !Number.isNaN(part)).reduce((sum, part) => sum + part, 0) / seconds,
    cores,
    otherCores: busy - Object.values(cores).reduce((sum, share) => sum + share, 0),
    sockets: value('comptroller_sockets_connections'),
  }
}

/** The process of that name that another started; 0 when there is none. */
export function childNamed(parent: number, name: string): number {
  for (const pid of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    try {
      const stat = readFileSync(join('/proc', pid, 'stat'), 'latin1')
      const [, owner] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
      if (stat.includes(`(${name})`) && Number(owner) === parent) return Number(pid)
    } catch {
      // It ended meanwhile.
    }
  }
  return 0
}

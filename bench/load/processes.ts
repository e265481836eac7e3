/**
 * CPU and memory of named processes and what they started, read from Linux's /proc.
 *
 * U1 A process counts for its nearest named ancestor only, so "postgres" is not part of the "server" that started it.
 * U2 A child that ends between two samples is not lost: the kernel adds its time to the parent that waited for it.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Clock ticks per second in /proc (`getconf CLK_TCK`); 100 on every Linux Node runs on. */
const TICKS_PER_SECOND = 100
const KIB = 1024

/** Process ids by the name they are reported under: `{ server: 12, postgres: 34 }`. */
export type NamedPids = Readonly<Record<string, number>>

interface ProcessTotals {
  /** User and system time since the process started, ended children included. */
  readonly cpuSeconds: number
  /** Resident memory; memory that processes share (Postgres buffers) counts once per process. */
  readonly rssBytes: number
}

export interface ProcessSample {
  readonly atMs: number
  /** Null for a process that does not exist (any more). */
  readonly byName: Readonly<Record<string, ProcessTotals | null>>
}

export interface ProcessUsage {
  readonly cpuSeconds: number
  /** CPU seconds per second; 1 is one core. */
  readonly cpuShare: number
  readonly rssBytes: number
}

interface ProcessStat {
  readonly parent: number
  readonly ticks: number
}

/** Samples the named processes with their children; null where there is no /proc. */
export function sampleProcesses(pids: NamedPids, procFolder = '/proc'): ProcessSample | null {
  const stats = readStats(procFolder)
  if (stats === null) return null
  const nameOf = new Map(Object.entries(pids).map(([name, pid]) => [pid, name]))
  const members = new Map<string, number[]>()
  for (const pid of stats.keys()) {
    const owner = nearestNamed(pid, stats, nameOf)
    if (owner === undefined) continue
    const group = members.get(owner)
    if (group === undefined) members.set(owner, [pid])
    else group.push(pid)
  }
  const byName: Record<string, ProcessTotals | null> = {}
  for (const [name, pid] of Object.entries(pids)) {
    const group = members.get(name) ?? []
    byName[name] = stats.has(pid) ? totalsOf(group, stats, procFolder) : null
  }
  return { atMs: performance.now(), byName }
}

/** What each process used between two samples; null for one that was missing in either. */
export function usageBetween(before: ProcessSample, after: ProcessSample): Record<string, ProcessUsage | null> {
  const seconds = (after.atMs - before.atMs) / 1000
  const usage: Record<string, ProcessUsage | null> = {}
  for (const [name, end] of Object.entries(after.byName)) {
    const start = before.byName[name]
    if (!start || !end || end.cpuSeconds < start.cpuSeconds) {
      usage[name] = null
      continue
    }
    const cpuSeconds = end.cpuSeconds - start.cpuSeconds
    usage[name] = { cpuSeconds, cpuShare: cpuSeconds / seconds, rssBytes: end.rssBytes }
  }
  return usage
}

function readStats(procFolder: string): Map<number, ProcessStat> | null {
  const names = readOrNull(() => readdirSync(procFolder))
  if (names === null) return null
  const stats = new Map<number, ProcessStat>()
  for (const name of names) {
    if (!/^\d+$/.test(name)) continue
    const text = readOrNull(() => readFileSync(join(procFolder, name, 'stat'), 'latin1'))
    if (text !== null) stats.set(Number(name), parseStat(text))
  }
  return stats.size === 0 ? null : stats
}

/** proc(5): the command, second field, is in parentheses and may itself contain any of `) (`. */
function parseStat(text: string): ProcessStat {
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const [, parent] = fields
  const [userTicks, systemTicks, childUserTicks, childSystemTicks] = fields.slice(11, 15).map(Number)
  const ticks = (userTicks ?? 0) + (systemTicks ?? 0) + (childUserTicks ?? 0) + (childSystemTicks ?? 0) // U2
  return { parent: Number(parent), ticks }
}

/** U1 */
function nearestNamed(
  pid: number,
  stats: ReadonlyMap<number, ProcessStat>,
  nameOf: ReadonlyMap<number, string>,
): string | undefined {
  let at = pid
  for (let depth = 0; depth < stats.size; depth++) {
    const name = nameOf.get(at)
    if (name !== undefined) return name
    const stat = stats.get(at)
    if (stat === undefined) return undefined
    at = stat.parent
  }
  return undefined
}

function totalsOf(group: number[], stats: ReadonlyMap<number, ProcessStat>, procFolder: string): ProcessTotals {
  let ticks = 0
  let rssBytes = 0
  for (const pid of group) {
    ticks += stats.get(pid)?.ticks ?? 0
    const status = readOrNull(() => readFileSync(join(procFolder, String(pid), 'status'), 'latin1'))
    rssBytes += Number(/^VmRSS:\s+(\d+) kB$/m.exec(status ?? '')?.[1] ?? 0) * KIB
  }
  return { cpuSeconds: ticks / TICKS_PER_SECOND, rssBytes }
}

/** A process may end between listing and reading; another may not be ours to read. */
function readOrNull<T>(read: () => T): T | null {
  try {
    return read()
  } catch {
    return null
  }
}

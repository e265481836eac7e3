/** A server with so many members and codes: start, memory, and what a scan costs. */
import { sampleProcesses } from '../load/processes.js'
import type { MemberMemory } from '../recovery/members.js'
import { runPart } from '../recovery/part.js'
import { onPostgres } from '../recovery/postgres.js'
import type { RestoreParts } from '../recovery/restore.js'
import { ServerProcess } from '../scan/server-process.js'
import { mintTokens, someMembers } from '../scan/stock.js'
import { acquaint, type CodeDraw, measureScans, type ScanCost, Scanners } from './scans.js'
import { growCodes, growMembers } from './stock.js'

const MEMBERS_WEIGHED_MAX = 100_000

export interface Start {
  readonly readyMs: number
  readonly serverCpuSeconds: number
  readonly postgresCpuSeconds: number
  readonly rssBytes: number
}

export interface SizePoint {
  readonly users: number
  readonly codes: number
  readonly starts: readonly Start[]
  readonly restore: RestoreParts
  readonly members: MemberMemory
  /** Median of the first scans of members, who are read from Postgres for it. */
  readonly firstScanMicros: number
  readonly scans: readonly ScanCost[]
}

export interface Plan {
  readonly starts: number
  readonly rounds: number
  readonly ratePerSecond: number
  readonly roundMs: number
  readonly scanners: number
}

export async function measureSize(
  folder: string,
  users: number,
  codes: number,
  plan: Plan,
  draw: CodeDraw,
): Promise<SizePoint> {
  const { restore, members } = await onPostgres(folder, async ({ sql, url }) => {
    await growMembers(sql, users)
    await growCodes(sql, codes)
    return {
      restore: await runPart('restore', { url }),
      members: await runPart('members', { url, count: Math.min(users, MEMBERS_WEIGHED_MAX) }),
    }
  })
  const starts: Start[] = []
  for (let start = 1; start < plan.starts; start++) {
    const { server, ...started } = await startOnce(folder)
    await server.stop()
    starts.push(started)
  }
  const { server, postgres, ...started } = await startOnce(folder)
  starts.push(started)
  try {
    return { users, codes, starts, restore, members, ...(await costOf(folder, server, postgres, plan, draw)) }
  } finally {
    await server.stop()
  }
}

async function startOnce(folder: string): Promise<Start & { server: ServerProcess; postgres: number }> {
  const server = await ServerProcess.start(folder, [])
  const postgres = await onPostgres(folder, async ({ pid }) => pid)
  const used = sampleProcesses({ server: server.pid, postgres })?.byName
  return {
    ...{ server, postgres, readyMs: server.readyMs },
    serverCpuSeconds: used?.server?.cpuSeconds ?? Number.NaN,
    postgresCpuSeconds: used?.postgres?.cpuSeconds ?? Number.NaN,
    rssBytes: used?.server?.rssBytes ?? Number.NaN,
  }
}

async function costOf(folder: string, server: ServerProcess, postgres: number, plan: Plan, draw: CodeDraw) {
  const { rounds, ratePerSecond, roundMs, scanners: count } = plan
  const wanted = count + Math.ceil(rounds * ratePerSecond * (roundMs / 1_000 + 2))
  const { members, codes } = await onPostgres(folder, async ({ sql }) => ({
    members: await someMembers(sql, count),
    codes: await draw.draw(sql, wanted),
  }))
  const tokens = await mintTokens(folder, members)
  const scanners = new Scanners(tokens, new URL(server.url).host)
  const target = { url: server.url, pids: { server: server.pid, postgres } }
  const firstScanMicros = await acquaint(target, scanners, codes, tokens.length)
  const scans: ScanCost[] = []
  for (let round = 0; round < rounds; round++) {
    scans.push(await measureScans(target, scanners, codes, ratePerSecond, roundMs))
  }
  return { firstScanMicros, scans }
}

/** A server with so many viewers of its dashboard: memory of each, what telling them costs, what a scan costs meanwhile. */
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Helper } from '../chat/calls.js'
import { type NamedPids, sampleProcesses, usageBetween } from '../load/processes.js'
import { onPostgres } from '../recovery/postgres.js'
import { ServerProcess } from '../scan/server-process.js'
import { mintTokens, someMembers } from '../scan/stock.js'
import { acquaint, type CodeDraw, measureScans, type ScanCost, Scanners } from './scans.js'
import type { Plan } from './size-point.js'
import type { ViewerCalls } from './viewers.js'

const viewersFile = fileURLToPath(new URL('viewers.js', import.meta.url))
const SETTLE_MS = 2_000
const IDLE_MS = 5_000

export interface SocketRound {
  readonly cost: ScanCost
  /** Events to all viewers together. */
  readonly deliveriesPerSecond: number
  readonly bytesPerDelivery: number
  readonly generatorUtilisation: number
}

export interface SocketPoint {
  readonly sockets: number
  readonly bytesPerSocket: number
  readonly connectSeconds: number
  /** Cores of the server while nobody scans. */
  readonly idleCores: number
  readonly rounds: readonly SocketRound[]
  /** Connections that ended, by reason. */
  readonly ended: Readonly<Record<string, number>>
}

/** Scans a second while viewers are told: enough to keep every ticker moving. */
const SCANS_PER_SECOND = 100

/** One server, more and more viewers. The server is started anew, with whatever the folder holds. */
export async function measureSockets(
  folder: string,
  sizes: readonly number[],
  plan: Plan,
  draw: CodeDraw,
): Promise<SocketPoint[]> {
  const server = await ServerProcess.start(folder, [])
  const viewers = new Helper<ViewerCalls>(viewersFile, () => {}, ['--max-semi-space-size=64'])
  try {
    const hall = await openHall(folder, server, plan, draw, sizes.length)
    const points: SocketPoint[] = []
    const before = rssOf(hall.pids)
    for (const sockets of sizes) {
      const connectSeconds = await viewers.call('seat', { url: server.url, count: sockets })
      await sleep(SETTLE_MS)
      const bytesPerSocket = (rssOf(hall.pids) - before) / sockets
      const idleCores = await coresOf(hall.pids)
      const rounds: SocketRound[] = []
      for (let round = 0; round < plan.rounds; round++) rounds.push(await hall.round(viewers))
      const { ended } = await viewers.call('read', undefined)
      points.push({ sockets, bytesPerSocket, connectSeconds, idleCores, rounds, ended })
      process.stderr.write(`${sockets} viewers: ${Math.round(bytesPerSocket)} bytes each\n`)
    }
    return points
  } finally {
    await viewers.stop()
    await server.stop()
  }
}

async function openHall(folder: string, server: ServerProcess, plan: Plan, draw: CodeDraw, sizes: number) {
  const { rounds, roundMs, scanners: count } = plan
  const wanted = count + Math.ceil(sizes * rounds * SCANS_PER_SECOND * (roundMs / 1_000 + 2))
  const { pid, members, codes } = await onPostgres(folder, async ({ sql, pid }) => ({
    pid,
    members: await someMembers(sql, count),
    codes: await draw.draw(sql, wanted),
  }))
  const scanners = new Scanners(await mintTokens(folder, members), new URL(server.url).host)
  const target = { url: server.url, pids: { server: server.pid, postgres: pid } }
  await acquaint(target, scanners, codes, members.length)
  return {
    pids: target.pids,
    round: async (viewers: Helper<ViewerCalls>): Promise<SocketRound> => {
      const startedAt = performance.now()
      await viewers.call('restart', undefined)
      const cost = await measureScans(target, scanners, codes, SCANS_PER_SECOND, roundMs)
      const { deliveries, bytes, busy } = await viewers.call('read', undefined)
      return {
        cost,
        deliveriesPerSecond: (deliveries * 1_000) / (performance.now() - startedAt),
        bytesPerDelivery: bytes / deliveries,
        generatorUtilisation: busy.utilisation,
      }
    },
  }
}

function rssOf(pids: NamedPids): number {
  return sampleProcesses(pids)?.byName.server?.rssBytes ?? Number.NaN
}

async function coresOf(pids: NamedPids): Promise<number> {
  const before = sampleProcesses(pids)
  await sleep(IDLE_MS)
  const after = sampleProcesses(pids)
  return (before && after && usageBetween(before, after).server?.cpuShare) ?? Number.NaN
}

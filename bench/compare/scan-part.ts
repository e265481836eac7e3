/** Part 1: scans, against the conventional stack in both forms and against the ceiling. */
import type { ContenderName } from './contenders.js'
import { measureDiskFloor } from './disk-floor.js'
import type { Field, Results } from './rounds.js'
import {
  BURST_CONNECTIONS,
  OPEN_CONNECTIONS,
  type ScanPlan,
  SUSTAINED_CONNECTIONS,
  secondsOfScans,
} from './scan-plan.js'
import type { OpenLoop, ScanResults } from './scan-results.js'
import { scanSection } from './scan-section.js'
import type { Section } from './section.js'
import { openStage } from './stage.js'
import { formatFigure, spreadOf } from './statistics.js'
import { measureViewers } from './viewers-phase.js'

export async function scanPart(folder: string, plan: ScanPlan): Promise<Section> {
  const disk = await measureDiskFloor(folder, plan.diskMs)
  process.stderr.write(`the disk alone: p50 ${formatFigure(disk.p50Ms)} ms, p99 ${formatFigure(disk.p99Ms)} ms\n`)
  const stage = await openStage(folder, secondsOfScans(plan))
  try {
    return scanSection({ ...(await measureScans(stage.field, plan)), disk })
  } finally {
    await stage.close()
  }
}

async function measureScans(field: Field, plan: ScanPlan): Promise<Omit<ScanResults, 'disk'>> {
  const { rounds, burstMs, sustainedMs } = plan
  const asFast = () => null
  const bursts: Record<number, Results> = {}
  for (const connections of BURST_CONNECTIONS) {
    const among = ['ours', 'transaction', 'statement', 'ceiling'] as const
    const burst = { connections, durationMs: burstMs, ratePerSecond: asFast, among, rounds }
    bursts[connections] = await field.measure(`burst, ${connections} connections`, burst)
  }
  const sustained = await field.measure('sustained', {
    connections: SUSTAINED_CONNECTIONS,
    durationMs: sustainedMs,
    ratePerSecond: asFast,
    among: ['ours', 'transaction'],
    rounds,
  })
  const saturation = saturationOf(Object.values(bursts))
  const open = await measureOpen(field, plan, saturation)
  return { plan, bursts, sustained, saturation, open, watched: await measureViewers(field, plan.watched, rounds) }
}

function saturationOf(bursts: readonly Results[]): Partial<Record<ContenderName, number>> {
  const best: Partial<Record<ContenderName, number>> = {}
  for (const burst of bursts) {
    for (const [key, runs] of Object.entries(burst)) {
      const name = key as ContenderName
      best[name] = Math.max(best[name] ?? 0, spreadOf(runs.map(({ perSecond }) => perSecond)).median)
    }
  }
  return best
}

async function measureOpen(
  field: Field,
  { openShares, openMs, rounds }: ScanPlan,
  saturation: ScanResults['saturation'],
): Promise<OpenLoop[]> {
  const open: OpenLoop[] = []
  for (const [key, shares] of Object.entries(openShares)) {
    const name = key as ContenderName
    for (const share of shares) {
      const ratePerSecond = Math.max(1, Math.round((saturation[name] ?? 0) * share))
      const what = `open loop, ${ratePerSecond}/s`
      const among = [name]
      const run = {
        connections: OPEN_CONNECTIONS,
        durationMs: openMs,
        ratePerSecond: () => ratePerSecond,
        among,
        rounds,
      }
      open.push({ name, share, ratePerSecond, results: await field.measure(what, run) })
    }
  }
  return open
}

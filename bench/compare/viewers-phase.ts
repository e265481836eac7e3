/** Scans while many watch: what the counter and the feed of `/insights/live` cost the server that tells them. */
import { fileURLToPath } from 'node:url'
import { Helper } from '../chat/calls.js'
import type { ViewerCalls } from '../growth/viewers.js'
import type { ContenderName } from './contenders.js'
import type { Field, Results } from './rounds.js'

const viewersFile = fileURLToPath(new URL('../growth/viewers.js', import.meta.url))
const CONNECTIONS = 64
const AMONG = ['ours', 'transaction'] as const satisfies readonly ContenderName[]

export interface ViewersPlan {
  readonly viewers: number
  readonly scansPerSecond: number
  readonly ms: number
}

export interface ViewersResults {
  readonly plan: ViewersPlan
  readonly results: Results
  /** Events a scan that all viewers together were told. */
  readonly deliveriesPerScan: Readonly<Partial<Record<ContenderName, number>>>
}

/** Viewers sit at every server; only one of them has scans at a time. */
export async function measureViewers(field: Field, plan: ViewersPlan, rounds: number): Promise<ViewersResults> {
  const halls = new Map<ContenderName, Helper<ViewerCalls>>()
  try {
    for (const name of AMONG) {
      const hall = new Helper<ViewerCalls>(viewersFile, () => {}, ['--max-semi-space-size=64'])
      halls.set(name, hall)
      await hall.call('seat', { url: field.contenders.get(name)?.url ?? '', count: plan.viewers })
      await hall.call('restart', undefined)
    }
    const { viewers, scansPerSecond, ms } = plan
    const scansBefore = new Map<ContenderName, number>(AMONG.map((name) => [name, field.scanned(name)]))
    const results = await field.measure(`${scansPerSecond} scans a second, ${viewers} viewers`, {
      connections: CONNECTIONS,
      durationMs: ms,
      ratePerSecond: () => scansPerSecond,
      among: AMONG,
      rounds,
    })
    const deliveriesPerScan: Partial<Record<ContenderName, number>> = {}
    for (const [name, hall] of halls) {
      const { deliveries } = await hall.call('read', undefined)
      deliveriesPerScan[name] = deliveries / (field.scanned(name) - (scansBefore.get(name) ?? 0))
    }
    return { plan, results, deliveriesPerScan }
  } finally {
    for (const hall of halls.values()) await hall.stop()
  }
}

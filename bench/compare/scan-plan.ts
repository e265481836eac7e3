/** How much of the scan part is measured. */
import type { ContenderName } from './contenders.js'
import type { ViewersPlan } from './viewers-phase.js'

export interface ScanPlan {
  readonly rounds: number
  readonly burstMs: number
  readonly sustainedMs: number
  readonly openMs: number
  /** Of each contender's saturation. */
  readonly openShares: Readonly<Partial<Record<ContenderName, readonly number[]>>>
  readonly watched: ViewersPlan
  /** Of syncs, one after the other, with nothing else running. */
  readonly diskMs: number
}

export const BURST_CONNECTIONS = [64, 256] as const
export const SUSTAINED_CONNECTIONS = 64
export const OPEN_CONNECTIONS = 256
/** Where the targets for decisions and for durable answers are read. */
export const DECISION_SHARE = 0.8
export const DURABLE_SHARE = 0.5

export const scanPlans = {
  whole: {
    rounds: 5,
    burstMs: 5_000,
    sustainedMs: 60_000,
    openMs: 6_000,
    openShares: { ours: [0.25, DURABLE_SHARE, DECISION_SHARE, 1], transaction: [0.5, 0.8], statement: [0.8] },
    watched: { viewers: 1_000, scansPerSecond: 50, ms: 2_500 },
    diskMs: 30_000,
  },
  quick: {
    rounds: 1,
    burstMs: 2_000,
    sustainedMs: 6_000,
    openMs: 2_000,
    openShares: { ours: [DURABLE_SHARE, DECISION_SHARE], transaction: [0.5] },
    watched: { viewers: 500, scansPerSecond: 50, ms: 2_000 },
    diskMs: 3_000,
  },
} as const satisfies Record<string, ScanPlan>

/** Seconds for which ours scans as fast as it can, warm-ups included: what its stock has to last for. */
export function secondsOfScans({ rounds, burstMs, sustainedMs, openMs, openShares }: ScanPlan): number {
  const shares = (openShares.ours ?? []).reduce((sum, share) => sum + share, 0)
  const onceMs = BURST_CONNECTIONS.length * (burstMs + 1_000) + sustainedMs + 1_000 + shares * (openMs + 1_000)
  return (rounds * onceMs) / 1_000 + 10
}

/** What the scan part found. */
import type { ContenderName } from './contenders.js'
import type { DiskFloor } from './disk-floor.js'
import type { Results } from './rounds.js'
import type { RunFigures } from './run.js'
import type { DECISION_SHARE, DURABLE_SHARE, ScanPlan } from './scan-plan.js'
import type { ViewersResults } from './viewers-phase.js'

export interface OpenLoop {
  readonly name: ContenderName
  readonly share: number
  readonly ratePerSecond: number
  readonly results: Results
}

export interface ScanResults {
  readonly plan: ScanPlan
  /** By connections. */
  readonly bursts: Readonly<Record<number, Results>>
  readonly sustained: Results
  /** Requests a second: the best median of a burst. */
  readonly saturation: Readonly<Partial<Record<ContenderName, number>>>
  readonly open: readonly OpenLoop[]
  readonly watched: ViewersResults
  readonly disk: DiskFloor
}

/** The runs of ours at a share of saturation. */
export function oursAt(
  { open }: ScanResults,
  share: typeof DECISION_SHARE | typeof DURABLE_SHARE,
): readonly RunFigures[] {
  return open.find((each) => each.name === 'ours' && each.share === share)?.results.ours ?? []
}

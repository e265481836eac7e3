/** Folds records into the rows they become: the engine's own, then those of facts and deltas. */
import type { TurnRecord } from '../../engine/record.js'
import type { Batch } from './batch.js'
import { chatArea } from './chat.js'
import { codeArea } from './codes.js'
import { engineTargets, foldEngineRows } from './engine-rows.js'
import { liveEventArea } from './live-events.js'
import { memberArea } from './members.js'
import { payoutArea } from './payouts.js'
import { prizeArea } from './prizes.js'
import type { Area, Source } from './projection.js'
import { scanArea } from './scans.js'
import type { Target } from './target.js'
import { treasuryArea } from './treasury.js'
import { withdrawalArea } from './withdrawals.js'

const areas: readonly Area[] = [
  memberArea,
  codeArea,
  scanArea,
  prizeArea,
  payoutArea,
  treasuryArea,
  withdrawalArea,
  chatArea,
  liveEventArea,
]

/** Every target, in the order they are written. */
export const targets: readonly Target[] = [...areas.flatMap((area) => area.targets), ...engineTargets]

const factProjections = new Map(areas.flatMap((area) => Object.entries(area.facts)))
const deltaProjections = new Map(areas.flatMap((area) => Object.entries(area.deltas)))

/** Their rows are read back by starts, or written again by later facts: they may neither be missing nor come late. */
export const neverParkedFacts: ReadonlySet<string> = new Set([
  'chat.message_posted',
  'chat.message_changed',
  'chat.channel_changed',
])

/**
 * Facts and deltas without a projection feed no table. P3 A fact of which no row can be made, because it is not what
 * its type says, is parked like a refused row; a delta must not be missing, because starts read back what it makes.
 */
export function foldRecord(shard: string, record: TurnRecord, batch: Batch): void {
  const { seq, input } = record
  batch.begin(seq, input.at)
  foldEngineRows(shard, record, batch)
  record.facts.forEach((fact, entry) => {
    try {
      foldFact(fact, { seq, entry, at: input.at }, batch)
    } catch (error) {
      if (neverParkedFacts.has(fact.type)) throw error
      batch.parkFact(fact, entry, error)
    }
  })
  record.deltas.forEach(({ table, delta }, entry) => {
    deltaProjections.get(table)?.(delta as never, { seq, entry, at: input.at }, batch)
  })
}

/** The rows of one fact. Throws when it is not what its type says. */
export function foldFact(fact: { readonly type: string }, source: Source, batch: Batch): void {
  factProjections.get(fact.type)?.(fact as never, source, batch)
}

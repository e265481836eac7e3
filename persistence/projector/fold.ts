/** Folds records into the rows they become: the engine's own, then those of facts and deltas. */
import type { TurnRecord } from '../../engine/record.js'
import type { Batch } from './batch.js'
import { codeArea } from './codes.js'
import { engineTargets, foldEngineRows } from './engine-rows.js'
import { memberArea } from './members.js'
import { prizeArea } from './prizes.js'
import type { Area, Project, Source } from './projection.js'
import { scanArea } from './scans.js'
import type { Target } from './target.js'

const areas: readonly Area[] = [memberArea, codeArea, scanArea, prizeArea]

/** Every target, in the order they are written. */
export const targets: readonly Target[] = [...areas.flatMap((area) => area.targets), ...engineTargets]

const factProjections = new Map(areas.flatMap((area) => Object.entries(area.facts)))
const deltaProjections = new Map(areas.flatMap((area) => Object.entries(area.deltas)))

/** Facts and deltas without a projection feed no table. */
export function foldRecord(shard: string, record: TurnRecord, batch: Batch): void {
  const { seq, input } = record
  batch.begin(seq, input.at)
  foldEngineRows(shard, record, batch)
  record.facts.forEach((fact, entry) => {
    project(factProjections.get(fact.type), `fact ${fact.type}`, fact, { seq, entry, at: input.at }, batch)
  })
  record.deltas.forEach(({ table, delta }, entry) => {
    project(deltaProjections.get(table), `delta of ${table}`, delta, { seq, entry, at: input.at }, batch)
  })
}

/** P3: what cannot even be made a row, because it is not what its type says, is parked like a refused row. */
function project(
  projection: Project<never> | undefined,
  what: string,
  input: unknown,
  source: Source,
  batch: Batch,
): void {
  try {
    projection?.(input as never, source, batch)
  } catch (error) {
    batch.park(what, error, input)
  }
}

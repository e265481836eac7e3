/** How facts and deltas become rows. One file per area declares its targets and its projections. */
import type { z } from 'zod'
import type { FactOf } from '../../engine/fact.js'
import type { Batch } from './batch.js'
import type { Target } from './target.js'

/** The place of a fact or delta: its record, its position in it, and the time of the input. */
export interface Source {
  readonly seq: number
  readonly entry: number
  /** Milliseconds. */
  readonly at: number
}

export type Project<What> = (what: What, source: Source, batch: Batch) => void

export interface Area {
  /** In the order they are to be written. */
  readonly targets: readonly Target[]
  readonly facts: Readonly<Record<string, Project<never>>>
  /** By table of the engine. */
  readonly deltas: Readonly<Record<string, Project<never>>>
}

/** Projects one type of fact. */
export function onFact<Type extends string, Schema extends z.ZodType>(
  fact: { readonly type: Type; readonly schema: Schema },
  project: Project<FactOf<Type, Schema>>,
): Readonly<Record<string, Project<never>>> {
  return { [fact.type]: project }
}

/** Projects the deltas of one table. */
export function onDelta<Delta>(table: string, project: Project<Delta>): Readonly<Record<string, Project<never>>> {
  return { [table]: project }
}

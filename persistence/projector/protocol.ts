/** What the main thread and the projector's worker tell each other. */
import type { ProjectorLimits } from './limits.js'

export interface WorkerSetup {
  readonly url: string
  readonly directory: string
  readonly shard: string
  readonly limits: ProjectorLimits
}

export type ToWorker =
  /** Every record up to here is durable. */
  | { readonly kind: 'announce'; readonly durableSeq: number }
  /** Apply what is announced, then end. */
  | { readonly kind: 'drain' }
  /** Write nothing until told otherwise. */
  | { readonly kind: 'pause'; readonly isPaused: boolean }

export type FromWorker =
  | ({ readonly kind: 'applied' } & AppliedReport)
  | { readonly kind: 'retrying'; readonly error: string; readonly errorCode: string; readonly delayMs: number }
  /** It goes on when this record passes, which is tried again and again. */
  | { readonly kind: 'blocked'; readonly seq: number; readonly error: string }
  | { readonly kind: 'parked'; readonly rows: readonly ParkedReport[]; readonly count: number }

export interface AppliedReport {
  /** Every record up to here is in Postgres. */
  readonly appliedSeq: number
  /** Age of the last applied record when its transaction was committed. */
  readonly lagMs: number
  readonly records: number
  readonly rows: number
  /** From the start of the transaction to its commit. */
  readonly batchMillis: number
}

export interface ParkedReport {
  readonly seq: number
  readonly table: string
  readonly errorCode: string
  readonly error: string
}

/** Parked rows named in one report; the others are only counted. */
export const PARKED_REPORTED_MAX = 20

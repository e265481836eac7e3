/** The named limits of a shard (B1); each has a gauge. */
export interface ShardLimits {
  readonly cachedActorsMax: number
  /** Of them, those whose state is at hand and not only their image. */
  readonly awakeActorsMax: number
  readonly idempotencyWindowMs: number
  readonly idempotencyEntriesMax: number
  /** Records not yet in Postgres, past which new inputs are refused (P2). */
  readonly lagRecordsMax: number
  /** Inputs waiting for an actor to be loaded. */
  readonly loadingInputsMax: number
}

export const defaultLimits: ShardLimits = {
  cachedActorsMax: 1_000_000,
  awakeActorsMax: 512,
  idempotencyWindowMs: 24 * 60 * 60 * 1000,
  idempotencyEntriesMax: 1_000_000,
  lagRecordsMax: 5_000_000,
  loadingInputsMax: 20_000,
}

/** Outputs waiting for a slow disk, past which new inputs and reads are refused (B1). */
export const HELD_OUTPUTS_MAX = 200_000

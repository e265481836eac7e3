/** The named limits of the write-behind (B1). */
export interface ProjectorLimits {
  /** One transaction writes at most this many records … */
  readonly batchRecordsMax: number
  /** … and, give or take one read of the journal, this many bytes of them. */
  readonly batchBytesMax: number
  /** How long a small backlog waits for company. */
  readonly lingerMs: number
  /** A backlog of this many records does not wait. */
  readonly lingerRecordsMax: number
  /** The worker is told of durable records at most this often. */
  readonly announceIntervalMs: number
  readonly retryDelayMinMs: number
  readonly retryDelayMaxMs: number
  /** How long it waits before a record that blocks it is tried again. */
  readonly blockedDelayMs: number
  /** How long a stop waits for what is durable to be applied. */
  readonly drainMaxMs: number
  /** How long client idempotency keys are kept. */
  readonly idempotencyWindowMs: number
  /** Outdated keys are deleted this often, at most so many at a time. */
  readonly purgeIntervalMs: number
  readonly purgeRowsMax: number
  /** When so many scans wait to be folded into their codes' chunks, so many at most are read … */
  readonly foldScansMin: number
  readonly foldScansMax: number
  /** … and folded into so many chunks at a time, this often. */
  readonly foldChunksMax: number
  readonly foldIntervalMs: number
}

export const defaultProjectorLimits: ProjectorLimits = {
  batchRecordsMax: 2_000,
  batchBytesMax: 8 * 1024 * 1024,
  lingerMs: 25,
  lingerRecordsMax: 500,
  announceIntervalMs: 20,
  retryDelayMinMs: 50,
  retryDelayMaxMs: 1_000,
  blockedDelayMs: 2_000,
  drainMaxMs: 15_000,
  idempotencyWindowMs: 24 * 60 * 60 * 1000,
  purgeIntervalMs: 1_000,
  purgeRowsMax: 20_000,
  foldScansMin: 250_000,
  foldScansMax: 1_000_000,
  foldChunksMax: 1_024,
  foldIntervalMs: 250,
}

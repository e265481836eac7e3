/**
 * Recognises repeats: client keys for `windowMs`, natural keys for ever.
 *
 * Memory holds the newest entries up to `entriesMax` (B1). Replies already in Postgres are not kept in memory, and what
 * memory may have forgotten (natural keys, or client keys after an overflow) is looked up in Postgres.
 */
import type { Idempotency, StoredOutcome } from './record.js'

export interface IdempotencyEntry {
  readonly fingerprint: string
  readonly at: number
  readonly seq: number
  readonly forever: boolean
  /** Absent once Postgres holds it. */
  outcome: StoredOutcome | undefined
}

export interface IdempotencyLimits {
  readonly windowMs: number
  readonly entriesMax: number
}

export class IdempotencyWindow {
  /** In order of arrival, so the oldest is first. */
  readonly #entries = new Map<string, IdempotencyEntry>()
  /** Keys whose outcome is still held in memory, oldest first. */
  readonly #unapplied: { key: string; seq: number }[] = []
  #unappliedHead = 0
  #forgottenAt = Number.NEGATIVE_INFINITY

  constructor(readonly limits: IdempotencyLimits) {}

  get size(): number {
    return this.#entries.size
  }

  /** The entry of a key, `absent`, or `unknown` when only Postgres can tell. */
  find(key: string, forever: boolean, now: number): IdempotencyEntry | 'absent' | 'unknown' {
    const entry = this.#entries.get(key)
    if (entry !== undefined && (entry.forever || entry.at + this.limits.windowMs > now)) return entry
    if (forever) return 'unknown'
    return this.#forgottenAt + this.limits.windowMs > now ? 'unknown' : 'absent'
  }

  remember(idempotency: Idempotency, at: number, seq: number): void {
    const { key, fingerprint, outcome, forever } = idempotency
    this.#entries.delete(key)
    this.#entries.set(key, { fingerprint, at, seq, forever, outcome })
    this.#unapplied.push({ key, seq })
    this.#forget(at)
  }

  /** An entry whose outcome is in Postgres. */
  restore(key: string, entry: Omit<IdempotencyEntry, 'outcome'>): void {
    this.#entries.set(key, { ...entry, outcome: undefined })
    this.#forget(entry.at)
  }

  /** Postgres holds every outcome up to `seq`. */
  applied(seq: number): void {
    while (this.#unappliedHead < this.#unapplied.length) {
      const oldest = this.#unapplied[this.#unappliedHead]
      if (oldest === undefined || oldest.seq > seq) break
      const entry = this.#entries.get(oldest.key)
      if (entry !== undefined && entry.seq === oldest.seq) entry.outcome = undefined
      this.#unappliedHead += 1
    }
    if (this.#unappliedHead > 1024 && this.#unappliedHead * 2 > this.#unapplied.length) {
      this.#unapplied.splice(0, this.#unappliedHead)
      this.#unappliedHead = 0
    }
  }

  #forget(now: number): void {
    for (const [key, entry] of this.#entries) {
      const expired = entry.at + this.limits.windowMs <= now
      if (!expired && this.#entries.size <= this.limits.entriesMax) return
      // What Postgres does not hold yet must stay findable: the lag limit bounds how many those are.
      if (entry.outcome !== undefined) return
      this.#entries.delete(key)
      if (!expired) this.#forgottenAt = Math.max(this.#forgottenAt, entry.at)
    }
  }
}

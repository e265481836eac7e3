/**
 * Recognises repeats: client keys for `windowMs`, natural keys for ever.
 *
 * Memory holds the newest entries up to `entriesMax` (B1). Replies already in Postgres are not kept in memory, and what
 * memory may have forgotten (natural keys, or client keys after an overflow) is looked up in Postgres.
 */
import type { Idempotency } from './record.js'

export interface IdempotencyEntry {
  readonly key: string
  readonly fingerprint: string
  readonly at: number
  readonly seq: number
  readonly forever: boolean
  /** Where its outcome is; absent once Postgres holds it. */
  stored: Pick<Idempotency, 'outcome'> | undefined
}

export interface IdempotencyLimits {
  readonly windowMs: number
  readonly entriesMax: number
}

const COMPACT_AT = 1024

export class IdempotencyWindow {
  readonly #entries = new Map<string, IdempotencyEntry>()
  /**
   * Every entry in order of arrival, those overtaken by a later one of the same key too. A queue of its own, because
   * finding the oldest entry of a Map costs a walk over all that were deleted before it.
   */
  readonly #arrivals: IdempotencyEntry[] = []
  #oldest = 0
  /** The first arrival whose outcome may still be held in memory. */
  #unapplied = 0
  #forgottenAt = Number.NEGATIVE_INFINITY
  #forgottenSeq = 0

  constructor(readonly limits: IdempotencyLimits) {}

  get size(): number {
    return this.#entries.size
  }

  /** Of every record up to here whose key is not found in memory, only Postgres can tell. */
  get forgottenSeq(): number {
    return this.#forgottenSeq
  }

  /** The entry of a key, `absent`, or `unknown` when only Postgres can tell. */
  find(key: string, forever: boolean, now: number): IdempotencyEntry | 'absent' | 'unknown' {
    const entry = this.#entries.get(key)
    if (entry !== undefined && (entry.forever || entry.at + this.limits.windowMs > now)) return entry
    if (forever) return 'unknown'
    return this.#forgottenAt + this.limits.windowMs > now ? 'unknown' : 'absent'
  }

  remember(idempotency: Idempotency, at: number, seq: number): void {
    const { key, fingerprint, forever } = idempotency
    this.#add({ key, fingerprint, at, seq, forever, stored: idempotency })
  }

  /** An entry whose outcome is in Postgres. */
  restore({ key, fingerprint, at, seq, forever }: Omit<IdempotencyEntry, 'stored'>): void {
    this.#add({ key, fingerprint, at, seq, forever, stored: undefined })
  }

  /** Postgres holds every outcome up to `seq`. */
  applied(seq: number): void {
    for (let entry = this.#arrivals[this.#unapplied]; entry !== undefined; entry = this.#arrivals[this.#unapplied]) {
      if (entry.seq > seq) return
      entry.stored = undefined
      this.#unapplied += 1
    }
  }

  #add(entry: IdempotencyEntry): void {
    this.#entries.set(entry.key, entry)
    this.#arrivals.push(entry)
    this.#forget(entry.at)
  }

  #forget(now: number): void {
    for (let entry = this.#arrivals[this.#oldest]; entry !== undefined; entry = this.#arrivals[this.#oldest]) {
      if (this.#entries.get(entry.key) === entry) {
        const expired = entry.at + this.limits.windowMs <= now
        if (!expired && this.#entries.size <= this.limits.entriesMax) break
        // What Postgres does not hold yet must stay findable: the lag limit bounds how many those are.
        if (entry.stored !== undefined) break
        this.#entries.delete(entry.key)
        this.#forgottenSeq = Math.max(this.#forgottenSeq, entry.seq)
        if (!expired && !entry.forever) this.#forgottenAt = Math.max(this.#forgottenAt, entry.at)
      }
      this.#oldest += 1
    }
    this.#unapplied = Math.max(this.#unapplied, this.#oldest)
    if (this.#oldest > COMPACT_AT && this.#oldest * 2 > this.#arrivals.length) this.#compact()
  }

  #compact(): void {
    this.#arrivals.splice(0, this.#oldest)
    this.#unapplied -= this.#oldest
    this.#oldest = 0
  }
}

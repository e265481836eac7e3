/**
 * Accepted scans that Postgres does not hold yet, by member, so that members always read their own writes.
 * Bounded by the write-behind lag: what is applied is dropped.
 */
import type { View } from '../../engine/table.js'
import type { scanAccepted } from './facts.js'

export interface RecentScan {
  readonly scanId: string
  readonly ordinal: number
  readonly at: number
  readonly code: { readonly hi: number; readonly lo: number }
  readonly sku: string
  readonly method: 'qr' | 'manual'
  readonly tier: string
  readonly compType: string | null
  /** Micro-USDT. */
  readonly compAmount: bigint
  readonly milestone: string | null
}

type ScanFact = ReturnType<typeof scanAccepted.make>

export class RecentScans implements View {
  readonly name = 'recent-scans'
  readonly #byUser = new Map<string, RecentScan[]>()
  /** In record order. */
  #unapplied: { seq: number; userId: string }[] = []
  #head = 0

  get size(): number {
    return this.#unapplied.length - this.#head
  }

  /** Newest first. */
  of(userId: string): readonly RecentScan[] {
    return (this.#byUser.get(userId) ?? []).toReversed()
  }

  fold(fact: { readonly type: string }, at: number, seq: number): void {
    if (fact.type !== 'scan.accepted') return
    const scan = fact as ScanFact
    const { scanId, userId, ordinal, sku, method, tier, compType, compAmount, milestone } = scan
    const code = { hi: scan.codeHi, lo: scan.codeLo }
    const recent = { scanId, ordinal, at, code, sku, method, tier, compType, compAmount, milestone }
    const scans = this.#byUser.get(userId)
    if (scans === undefined) this.#byUser.set(userId, [recent])
    else scans.push(recent)
    this.#unapplied.push({ seq, userId })
  }

  /** Postgres holds everything up to `seq`. */
  applied(seq: number): void {
    for (
      let next = this.#unapplied[this.#head];
      next !== undefined && next.seq <= seq;
      next = this.#unapplied[this.#head]
    ) {
      const scans = this.#byUser.get(next.userId)
      scans?.shift()
      if (scans?.length === 0) this.#byUser.delete(next.userId)
      this.#head += 1
    }
    if (this.#head > 1024 && this.#head * 2 > this.#unapplied.length) {
      this.#unapplied = this.#unapplied.slice(this.#head)
      this.#head = 0
    }
  }
}

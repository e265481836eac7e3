/**
 * Accepted scans that Postgres does not hold yet, by member, so that members always read their own writes.
 * Bounded by the write-behind lag: what is applied is dropped.
 */
import { Slabs } from '../../engine/packed-values.js'
import { PackedFact } from '../../engine/recovery-record.js'
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

/** A member's scans, oldest first. */
interface MemberScans {
  readonly userId: string
  readonly entries: Entry[]
}

interface Entry {
  readonly seq: number
  readonly at: number
  /** Packed as recovery found it, until somebody asks. */
  readonly fact: ScanFact | PackedFact
  readonly among: MemberScans
}

export class RecentScans implements View {
  readonly name = 'recent-scans'
  readonly facts = ['scan.accepted']
  readonly #kept = new Slabs()
  readonly #byUser = new Map<string, MemberScans>()
  /** In record order. */
  #unapplied: Entry[] = []
  #head = 0

  get size(): number {
    return this.#unapplied.length - this.#head
  }

  /** Newest first. */
  of(userId: string): readonly RecentScan[] {
    return (this.#byUser.get(userId)?.entries ?? []).map(recentScan).reverse()
  }

  fold(fact: { readonly type: string }, at: number, seq: number): void {
    if (fact.type !== 'scan.accepted') return
    const scan = fact as ScanFact
    this.#add(scan.userId, scan, at, seq)
  }

  restore(fact: PackedFact, at: number, seq: number): void {
    this.#add(fact.text('userId'), fact.copyInto(this.#kept), at, seq)
  }

  /** Postgres holds everything up to `seq`. */
  applied(seq: number): void {
    for (
      let next = this.#unapplied[this.#head];
      next !== undefined && next.seq <= seq;
      next = this.#unapplied[this.#head]
    ) {
      const { userId, entries } = next.among
      entries.shift()
      if (entries.length === 0) this.#byUser.delete(userId)
      this.#head += 1
    }
    if (this.#head > 1024 && this.#head * 2 > this.#unapplied.length) {
      this.#unapplied = this.#unapplied.slice(this.#head)
      this.#head = 0
    }
  }

  #add(userId: string, fact: ScanFact | PackedFact, at: number, seq: number): void {
    let among = this.#byUser.get(userId)
    if (among === undefined) {
      among = { userId, entries: [] }
      this.#byUser.set(userId, among)
    }
    const entry = { seq, at, fact, among }
    among.entries.push(entry)
    this.#unapplied.push(entry)
  }
}

function recentScan({ at, fact }: Entry): RecentScan {
  const scan = fact instanceof PackedFact ? fact.unpack<ScanFact>() : fact
  const { scanId, ordinal, sku, method, tier, compType, compAmount, milestone } = scan
  const code = { hi: scan.codeHi, lo: scan.codeLo }
  return { scanId, ordinal, at, code, sku, method, tier, compType, compAmount, milestone }
}

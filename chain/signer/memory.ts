/**
 * What a signer remembers of all it ever signed, and what follows from that for the next.
 *
 * S2 A payout keeps its nonce, and a nonce its payout, for ever: what replaces a transaction can never pay beside it.
 * S4 A payout has one wallet, payee and amount for ever.
 */
import { refuse } from './intent.js'
import type { LogEntry } from './log.js'
import type { SpendingLimits } from './policy.js'
import { Spending } from './spending.js'

/** Some 400 bytes each. */
export const PAYOUTS_MAX = 5_000_000

interface Payout {
  readonly wallet: string
  readonly account: string
  readonly to: string
  readonly amount: string
  readonly nonce: number | null
  /** Of all bytes that were signed for it. */
  readonly fingerprints: string[]
  lastAt: number
}

export interface Rules {
  readonly limits: SpendingLimits
  readonly signaturesMax: number
  readonly resignAfterMs: number
}

export class Memory {
  readonly #payouts = new Map<string, Payout>()
  /** By account, then nonce: the payout. */
  readonly #nonces = new Map<string, Map<number, string>>()
  readonly #spending = new Map<string, Spending>()
  #lastAt = 0

  get payouts(): number {
    return this.#payouts.size
  }

  /** The time that counts: that of the clock, unless something later was signed already. */
  timeOf(clockMs: number): number {
    return Math.max(this.#lastAt, clockMs)
  }

  /** Whether these bytes were signed before, for this very payout. */
  knows({ payout, fingerprint }: LogEntry): boolean {
    return this.#payouts.get(payout)?.fingerprints.includes(fingerprint) ?? false
  }

  /** Throws `SignerRefused` when what was signed before forbids this. */
  check(entry: LogEntry, { limits, signaturesMax, resignAfterMs }: Rules): void {
    const request = { payoutId: entry.payout }
    const before = this.#payouts.get(entry.payout)
    if (before !== undefined) this.#checkSame(entry, before)
    this.#checkNonce(entry)
    const amount = BigInt(entry.amount)
    if (before === undefined) {
      if (this.#payouts.size >= PAYOUTS_MAX) {
        throw refuse('log_full', request, `the log knows ${PAYOUTS_MAX} payouts. Go on with a new wallet and folder.`)
      }
      const excess = this.#spendingOf(entry.account).excess(entry.at, entry.to, amount, limits)
      if (excess !== null) throw refuse(excess.code, request, excess.message)
      return
    }
    if (amount > limits.payout) {
      throw refuse(
        'limit_payout',
        request,
        `in one payout it would be ${amount}, and the policy allows ${limits.payout}.`,
      )
    }
    if (this.knows(entry)) return
    if (before.fingerprints.length >= signaturesMax) {
      const often = `${before.fingerprints.length} different transactions were signed for it, as many as the policy allows`
      throw refuse('signed_too_often', request, `${often}. See what became of them, then raise signatures_max.`)
    }
    const waited = entry.at - before.lastAt
    if (waited < resignAfterMs) {
      const early = `another transaction was signed for it ${waited} ms ago, and ${resignAfterMs} ms must pass`
      throw refuse('signed_too_soon', request, `${early}. Sign again when the old one has expired.`)
    }
  }

  /** Of an entry that {@link check} let pass, or that stands in the log. Returns what takes it back. */
  remember(entry: LogEntry): () => void {
    const lastAt = this.#lastAt
    this.#lastAt = Math.max(lastAt, entry.at)
    const before = this.#payouts.get(entry.payout)
    const takeBack = before === undefined ? this.#begin(entry) : signAgain(before, entry)
    return () => {
      this.#lastAt = lastAt
      takeBack()
    }
  }

  #begin(entry: LogEntry): () => void {
    const { at, wallet, account, payout, to, amount, nonce, fingerprint } = entry
    this.#payouts.set(payout, { wallet, account, to, amount, nonce, fingerprints: [fingerprint], lastAt: at })
    const nonces = this.#noncesOf(account)
    if (nonce !== null) nonces.set(nonce, payout)
    const spending = this.#spendingOf(account)
    spending.add(at, to, BigInt(amount))
    return () => {
      this.#payouts.delete(payout)
      if (nonce !== null) nonces.delete(nonce)
      spending.takeBack(to, BigInt(amount))
    }
  }

  // S4
  #checkSame(entry: LogEntry, before: Payout): void {
    const changed = (['wallet', 'account', 'to', 'amount'] as const).find((field) => before[field] !== entry[field])
    const request = { payoutId: entry.payout }
    if (changed !== undefined) {
      const was = `its ${changed} was ${before[changed]} when it was signed first, and is ${entry[changed]} now`
      throw refuse('intent_changed', request, `${was}. Ask under a new payout id if both are to be paid.`)
    }
    // S2
    if (before.nonce !== entry.nonce) {
      const was = `it was signed with nonce ${before.nonce} and would have ${entry.nonce} now, so both could pay`
      throw refuse('nonce_changed', request, `${was}. Replace it at its own nonce.`)
    }
  }

  // S2
  #checkNonce({ account, payout, nonce }: LogEntry): void {
    if (nonce === null) return
    const holder = this.#nonces.get(account)?.get(nonce)
    if (holder === undefined || holder === payout) return
    throw refuse('nonce_taken', { payoutId: payout }, `nonce ${nonce} was signed for payout ${holder}. Take another.`)
  }

  #noncesOf(account: string): Map<number, string> {
    const found = this.#nonces.get(account) ?? new Map<number, string>()
    this.#nonces.set(account, found)
    return found
  }

  #spendingOf(account: string): Spending {
    const found = this.#spending.get(account) ?? new Spending()
    this.#spending.set(account, found)
    return found
  }
}

function signAgain(payout: Payout, { at, fingerprint }: LogEntry): () => void {
  const { lastAt } = payout
  payout.fingerprints.push(fingerprint)
  payout.lastAt = at
  return () => {
    payout.fingerprints.pop()
    payout.lastAt = lastAt
  }
}

/**
 * What a signer remembers of all it ever signed, and what follows from that for the next.
 *
 * S2 A payout keeps its nonce, and a nonce its payout, for ever: what replaces a transaction can never pay beside it.
 *    In a batch all payouts have the nonce, and the batch holds it: whatever else would use it is another transaction.
 * S4 A payout has one wallet, payee and amount for ever, whether it is paid by itself or in a batch.
 */
import { SignerUnavailable } from './errors.js'
import { refuse } from './intent.js'
import type { LogEntry, LogRecord } from './log.js'
import type { SpendingLimits } from './policy.js'
import { Spending } from './spending.js'

/** Some 500 bytes each. */
export const PAYOUTS_MAX = 2_000_000

interface Signature {
  readonly fingerprint: string
  readonly at: number
  /** Calls that would hand it out, and have not failed. One that succeeded, or may have, counts for ever. */
  uses: number
}

interface Payout {
  readonly wallet: string
  readonly account: string
  readonly to: string
  readonly amount: string
  readonly nonce: number | null
  /** Of all bytes that were signed for it, oldest first. */
  readonly signatures: Signature[]
}

export interface Rules {
  readonly limits: SpendingLimits
  readonly signaturesMax: number
  readonly resignAfterMs: number
}

/** Bytes that are to be signed. */
export interface Use {
  /** They are not in the log yet. */
  readonly isNew: boolean
  /** As if it had never been asked for. */
  undo(): void
}

export class Memory {
  readonly #payouts = new Map<string, Payout>()
  /** By account, then nonce: the payout. */
  readonly #nonces = new Map<string, Map<number, string>>()
  readonly #spending = new Map<string, Spending>()
  /** Wallets and accounts are few; each is kept once, however often the log names it. */
  readonly #names = new Map<string, string>()
  #lastAt = 0

  get payouts(): number {
    return this.#payouts.size
  }

  /** The time that counts: that of the clock, unless something later was signed already. */
  timeOf(clockMs: number): number {
    return Math.max(this.#lastAt, clockMs)
  }

  /** Whether something was signed for it. */
  has(payoutId: string): boolean {
    return this.#payouts.has(payoutId)
  }

  /** Throws `SignerRefused` when what was signed before forbids this, `SignerUnavailable` when it only must wait. */
  check(entry: LogEntry, { limits, signaturesMax, resignAfterMs }: Rules): void {
    const request = { payoutId: entry.payout }
    const before = this.#payouts.get(entry.payout)
    if (before !== undefined) checkSame(entry, before)
    this.#checkNonce(entry)
    const amount = BigInt(entry.amount)
    if (before === undefined) {
      if (this.#payouts.size >= PAYOUTS_MAX) {
        throw refuse('log_full', request, `the log knows ${PAYOUTS_MAX} payouts. Go on with a new wallet and folder.`)
      }
      if (!spends(entry)) return
      const excess = this.#spendingOf(entry.account).excess(entry.at, entry.to, amount, limits)
      if (excess !== null) throw refuse(excess.code, request, excess.message)
      return
    }
    if (spends(entry) && amount > limits.payout) {
      throw refuse(
        'limit_payout',
        request,
        `in one payout it would be ${amount}, and the policy allows ${limits.payout}.`,
      )
    }
    if (!isWithin(entry) && find(before, entry.fingerprint) === undefined)
      checkAgain(entry, before.signatures, signaturesMax, resignAfterMs)
  }

  /** Of an entry that {@link check} let pass. It ends with {@link keep} or {@link release}. */
  use(entry: LogEntry): Use {
    const known = this.#payouts.get(entry.payout)
    // Its batch is what is signed, once or anew.
    if (known !== undefined && isWithin(entry)) return { isNew: false, undo: () => {} }
    const signature = known === undefined ? undefined : find(known, entry.fingerprint)
    if (signature === undefined) return { isNew: true, undo: this.#remember(entry, 1) }
    signature.uses += 1
    const undo = () => {
      signature.uses -= 1
    }
    return { isNew: false, undo }
  }

  /** The signature has left. */
  keep({ payout, fingerprint }: LogEntry): void {
    const signature = find(this.#payouts.get(payout), fingerprint)
    if (signature !== undefined) signature.uses = Number.POSITIVE_INFINITY
  }

  /**
   * The key did not sign, or nobody got the signature. Returns whether that is sure of these bytes as a whole; then they
   * no longer count. What they were for stays as it is: payee, nonce and limits.
   */
  release({ payout, fingerprint }: LogEntry): boolean {
    const known = this.#payouts.get(payout)
    const signature = find(known, fingerprint)
    if (known === undefined || signature === undefined) return false
    signature.uses -= 1
    if (signature.uses > 0) return false
    known.signatures.splice(known.signatures.indexOf(signature), 1)
    return true
  }

  /** What stands in the log. */
  restore(record: LogRecord): void {
    if ('failed' in record) {
      const known = this.#payouts.get(record.payout)
      const signature = find(known, record.failed)
      if (known !== undefined && signature !== undefined)
        known.signatures.splice(known.signatures.indexOf(signature), 1)
    } else this.#remember(record, Number.POSITIVE_INFINITY)
  }

  /** Returns what takes it back. */
  #remember(entry: LogEntry, uses: number): () => void {
    const lastAt = this.#lastAt
    this.#lastAt = Math.max(lastAt, entry.at)
    const signature = { fingerprint: entry.fingerprint, at: entry.at, uses }
    const before = this.#payouts.get(entry.payout)
    const takeBack = before === undefined ? this.#begin(entry, signature) : () => before.signatures.pop()
    before?.signatures.push(signature)
    return () => {
      this.#lastAt = lastAt
      takeBack()
    }
  }

  #begin(entry: LogEntry, first: Signature): () => void {
    const { at, wallet, account, payout, to, amount, nonce } = entry
    // There may be millions: an object and a list of just the size they need.
    this.#payouts.set(payout, {
      wallet: this.#sharedName(wallet),
      account: this.#sharedName(account),
      to,
      amount,
      nonce,
      signatures: [first],
    })
    const nonces = this.#noncesOf(account)
    if (nonce !== null && !isWithin(entry)) nonces.set(nonce, payout)
    const spending = this.#spendingOf(account)
    if (spends(entry)) spending.add(at, to, BigInt(amount))
    return () => {
      this.#payouts.delete(payout)
      if (nonce !== null && !isWithin(entry)) nonces.delete(nonce)
      if (spends(entry)) spending.takeBack(to, BigInt(amount))
    }
  }

  // S2
  #checkNonce({ account, payout, nonce, batch = payout }: LogEntry): void {
    if (nonce === null) return
    const holder = this.#nonces.get(account)?.get(nonce)
    if (holder === undefined || holder === batch) return
    throw refuse('nonce_taken', { payoutId: payout }, `nonce ${nonce} was signed for payout ${holder}. Take another.`)
  }

  #sharedName(name: string): string {
    const found = this.#names.get(name)
    if (found !== undefined) return found
    this.#names.set(name, name)
    return name
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

/** It is paid by a batch, which is what is signed. */
const isWithin = ({ batch, payout }: LogEntry) => batch !== undefined && batch !== payout
/** Not so a batch: its payouts do. */
const spends = ({ batch, payout }: LogEntry) => batch !== payout

const find = (payout: Payout | undefined, fingerprint: string) =>
  payout?.signatures.find((signature) => signature.fingerprint === fingerprint)

// S4
function checkSame(entry: LogEntry, before: Payout): void {
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

/** Other bytes for a payout that was signed before. */
function checkAgain(
  { at, payout }: LogEntry,
  signatures: readonly Signature[],
  signaturesMax: number,
  resignAfterMs: number,
): void {
  if (signatures.length >= signaturesMax) {
    const often = `${signatures.length} different transactions were signed for it, as many as the policy allows`
    throw refuse(
      'signed_too_often',
      { payoutId: payout },
      `${often}. See what became of them, then raise signatures_max.`,
    )
  }
  const last = signatures.at(-1)
  if (last === undefined || at - last.at >= resignAfterMs) return
  const early = `another transaction was signed for it ${at - last.at} ms ago, and ${resignAfterMs} ms must pass`
  throw new SignerUnavailable('signer_waits', `Payout ${payout} is not signed yet: ${early}. Ask again then.`)
}

// What became of everything that was owed, and what was done to prevent it.

/** How often of each. */
export type Counts = Map<string, number>

export class Tally {
  lives = 0
  crashes = 0
  requested = 0
  paid = 0
  /** Reverted for good; nobody got anything. */
  failed = 0
  /** Of what was paid or failed in the end: reverted on chain, for good. */
  reverted = 0
  /** Prepared to be paid by one transaction of the batch contract. */
  distributions = 0
  /** For a person to look at; nobody got anything. */
  held = 0
  /** More arrived than was owed. */
  doublePaid = 0
  /** Told paid, and less arrived. */
  lost = 0
  /** What transactions took that somebody else signed with the key. */
  stolen = 0n
  /** Between ledger and chain, beyond that. */
  difference = 0n
  readonly reorgs: Counts = new Map()
  readonly depths: Counts = new Map()
  readonly hazards: Counts = new Map()
  /** Why rounds of the pipeline ended early, the deaths apart. */
  readonly failures: Counts = new Map()
  readonly problems: string[] = []

  get reorganisations(): number {
    return sum(this.reorgs)
  }

  get withConflict(): number {
    return this.reorganisations - sum(this.reorgs, (name) => name.endsWith(NO_CONFLICT))
  }

  struck(hazard: string): void {
    increase(this.hazards, hazard)
  }

  reorganised(chain: string, { depth, conflict }: { readonly depth: number; readonly conflict: string | null }): void {
    increase(this.reorgs, `${chain}: ${conflict ?? NO_CONFLICT}`)
    increase(this.depths, `${depth}`)
  }

  /** A payout of `amount` ended in a state, and its payee, who was owed nothing else, got so much. */
  ended(state: string, got: bigint, amount: bigint): void {
    this.requested += 1
    if (state === 'settled') this.paid += 1
    else if (state === 'failed') this.failed += 1
    else this.held += 1
    const due = state === 'settled' ? amount : 0n
    if (got > due) this.doublePaid += 1
    if (got < due) this.lost += 1
  }

  roundFailed(message: string): void {
    increase(this.failures, message.replaceAll(/0x[0-9a-f]+|\d+|[1-9A-HJ-NP-Za-km-z]{32,}/gi, '…').slice(0, 100))
  }
}

export const NO_CONFLICT = 'nothing in place of ours'

const increase = (counts: Counts, name: string) => counts.set(name, (counts.get(name) ?? 0) + 1)

const sum = (counts: Counts, among: (name: string) => boolean = () => true) =>
  [...counts].reduce((total, [name, count]) => (among(name) ? total + count : total), 0)

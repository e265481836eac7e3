/** What a wallet has signed for lately, against its limits. A payout counts once, when it is signed first. */
import type { RefusalCode } from './errors.js'
import type { SpendingLimits } from './policy.js'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
/** Entries that have left the hour are dropped when there are so many. */
const DEAD_ENTRIES_MAX = 1_024

interface Spent {
  readonly at: number
  readonly amount: bigint
}

export interface Excess {
  readonly code: RefusalCode
  readonly message: string
}

/** Times are milliseconds of the epoch and never go back. */
export class Spending {
  #day = -1
  #daySum = 0n
  readonly #byPayee = new Map<string, bigint>()
  /** Of the last 60 minutes, from `#hourStart` on, oldest first. */
  #hour: Spent[] = []
  #hourStart = 0
  #hourSum = 0n

  /** The first limit that `amount` would pass; null when it may be spent. */
  excess(at: number, payee: string, amount: bigint, limits: SpendingLimits): Excess | null {
    this.#roll(at)
    const told = (code: RefusalCode, what: string, sum: bigint, max: bigint) => ({
      code,
      message: `${what} it would be ${sum}, and the policy allows ${max}.`,
    })
    if (amount > limits.payout) return told('limit_payout', 'In one payout', amount, limits.payout)
    const toPayee = (this.#byPayee.get(payee) ?? 0n) + amount
    if (toPayee > limits.destinationDay) {
      return told('limit_destination_day', `To ${payee} today (UTC)`, toPayee, limits.destinationDay)
    }
    if (this.#hourSum + amount > limits.hour) {
      return told('limit_hour', 'Within 60 minutes', this.#hourSum + amount, limits.hour)
    }
    if (this.#daySum + amount > limits.day) {
      return told('limit_day', 'Today (UTC)', this.#daySum + amount, limits.day)
    }
    return null
  }

  add(at: number, payee: string, amount: bigint): void {
    this.#roll(at)
    this.#daySum += amount
    this.#byPayee.set(payee, (this.#byPayee.get(payee) ?? 0n) + amount)
    this.#hour.push({ at, amount })
    this.#hourSum += amount
  }

  /** Takes back the last {@link add}. */
  takeBack(payee: string, amount: bigint): void {
    this.#daySum -= amount
    this.#byPayee.set(payee, (this.#byPayee.get(payee) ?? 0n) - amount)
    this.#hour.pop()
    this.#hourSum -= amount
  }

  #roll(at: number): void {
    const day = Math.floor(at / DAY_MS)
    if (day !== this.#day) {
      this.#day = day
      this.#daySum = 0n
      this.#byPayee.clear()
    }
    for (;;) {
      const oldest = this.#hour[this.#hourStart]
      if (oldest === undefined || oldest.at > at - HOUR_MS) break
      this.#hourSum -= oldest.amount
      this.#hourStart += 1
    }
    if (this.#hourStart < DEAD_ENTRIES_MAX) return
    this.#hour = this.#hour.slice(this.#hourStart)
    this.#hourStart = 0
  }
}

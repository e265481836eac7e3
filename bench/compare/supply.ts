/** What the contenders scan: the same members and the same codes, each contender at its own pace. */
import { prepareRequest } from '../load/http-request.js'
import type { PackedCodes } from '../scan/stock.js'

/** Any host is served; the same bytes go to all. */
const HOST = 'comptroller.bench'
/** What is left of the velocity limit of 60 an hour is for the scans in flight. */
export const SCANS_PER_MEMBER_MAX = 58

/** For the load generator; null ends the run. */
export type Requests = () => Buffer | null

/** Builds the scan of a code by one member. */
type Scanner = (code: string) => Buffer

/** The scans of members with these tokens, each always at about the same place and on the same device. */
export function scannersOf(tokens: readonly string[]): Scanner[] {
  return tokens.map((token, member) => {
    const request = prepareRequest({ method: 'POST', path: '/v1/scans/submit', host: HOST, token })
    const details =
      `"location":{"lat":${(25 + (member % 2_000) / 100).toFixed(4)},"lng":${(-120 + (member % 4_500) / 100).toFixed(4)}},` +
      `"device_id":"bench-${member}","method":"qr"}`
    return (code) => request(`{"code":"${code}","timestamp":${Date.now()},${details}`)
  })
}

export class SupplyExhaustedError extends Error {
  override readonly name = 'SupplyExhaustedError'
}

/** Where one contender is in the codes: it scans each of them once, unless it decides nothing. */
export class Supply {
  #next = 0
  #lacking: string | null = null

  constructor(
    private readonly codes: Pick<PackedCodes, 'text' | 'length'>,
    readonly isEndless: boolean,
  ) {}

  /**
   * The next requests of some members, who take turns; `active` of them at a time, the others come when these may scan no
   * more. Null, the end of a run, instead of what would be refused; `assertLasted` tells then.
   */
  requests(scanners: readonly Scanner[], active = scanners.length): Requests {
    return this.isEndless ? this.#endless(scanners) : this.#once(scanners, new Roster(scanners.length, active))
  }

  /** Requests made so far. */
  get scanned(): number {
    return this.#next
  }

  /** Throws a {@link SupplyExhaustedError} when a run was cut short. */
  assertLasted(): void {
    if (this.#lacking === null) return
    throw new SupplyExhaustedError(`${this.#lacking}: the machine is faster than it was when the stock was made`)
  }

  #endless(scanners: readonly Scanner[]): Requests {
    return () => {
      const at = this.#next++
      const scanner = scanners[at % scanners.length]
      return scanner === undefined ? null : scanner(this.codes.text(at % this.codes.length))
    }
  }

  #once(scanners: readonly Scanner[], roster: Roster): Requests {
    return () => {
      if (this.#next >= this.codes.length) this.#lacking = 'all codes are scanned'
      const scanner = scanners[roster.next()]
      if (scanner === undefined) this.#lacking = 'all members have scanned as often as they may'
      return scanner === undefined || this.#lacking !== null ? null : scanner(this.codes.text(this.#next++))
    }
  }
}

/** Whose turn it is. Members who begin together would also end together: the first ones have fewer turns. */
export class Roster {
  readonly #members: Uint32Array
  readonly #left: Uint8Array
  #newcomer: number
  #at = 0

  constructor(
    readonly count: number,
    active: number,
  ) {
    const seats = Math.min(active, count)
    this.#members = Uint32Array.from({ length: seats }, (_, seat) => seat)
    this.#left = Uint8Array.from({ length: seats }, (_, seat) =>
      seats === count ? SCANS_PER_MEMBER_MAX : 1 + (seat % SCANS_PER_MEMBER_MAX),
    )
    this.#newcomer = seats
  }

  /** A member's number, or -1 when nobody may scan any more. */
  next(): number {
    const seats = this.#members.length
    for (let tried = 0; tried < seats; tried++) {
      const seat = this.#at
      this.#at = (seat + 1) % seats
      if (this.#left[seat] === 0 && !this.#seatNewcomer(seat)) continue
      this.#left[seat] = (this.#left[seat] ?? 0) - 1
      return this.#members[seat] ?? -1
    }
    return -1
  }

  #seatNewcomer(seat: number): boolean {
    if (this.#newcomer >= this.count) return false
    this.#members[seat] = this.#newcomer++
    this.#left[seat] = SCANS_PER_MEMBER_MAX
    return true
  }
}

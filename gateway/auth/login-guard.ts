/** Blocks addresses that fail to log in too often (BJ-AUTH-16). In memory only: the lock of the account is durable. */
import { LRUCache } from 'lru-cache'
import { DomainError } from '../../engine/errors.js'

export interface LoginGuardLimits {
  readonly failuresMax: number
  readonly windowMs: number
  readonly addressesMax: number
  /** Loopback is everybody behind a proxy of this machine that is not trusted; it is exempt unless this is set. */
  readonly countLoopback: boolean
}

export const defaultLoginGuardLimits: LoginGuardLimits = {
  failuresMax: 100,
  windowMs: 60 * 60 * 1000,
  addressesMax: 100_000,
  countLoopback: false,
}

export class LoginGuard {
  readonly #failures: LRUCache<string, { count: number; since: number }>

  constructor(
    readonly now: () => number,
    readonly limits: LoginGuardLimits = defaultLoginGuardLimits,
  ) {
    this.#failures = new LRUCache({ max: limits.addressesMax })
  }

  /** Throws `address_blocked` while the address has too many failures in its window. */
  check(ip: string): void {
    const failures = this.#failures.get(ip)
    if (failures === undefined || failures.count < this.limits.failuresMax) return
    const retryAfterMs = failures.since + this.limits.windowMs - this.now()
    if (retryAfterMs <= 0) this.#failures.delete(ip)
    else throw new DomainError('too_many', 'address_blocked', 'Too many failed logins from here.', { retryAfterMs })
  }

  noteFailure(ip: string): void {
    if (!this.limits.countLoopback && (ip.startsWith('127.') || ip === '::1')) return
    const failures = this.#failures.get(ip)
    if (failures === undefined || failures.since + this.limits.windowMs <= this.now()) {
      this.#failures.set(ip, { count: 1, since: this.now() })
    } else failures.count += 1
  }
}

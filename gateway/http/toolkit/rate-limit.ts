/**
 * Token buckets: every key may spend `burst` at once and gains `ratePerSecond`.
 *
 * R1 A key never spends more than burst + rate × time.
 * R2 Memory is bounded: the least recently used key is forgotten first, which is the one likeliest to be full again
 *    (a full bucket and a forgotten one are the same).
 */
import { LRUCache } from 'lru-cache'
import { assert } from '../../../engine/assert.js'

export interface RateRule {
  /** Whom the bucket counts: a client address (an IPv6 /64 as one) or a member. */
  readonly per: 'ip' | 'member'
  readonly ratePerSecond: number
  readonly burst: number
}

/** `ip` and `member` are what routes without a limit of their own count against. */
export const defaultRateRules = {
  ip: { per: 'ip', ratePerSecond: 2_000, burst: 2_000 },
  member: { per: 'member', ratePerSecond: 20, burst: 100 },
  login: { per: 'ip', ratePerSecond: 1, burst: 60 },
  signup: { per: 'ip', ratePerSecond: 1, burst: 60 },
} as const satisfies Record<string, RateRule>

export interface RateLimiterOptions {
  /** Added to the defaults, replacing those of the same name. */
  readonly rules?: Readonly<Record<string, RateRule>>
  /** Keys remembered per rule. */
  readonly keysMax?: number
  /** A clock that never goes back, in milliseconds. */
  readonly nowMs?: () => number
}

interface Level {
  /** When the bucket is full again; how far ahead that is tells how much was spent. */
  fullAtMs: number
}

const KEYS_MAX = 100_000
/** A wait this short is the rounding of a sum, not a wait. */
const ROUNDING_MS = 1e-6

/** One named rule and what each key has left. */
export class Bucket {
  private readonly levels: LRUCache<string, Level>
  private readonly msPerToken: number
  private readonly burstMs: number

  constructor(
    readonly name: string,
    readonly rule: RateRule,
    keysMax: number,
    private readonly nowMs: () => number,
  ) {
    assert(rule.ratePerSecond > 0 && rule.burst >= 1, `rate limit ${name} never lets anything through`)
    this.levels = new LRUCache({ max: keysMax }) // R2
    this.msPerToken = 1_000 / rule.ratePerSecond
    this.burstMs = rule.burst * this.msPerToken
  }

  get size(): number {
    return this.levels.size
  }

  /** Spends one token of `key`. Returns 0, or in how many milliseconds there will be one. */
  take(key: string): number {
    const nowMs = this.nowMs()
    let level = this.levels.get(key)
    if (level === undefined) {
      level = { fullAtMs: nowMs }
      this.levels.set(key, level)
    }
    const fullAtMs = Math.max(level.fullAtMs, nowMs) + this.msPerToken
    const tooSoonMs = fullAtMs - nowMs - this.burstMs
    if (tooSoonMs > ROUNDING_MS) return tooSoonMs // R1
    level.fullAtMs = fullAtMs
    return 0
  }
}

/** The buckets of a gateway; HTTP and sockets share them. */
export class RateLimiter {
  readonly buckets: ReadonlyMap<string, Bucket>

  constructor({ rules = {}, keysMax = KEYS_MAX, nowMs = () => performance.now() }: RateLimiterOptions = {}) {
    const all: Record<string, RateRule> = { ...defaultRateRules, ...rules }
    this.buckets = new Map(Object.entries(all).map(([name, rule]) => [name, new Bucket(name, rule, keysMax, nowMs)]))
  }

  bucket(name: string): Bucket {
    const bucket = this.buckets.get(name)
    assert(bucket !== undefined, `no rate limit is named ${name}`)
    return bucket
  }
}

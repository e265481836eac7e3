/** Quarters and tiers as pure functions of time and counts (BJ-TIER-01…05, BJ-T29: UTC, half-open). */
import { type TierName, tierNames } from '../user/facts.js'
import type { LoyaltyRules, TierRule } from './rules.js'

export interface Quarter {
  /** `2026-Q4` */
  readonly key: string
  /** `Q4 2026` */
  readonly label: string
  /** First millisecond of the next quarter. */
  readonly endsAt: number
}

let cached: Quarter & { readonly startsAt: number } = { key: '', label: '', startsAt: 0, endsAt: 0 }

/** The quarter that `at` (milliseconds) falls into. */
export function quarterOf(at: number): Quarter {
  if (at >= cached.startsAt && at < cached.endsAt) return cached
  const date = new Date(at)
  const year = date.getUTCFullYear()
  const quarter = Math.floor(date.getUTCMonth() / 3)
  cached = {
    key: `${year}-Q${quarter + 1}`,
    label: `Q${quarter + 1} ${year}`,
    startsAt: Date.UTC(year, quarter * 3, 1),
    endsAt: Date.UTC(year, quarter * 3 + 3, 1),
  }
  return cached
}

export function rankOf(rules: LoyaltyRules, tier: TierName): number {
  return rules.tiers.findIndex((rule) => rule.name === tier)
}

export function isAtLeast(tier: TierName, minimum: TierName): boolean {
  return tierNames.indexOf(tier) >= tierNames.indexOf(minimum)
}

export function tierRule(rules: LoyaltyRules, tier: TierName): TierRule {
  return rules.tiers[rankOf(rules, tier)] ?? rules.tiers[0]
}

/** What decides a member's tier. */
export interface TierBasis {
  /** The quarter `quarterScans` was counted in. */
  readonly quarter: string
  readonly quarterScans: number
  readonly referralTins: number
  readonly override: TierName | null
}

export interface Standing {
  readonly tier: TierName
  /** Scans counted in the quarter asked about. */
  readonly quarterScans: number
  /** Held by permanence or override, so it outlives the quarter (BJ-T28). */
  readonly locked: boolean
}

/** The effective tier in a quarter: MAX(quarterly, permanent), unless an admin set one (BJ-TIER-05, BJ-TIER-09). */
export function standingIn(rules: LoyaltyRules, basis: TierBasis, quarter: Quarter): Standing {
  const quarterScans = basis.quarter === quarter.key ? basis.quarterScans : 0
  let earned = 0
  let permanent = 0
  rules.tiers.forEach(({ scans, permanentTins }, rank) => {
    if (quarterScans >= scans) earned = rank
    if (permanentTins !== null && basis.referralTins >= permanentTins) permanent = rank
  })
  if (basis.override !== null) return { tier: basis.override, quarterScans, locked: true }
  const rank = Math.max(earned, permanent)
  const tier = (rules.tiers[rank] ?? rules.tiers[0]).name
  return { tier, quarterScans, locked: permanent > 0 && permanent >= earned }
}

/** BJ-SCAN-08. `next_tier` is null at the top. */
export function tierProgress(rules: LoyaltyRules, standing: Standing, quarter: Quarter) {
  const next = rules.tiers.find(
    ({ name, scans }) => scans > standing.quarterScans && rankOf(rules, name) > rankOf(rules, standing.tier),
  )
  return {
    current_tier: standing.tier,
    current_count: standing.quarterScans,
    next_tier: next?.name ?? null,
    next_tier_threshold: next?.scans ?? null,
    quarter_label: quarter.label,
  }
}

/** `BJ-0042-VIP`: the number never changes, the suffix follows the effective tier (BJ-MID-01, BJ-MID-02, BJ-T30). */
export function memberId(rules: LoyaltyRules, number: number, tier: TierName): string {
  return `${rules.memberIdPrefix}-${String(number).padStart(4, '0')}-${tierRule(rules, tier).suffix}`
}

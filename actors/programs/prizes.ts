/** Which prizes an ordinal wins (BJ-COMP-01…06, BJ-T01…T06). Pure. */
import type { TierName } from '../user/facts.js'
import type { LoyaltyRules, MilestoneRule } from './rules.js'
import { isAtLeast } from './tiers.js'

export interface PrizeBasis {
  readonly ordinal: number
  /** Effective tier after this scan was counted (BJ-T05). */
  readonly tier: TierName
  /** Why a comp type cannot be won now, or null (BJ-T06, BJ-T08). */
  readonly barred: (compType: MilestoneRule['compType']) => 'locked' | 'monthly_limit' | null
}

export interface Prizes {
  readonly awarded: readonly MilestoneRule[]
  /** The highest milestone of a kind that was hit but won nothing; it does not roll over. */
  readonly unclaimed: readonly { rule: MilestoneRule; because: 'tier_too_low' | 'locked' | 'monthly_limit' }[]
}

const nothing: Prizes = { awarded: [], unclaimed: [] }

export function prizesFor(rules: LoyaltyRules, basis: PrizeBasis): Prizes {
  const hit = rules.milestones.filter(({ every }) => basis.ordinal % every === 0)
  if (hit.length === 0) return nothing
  const awarded: MilestoneRule[] = []
  const unclaimed: { rule: MilestoneRule; because: 'tier_too_low' | 'locked' | 'monthly_limit' }[] = []
  for (const kind of new Set(hit.map((rule) => rule.kind))) {
    const candidates = hit.filter((rule) => rule.kind === kind)
    const winner = candidates.find((rule) => whyNot(basis, rule) === null)
    if (winner !== undefined) {
      awarded.push(winner)
      continue
    }
    const highest = candidates[0]
    const because = highest && whyNot(basis, highest)
    if (highest && because) unclaimed.push({ rule: highest, because })
  }
  return { awarded, unclaimed }
}

function whyNot(basis: PrizeBasis, rule: MilestoneRule) {
  if (!isAtLeast(basis.tier, rule.minimumTier)) return 'tier_too_low'
  return basis.barred(rule.compType)
}

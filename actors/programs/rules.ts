/** The shape of a loyalty program's rules: data the actors decide by. Each program fills it in its own folder. */
import type { ChatRules } from '../chat/rules.js'
import type { LiveEventRules } from '../live-event/rules.js'
import type { PayoutRules } from '../payout/rules.js'
import type { OversightRules } from '../treasury/oversight.js'
import type { TierName } from '../user/facts.js'

export interface TierRule {
  readonly name: TierName
  /** Scans in the quarter from which the tier is held. */
  readonly scans: number
  /** Lifetime tins of referred members from which the tier is held for good; null when it cannot be. */
  readonly permanentTins: number | null
  /** Last part of the member id. */
  readonly suffix: string
}

export type CompType = 'crypto_100' | 'crypto_1k' | 'crypto_10k' | 'trip' | 'casino' | 'new_member_guarantee'

export interface MilestoneRule {
  readonly compType: CompType
  /** Of all milestones of one kind that an ordinal hits, only the highest the scanner qualifies for is awarded. */
  readonly kind: 'crypto' | 'trip'
  /** Awarded on every such ordinal of the global scan counter. */
  readonly every: number
  /** Micro-USDT; zero when the value is not money. */
  readonly amount: bigint
  readonly minimumTier: TierName
  readonly label: string
}

export interface UnlockRule {
  readonly compType: CompType
  /** Tins a month on average from which the comp type can be won; null when only an admin unlocks it. */
  readonly tinsPerMonth: number
}

export interface Product {
  readonly sku: string
  readonly name: string
  readonly flavor: string
  readonly strength: string
}

export interface LoyaltyRules {
  readonly memberIdPrefix: string
  readonly minimumAgeYears: number
  /** Lowest first. */
  readonly tiers: readonly [TierRule, ...TierRule[]]
  /** Highest first within a kind. */
  readonly milestones: readonly MilestoneRule[]
  readonly unlocks: readonly UnlockRule[]
  readonly velocity: { readonly scansMax: number; readonly windowMs: number }
  /** Faster than this between two scans is flagged. */
  readonly travelSpeedMaxKmPerHour: number
  /** So many unknown codes within the window are flagged. */
  readonly guessing: { readonly attemptsMax: number; readonly windowMs: number }
  readonly login: { readonly failuresMax: number; readonly windowMs: number; readonly lockMs: number }
  readonly reset: { readonly requestsMax: number; readonly windowMs: number; readonly codeTriesMax: number }
  readonly sessionMs: number
  readonly products: ReadonlyMap<string, Product>
  readonly payouts: PayoutRules
  readonly oversight: OversightRules
  readonly chat: ChatRules
  readonly liveEvents: LiveEventRules
}

/** What records tell of a loyalty program, in the words of its oracle, so that the two can be compared. */
import { payoutRequested } from '../../actors/payout/facts.js'
import { compFunded } from '../../actors/treasury/facts.js'
import { chipEarned, compAwarded, milestoneUnclaimed, scanAccepted, tierChanged } from '../../actors/user/facts.js'
import type { ScanReply } from '../../actors/user/scan.js'
import { compUnlocked } from '../../actors/volume/facts.js'
import { DomainError } from '../errors.js'
import type { Fact } from '../fact.js'
import type { Outcome } from '../outcome.js'
import type { TurnRecord } from '../record.js'
import type { Oracle } from './loyalty-oracle.js'

/** Named stories, each a list in the order of the turns. */
export type Stories = Readonly<
  Record<
    | 'ordinals without gap or double'
    | 'comps as the rules say'
    | 'comps funded later, oldest first'
    | 'milestones nobody won'
    | 'chips of referrers'
    | 'payouts asked for'
    | 'comp types unlocked'
    | 'tier changes'
    | 'messages that are due',
    readonly unknown[]
  >
>

export function storiesOfRecords(records: readonly TurnRecord[]): Stories {
  const all = records.flatMap(({ facts }) => facts)
  const facts = <This extends Fact>({ type }: { type: string; make: (fields: never) => This }) =>
    all.filter((fact) => fact.type === type) as This[]
  return {
    'ordinals without gap or double': facts(scanAccepted).map(({ ordinal }) => ordinal),
    'comps as the rules say': facts(compAwarded).map(({ type: _type, compId: _id, scanId: _scan, ...fact }) => fact),
    'comps funded later, oldest first': facts(compFunded).map(({ userId, amount }) => ({ userId, amount })),
    'milestones nobody won': facts(milestoneUnclaimed).map(({ type: _, ...fact }) => fact),
    'chips of referrers': facts(chipEarned).map(({ userId }) => userId),
    'payouts asked for': facts(payoutRequested).map(({ userId, amount }) => ({ userId, amount })),
    'comp types unlocked': facts(compUnlocked).map(({ compType }) => compType),
    'tier changes': facts(tierChanged).map(({ type: _type, number: _number, expiresAt: _at, ...fact }) => fact),
    'messages that are due': [],
  }
}

export function storiesOfOracle(oracle: Oracle): Stories {
  return {
    'ordinals without gap or double': Array.from({ length: oracle.ordinal }, (_, at) => at + 1),
    'comps as the rules say': oracle.won,
    'comps funded later, oldest first': oracle.fundedLater,
    'milestones nobody won': oracle.unclaimed,
    'chips of referrers': oracle.chipsEarned,
    'payouts asked for': oracle.payouts,
    'comp types unlocked': oracle.unlocks,
    'tier changes': oracle.tierChanges,
    'messages that are due': oracle.due,
  }
}

/** The answer to a scan as the oracle gives it. */
export function storyOfScan(outcome: Outcome<ScanReply>): unknown {
  if (!outcome.ok) {
    if (!(outcome.error instanceof DomainError)) throw outcome.error
    const { code, details } = outcome.error
    return details.retryAfterMs === undefined ? code : `${code} ${details.retryAfterMs}`
  }
  const {
    scan,
    usdt_earned: usdt,
    milestone_hit: milestone,
    comp_earned: comp,
    tier_progress: progress,
  } = outcome.reply
  const { current_tier: tier, current_count: count, next_tier: next } = progress
  return { ordinal: scan.ordinal, usdt, milestone, lifetime: comp?.lifetime_comps ?? null, tier, count, next }
}

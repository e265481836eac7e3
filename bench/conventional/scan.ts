/** What both forms of the conventional scan share: what they are given, store and answer. */
import { blakjaksRules as rules } from '../../actors/programs/blakjaks/rules.js'
import { type Prizes, prizesFor } from '../../actors/programs/prizes.js'
import type { MilestoneRule } from '../../actors/programs/rules.js'
import { type Quarter, standingIn, tierProgress } from '../../actors/programs/tiers.js'
import type { ScanRequest } from '../../actors/user/scan.js'
import { DomainError } from '../../engine/errors.js'
import type { ScanResponse } from '../../gateway/http/scans.js'
import { usdOf } from '../../gateway/money.js'

/** A scan that passed every check that needs no Postgres. */
export interface AdmittedScan {
  readonly id: string
  readonly userId: string
  /** As people see it, in upper case. */
  readonly code: string
  readonly quarter: Quarter
  readonly request: ScanRequest
  readonly ip: string
}

export interface StoredScan {
  readonly ordinal: number
  /** Of the member in this quarter, this one included. */
  readonly quarterScans: number
  readonly sku: string
  /** Micro-USDT won ever, when this scan wins. */
  readonly lifetimeComps: bigint
}

/** Stores a scan and what follows from it; rejects with the DomainErrors of a code that cannot be scanned. */
export type StoreScan = (scan: AdmittedScan) => Promise<StoredScan>

/** The columns of a scan in the order both forms insert them. */
export function scanColumns({ request }: AdmittedScan) {
  const { timestamp, location, device_id: deviceId, method } = request
  return {
    clientAt: timestamp === undefined ? null : new Date(timestamp),
    // Postgres reads a point from its text.
    geolocation: location === undefined ? null : `(${location.lat},${location.lng})`,
    deviceId: deviceId ?? null,
    method: method ?? 'qr',
  }
}

export function codeRefusal(status: string | undefined): DomainError {
  if (status === undefined) return new DomainError('not_found', 'code_unknown', 'There is no such code.')
  if (status === 'scanned') {
    return new DomainError('conflict', 'code_already_scanned', 'This code was used before.')
  }
  return new DomainError('conflict', 'code_not_active', 'This code is not active.')
}

/** What the ordinal wins; comp types that volume unlocks are locked, as in a new program of ours. */
export function prizesOf(quarter: Quarter, { ordinal, quarterScans }: Omit<StoredScan, 'lifetimeComps'>): Prizes {
  const { tier } = standingIn(rules, basisOf(quarter, quarterScans), quarter)
  const isLocked = (compType: MilestoneRule['compType']) =>
    rules.unlocks.some((unlock) => unlock.compType === compType && unlock.tinsPerMonth > 0)
  return prizesFor(rules, { ordinal, tier, barred: (compType) => (isLocked(compType) ? 'locked' : null) })
}

export function answerOf({ id, quarter }: AdmittedScan, stored: StoredScan): ScanResponse {
  const { awarded } = prizesOf(quarter, stored)
  const [largest] = awarded
  const standing = standingIn(rules, basisOf(quarter, stored.quarterScans), quarter)
  return {
    success: true,
    product_name: rules.products.get(stored.sku)?.name ?? stored.sku,
    usdt_earned: usdOf(awarded.reduce((sum, { amount }) => sum + amount, 0n)),
    tier_multiplier: 1,
    tier_progress: tierProgress(rules, standing, quarter),
    comp_earned:
      largest === undefined
        ? null
        : {
            amount: usdOf(largest.amount),
            type: largest.kind,
            lifetime_comps: usdOf(stored.lifetimeComps),
            wallet_balance: 0,
            gold_chips: 0,
          },
    milestone_hit: largest?.label ?? null,
    scan: { id, ordinal: stored.ordinal },
  }
}

const basisOf = (quarter: Quarter, quarterScans: number) => ({
  quarter: quarter.key,
  quarterScans,
  referralTins: 0,
  override: null,
})

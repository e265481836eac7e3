import { z } from 'zod'
import { defineFact } from '../../engine/fact.js'

/** Lowest first. */
export const tierNames = ['standard', 'vip', 'high_roller', 'whale'] as const
export const tierName = z.enum(tierNames)
export type TierName = z.output<typeof tierName>

export const device = z.enum(['mobile', 'desktop'])
export type Device = z.output<typeof device>

/**
 * A member's effective tier changed (BJ-TIER-07), or only how it is held: `from` and `to` are then the same.
 * One row of tier history each (BJ-TIER-06).
 */
export const tierChanged = defineFact(
  'tier.changed',
  z.object({
    userId: z.string(),
    number: z.number(),
    from: tierName,
    to: tierName,
    /** `2026-Q4` */
    quarter: z.string(),
    quarterScans: z.number(),
    /** What made it so. */
    because: z.enum(['scan', 'quarter_end', 'referrals', 'admin']),
    /** Held by permanence or override, so it does not end with the quarter. */
    locked: z.boolean(),
    /** Milliseconds; null for a locked tier. */
    expiresAt: z.number().nullable(),
  }),
)

export const userCreated = defineFact(
  'user.created',
  z.object({ userId: z.string(), number: z.number(), referrerId: z.string().nullable(), isAdmin: z.boolean() }),
)

export const userStandingChanged = defineFact(
  'user.standing_changed',
  z.object({ userId: z.string(), standing: z.enum(['active', 'suspended']), by: z.string(), reason: z.string() }),
)

export const administratorChanged = defineFact(
  'user.administrator_changed',
  z.object({ userId: z.string(), isAdmin: z.boolean(), by: z.string() }),
)

export const sessionOpened = defineFact(
  'session.opened',
  z.object({ userId: z.string(), sessionId: z.string(), device }),
)

export const sessionClosed = defineFact(
  'session.closed',
  z.object({
    userId: z.string(),
    sessionId: z.string(),
    device,
    because: z.enum(['logout', 'other_device', 'token_reuse', 'password_changed', 'suspended']),
  }),
)

/** An accepted scan with its global ordinal (BJ-SCAN-04, BJ-SCAN-05). */
export const scanAccepted = defineFact(
  'scan.accepted',
  z.object({
    scanId: z.string(),
    userId: z.string(),
    ordinal: z.number(),
    /** Row of the code in the code book, and the code itself in two 30-bit halves. */
    codeRow: z.number(),
    codeHi: z.number(),
    codeLo: z.number(),
    sku: z.string(),
    method: z.enum(['qr', 'manual']),
    quarter: z.string(),
    quarterScans: z.number(),
    tier: tierName,
    lat: z.number().nullable(),
    lng: z.number().nullable(),
    deviceId: z.string().nullable(),
    deviceFingerprint: z.number(),
    ip: z.string().nullable(),
    /** What the client's clock said; stored only (BJ-T33). */
    clientAt: z.number().nullable(),
    /** Largest comp this scan won, if any. */
    compType: z.string().nullable(),
    compAmount: z.bigint(),
    milestone: z.string().nullable(),
  }),
)

/** A refused attempt, kept for the fraud checks (BJ-T32). */
export const scanRejected = defineFact(
  'scan.rejected',
  z.object({
    userId: z.string(),
    attemptId: z.string(),
    code: z.string(),
    reason: z.string(),
    deviceId: z.string().nullable(),
    ip: z.string().nullable(),
  }),
)

/** A scan or attempt that looks suspicious; it changes nothing for the member (BJ-FRD-02…04). */
export const scanFlagged = defineFact(
  'scan.flagged',
  z.object({
    userId: z.string(),
    /** The scan or attempt. */
    scanId: z.string(),
    rule: z.enum(['impossible_travel', 'several_devices', 'code_guessing']),
    detail: z.string(),
  }),
)

/** A prize (BJ-COMP-01…07). Amounts are micro-USDT. */
export const compAwarded = defineFact(
  'comp.awarded',
  z.object({
    compId: z.string(),
    userId: z.string(),
    compType: z.enum(['crypto_100', 'crypto_1k', 'crypto_10k', 'trip', 'casino', 'new_member_guarantee']),
    amount: z.bigint(),
    scanId: z.string(),
    ordinal: z.number(),
    /** `500th`, `7500th`, … */
    milestone: z.string(),
    /** Whether the treasury holds the money already; otherwise it waits for funds. */
    funded: z.boolean(),
    /** The campaign that pays for it; absent when the pool does. */
    campaign: z.string().optional(),
  }),
)

/** A milestone ordinal whose scanner could not win anything; it does not roll over (BJ-COMP-06). */
export const milestoneUnclaimed = defineFact(
  'milestone.unclaimed',
  z.object({
    ordinal: z.number(),
    userId: z.string(),
    compType: z.string(),
    because: z.enum(['tier_too_low', 'locked', 'monthly_limit']),
  }),
)

/** One affiliate chip for the referrer of the scanner (BJ-SCAN-11). */
export const chipEarned = defineFact(
  'chip.earned',
  z.object({ userId: z.string(), fromUserId: z.string(), scanId: z.string(), chipType: z.literal('referral_scan') }),
)

/** Referred members bought tins (BJ-TIER-04). */
export const referralTinsCredited = defineFact(
  'referral_tins.credited',
  z.object({ userId: z.string(), tins: z.number(), total: z.number() }),
)

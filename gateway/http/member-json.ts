import { z } from 'zod'
import { tierName } from '../../actors/user/facts.js'
import type { MemberView } from '../../actors/user/queries.js'
import { usdOf } from '../money.js'
import type { Services } from '../services.js'

/** BJ-USER-01 and more; the names are those of the source document. */
export const memberSchema = z
  .object({
    id: z.string(),
    member_id: z.string(),
    name: z.string(),
    email: z.string(),
    username: z.string(),
    language: z.string(),
    tier: tierName,
    tier_status: z.enum(['active', 'locked']),
    /** Null before there is one, and while it cannot be read. */
    wallet_address: z.string().nullable(),
    member_since: z.string(),
    email_verified: z.boolean(),
    two_factor_enabled: z.boolean(),
    is_admin: z.boolean(),
    is_active: z.boolean(),
  })
  .meta({ id: 'Member' })

export const tierProgressSchema = z
  .object({
    current_tier: tierName,
    current_count: z.number(),
    next_tier: tierName.nullable(),
    next_tier_threshold: z.number().nullable(),
    quarter_label: z.string(),
  })
  .meta({ id: 'TierProgress' })

export const statsSchema = z
  .object({
    tier_progress: tierProgressSchema,
    quarter: z.string(),
    quarter_ends_at: z.string(),
    quarter_scans: z.number(),
    lifetime_scans: z.number(),
    lifetime_comps: z.number(),
    gold_chips: z.number(),
    referral_tins: z.number(),
  })
  .meta({ id: 'MemberStats' })

export function memberJson(member: MemberView, walletAddress: string | null): z.output<typeof memberSchema> {
  return {
    id: member.id,
    member_id: member.memberId,
    name: member.fullName,
    email: member.email,
    username: member.username,
    language: member.language,
    tier: member.tier,
    tier_status: member.tierStatus,
    wallet_address: walletAddress,
    member_since: new Date(member.memberSince).toISOString().slice(0, 10),
    email_verified: member.emailVerified,
    two_factor_enabled: member.twoFactorEnabled,
    is_admin: member.isAdmin,
    is_active: !member.isSuspended,
  }
}

/** It may have to be read from Postgres, and who somebody is must be told without (P2). */
export function walletAddressOf({ shard, program }: Services, userId: string): Promise<string | null> {
  return shard.query(program.queries.payeeAddress, { userId }).catch(() => null)
}

export function statsJson(member: MemberView): z.output<typeof statsSchema> {
  return {
    tier_progress: member.progress,
    quarter: member.quarter,
    quarter_ends_at: new Date(member.quarterEndsAt).toISOString(),
    quarter_scans: member.progress.current_count,
    lifetime_scans: member.lifetimeScans,
    lifetime_comps: usdOf(member.lifetimeComps),
    gold_chips: member.goldChips,
    referral_tins: member.referralTins,
  }
}

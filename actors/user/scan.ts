/**
 * The scan: claim the code, take the next ordinal, count the member, decide the prizes (BJ-SCAN-01…11).
 * All of it in one turn, so that two scans can never share an ordinal or a code (BJ-T04).
 */
import { z } from 'zod'
import { defineCommand, Refusal } from '../../engine/command.js'
import { DomainError, type ErrorDetails, type ErrorKind } from '../../engine/errors.js'
import type { Turn } from '../../engine/turn.js'
import { type CodeBook, deviceFingerprint } from '../codes/code-book.js'
import { type Code, parseCode } from '../codes/code-text.js'
import type { batchActor } from '../codes/machine.js'
import { scanCounter } from '../counter/machine.js'
import { compPayout, type PayoutCommands } from '../payout/commands.js'
import { prizesFor } from '../programs/prizes.js'
import type { LoyaltyRules, MilestoneRule } from '../programs/rules.js'
import { quarterOf, standingIn, tierProgress } from '../programs/tiers.js'
import { fundPrize } from '../treasury/comp-funding.js'
import type { UnfundedComps } from '../treasury/unfunded-comps.js'
import { barredBy, type VolumeActor } from '../volume/machine.js'
import type { MemberAccess, UserRef } from './access.js'
import { chipEarned, compAwarded, milestoneUnclaimed, scanAccepted, scanFlagged, scanRejected } from './facts.js'
import type { UserActor } from './machine.js'
import { speedBetween } from './travel.js'

/** The last moment a date can name; beyond it a time is not a number. */
const CLIENT_TIME_MAX_MS = 8.64e15

/** What the member sends; the edge adds the address it came from. */
export const scanRequest = z.object({
  // Longer than a code, so that a mistyped one is told what a code looks like.
  code: z.string().max(256),
  /** The client's clock; stored, never believed (BJ-T33). */
  timestamp: z.union([z.iso.datetime({ offset: true }), z.number().int().min(0).max(CLIENT_TIME_MAX_MS)]).optional(),
  location: z.object({ lat: z.number().min(-90).max(90), lng: z.number().min(-180).max(180) }).optional(),
  device_id: z.string().min(1).max(255).optional(),
  method: z.enum(['qr', 'manual']).optional(),
})
export type ScanRequest = z.output<typeof scanRequest>

const scanArgs = scanRequest.extend({ ip: z.string().nullable() })
type ScanArgs = z.output<typeof scanArgs>

/** Everything a scan decides with. */
export interface ScanWorld {
  readonly rules: LoyaltyRules
  readonly user: UserActor
  readonly volume: VolumeActor
  readonly batch: typeof batchActor
  readonly book: CodeBook
  readonly unfunded: UnfundedComps
  readonly access: MemberAccess
  readonly requestPayout: PayoutCommands['requestPayout']
}

/** BJ-SCAN-07…09. Amounts are micro-USDT here and become numbers at the edge. */
export interface ScanReply {
  readonly product_name: string
  readonly usdt_earned: bigint
  readonly tier_progress: ReturnType<typeof tierProgress>
  readonly comp_earned: {
    readonly amount: bigint
    readonly type: string
    readonly lifetime_comps: bigint
    readonly wallet_balance: bigint
    readonly gold_chips: number
  } | null
  readonly milestone_hit: string | null
  readonly scan: { readonly id: string; readonly ordinal: number }
}

export function scanCommands(world: ScanWorld) {
  const { user, access } = world

  /** The referrer of a scanner gets a chip (BJ-SCAN-11). */
  const creditChip = defineCommand({
    name: 'user.credit_chip',
    input: z.object({ userId: z.string(), fromUserId: z.string(), scanId: z.string() }),
    who: 'system',
    actors: ({ userId }) => [user.ref(userId)],
    handle: (turn, { userId, fromUserId, scanId }) => {
      turn.step(user.ref(userId), { type: 'chip.credited' })
      turn.emit(chipEarned.make({ userId, fromUserId, scanId, chipType: 'referral_scan' }))
      return null
    },
  })

  const submitScan = defineCommand({
    name: 'scan.submit',
    input: scanArgs,
    who: 'member',
    actors: (_, who) => access.refsOf(who),
    handle: (turn, args): ScanReply | Refusal => {
      const ref = access.requireMember(turn)
      const code = parseCode(args.code)
      if (code === null) {
        throw new DomainError('invalid', 'code_malformed', 'A code looks like XXXX-XXXX-XXXX.', { field: 'code' })
      }
      const waitMs = velocityWaitMs(world.rules, turn.context(ref).scanTimes, turn.at)
      if (waitMs > 0) {
        return reject(turn, ref, args, 'too_many', 'scan_velocity_exceeded', 'Too many scans in an hour.', {
          retryAfterMs: waitMs,
        })
      }
      const row = world.book.find(code.hi, code.lo)
      return refuseCode(world, turn, ref, args, row) ?? accept(world, turn, ref, args, code, row, creditChip)
    },
  })

  return { submitScan, creditChip }
}

/** How long the member has to wait; zero when another scan is within the limit (BJ-FRD-01, BJ-T32). */
function velocityWaitMs({ velocity }: LoyaltyRules, scanTimes: readonly number[], at: number): number {
  const since = at - velocity.windowMs
  let recent = 0
  for (const time of scanTimes) if (time > since) recent += 1
  if (recent < velocity.scansMax) return 0
  const oldestThatCounts = scanTimes[scanTimes.length - velocity.scansMax] ?? at
  return oldestThatCounts - since
}

/** A refusal that is kept: the fraud checks need to see attempts (BJ-T32). */
function reject(
  turn: Turn,
  ref: UserRef,
  args: ScanArgs,
  kind: ErrorKind,
  code: string,
  message: string,
  details: ErrorDetails = {},
): Refusal {
  turn.emit(
    scanRejected.make({
      userId: ref.key,
      attemptId: turn.input.id,
      code: args.code,
      reason: code,
      deviceId: args.device_id ?? null,
      ip: args.ip,
    }),
  )
  return new Refusal(new DomainError(kind, code, message, details))
}

function flag(
  turn: Turn,
  ref: UserRef,
  rule: 'impossible_travel' | 'several_devices' | 'code_guessing',
  detail: string,
) {
  turn.emit(scanFlagged.make({ userId: ref.key, scanId: turn.input.id, rule, detail }))
}

/** BJ-SCAN-03: the code must exist, be manufactured, and not be used. */
function refuseCode(world: ScanWorld, turn: Turn, ref: UserRef, args: ScanArgs, row: number): Refusal | null {
  if (row < 0) {
    turn.step(ref, { type: 'guess.counted', at: turn.at })
    const { guesses } = turn.context(ref)
    if (guesses === world.rules.guessing.attemptsMax) flag(turn, ref, 'code_guessing', `${guesses} unknown codes`)
    return reject(turn, ref, args, 'not_found', 'code_unknown', 'There is no such code.', { field: 'code' })
  }
  const status = world.book.status(row)
  if (status === 'manufactured') return null
  if (status !== 'scanned') {
    return reject(turn, ref, args, 'conflict', 'code_not_active', 'This code is not active.', { field: 'code' })
  }
  const first = world.book.device(row)
  if (first !== 0 && args.device_id !== undefined && deviceFingerprint(args.device_id) !== first) {
    flag(turn, ref, 'several_devices', 'A used code was tried on another device.')
  }
  return reject(turn, ref, args, 'conflict', 'code_already_scanned', 'This code was used before.', { field: 'code' })
}

function accept(
  world: ScanWorld,
  turn: Turn,
  ref: UserRef,
  args: ScanArgs,
  code: Code,
  row: number,
  creditChip: ReturnType<typeof scanCommands>['creditChip'],
): ScanReply {
  const { rules } = world
  const { at } = turn
  const before = turn.context(ref)
  const quarter = quarterOf(at)
  const scanId = turn.input.id
  const device = args.device_id === undefined ? 0 : deviceFingerprint(args.device_id)
  checkTravel(world, turn, ref, args)

  turn.change(world.book, { op: 'scanned', row, device })
  turn.step(scanCounter, { type: 'advanced' })
  turn.step(ref, { type: 'scan.counted', at, quarter, place: args.location ?? null })

  const ordinal = turn.context(scanCounter).value
  const standing = standingIn(rules, turn.context(ref), quarter)
  const prizes = prizesFor(rules, {
    ordinal,
    tier: standing.tier,
    barred: barredBy(rules, turn.context(world.volume.ref('tins')), at),
  })
  for (const prize of prizes.awarded) award(world, turn, ref, prize, ordinal)
  for (const { rule, because } of prizes.unclaimed) {
    turn.emit(milestoneUnclaimed.make({ ordinal, userId: ref.key, compType: rule.compType, because }))
  }
  if (before.referrerId !== null) turn.tell(creditChip, { userId: before.referrerId, fromUserId: ref.key, scanId })

  const largest = prizes.awarded[0] ?? null
  const { sku } = turn.context(world.batch.ref(String(world.book.batchOf(row))))
  turn.emit(
    scanAccepted.make({
      scanId,
      userId: ref.key,
      ordinal,
      codeRow: row,
      codeHi: code.hi,
      codeLo: code.lo,
      sku,
      method: args.method ?? 'qr',
      quarter: quarter.key,
      quarterScans: standing.quarterScans,
      tier: standing.tier,
      lat: args.location?.lat ?? null,
      lng: args.location?.lng ?? null,
      deviceId: args.device_id ?? null,
      deviceFingerprint: device,
      ip: args.ip,
      clientAt: args.timestamp === undefined ? null : new Date(args.timestamp).getTime(),
      compType: largest?.compType ?? null,
      compAmount: largest?.amount ?? 0n,
      milestone: largest?.label ?? null,
    }),
  )
  const after = turn.context(ref)
  return {
    product_name: rules.products.get(sku)?.name ?? sku,
    usdt_earned: prizes.awarded.reduce((sum, prize) => sum + prize.amount, 0n),
    tier_progress: tierProgress(rules, standing, quarter),
    comp_earned: largest && {
      amount: largest.amount,
      type: largest.kind,
      lifetime_comps: after.lifetimeComps,
      // What the member can spend on chain; it grows when the signer has paid.
      wallet_balance: 0n,
      gold_chips: after.goldChips,
    },
    milestone_hit: largest?.label ?? null,
    scan: { id: scanId, ordinal },
  }
}

/** BJ-FRD-02: flagged, never refused. */
function checkTravel(world: ScanWorld, turn: Turn, ref: UserRef, args: ScanArgs): void {
  const { place } = turn.context(ref)
  if (place === null || args.location === undefined) return
  const { lat, lng } = args.location
  const speed = speedBetween(place, { lat, lng, at: turn.at })
  if (speed > world.rules.travelSpeedMaxKmPerHour) {
    flag(turn, ref, 'impossible_travel', `${Math.round(speed)} km/h since the scan before`)
  }
}

/** Awards one prize; its money is held at once if there is enough, otherwise the comp waits for funds (BJ-COMP-07). */
function award(world: ScanWorld, turn: Turn, ref: UserRef, prize: MilestoneRule, ordinal: number): void {
  const { compType, amount, label } = prize
  const compId = turn.newId()
  const { funded, source } = fundPrize(turn, world.unfunded, { compId, userId: ref.key, compType, amount })
  if (compType === 'trip') turn.step(world.volume.ref('tins'), { type: 'trip.awarded', at: turn.at })
  if (funded && amount > 0n) turn.tell(world.requestPayout, compPayout(compId, ref.key, amount, source))
  turn.step(ref, { type: 'comp.credited', amount })
  turn.emit(
    compAwarded.make({
      compId,
      userId: ref.key,
      compType,
      amount,
      scanId: turn.input.id,
      ordinal,
      milestone: label,
      funded,
      ...(source.campaign !== undefined && { campaign: source.campaign }),
    }),
  )
}

import { z } from 'zod'
import { type Command, defineCommand, defineQuery, type Principal } from '../../engine/command.js'
import { DomainError } from '../../engine/errors.js'
import type { ReadScope } from '../../engine/turn.js'
import type { LoyaltyRules } from '../programs/rules.js'
import type { MemberAccess } from '../user/access.js'
import type { UserActor } from '../user/machine.js'
import { averageTins, isUnlocked, thresholdOf, type VolumeActor } from './machine.js'

const TINS_PER_SALE_MAX = 10_000_000

export const compType = z.enum(['crypto_100', 'crypto_1k', 'casino', 'crypto_10k', 'trip'])

export function volumeCommands(world: {
  rules: LoyaltyRules
  volume: VolumeActor
  user: UserActor
  access: MemberAccess
  creditTins: Command<{ userId: string; tins: number }>
}) {
  const { rules, user, access } = world
  const volume = world.volume.ref('tins')

  /** Tins sold, retail or wholesale (BJ-T07). The reference is the natural key: one sale counts once, for ever. */
  const recordSale = defineCommand({
    name: 'volume.record_sale',
    input: z.object({
      tins: z.number().int().min(1).max(TINS_PER_SALE_MAX),
      reference: z.string().min(1).max(128),
      userId: z.string().nullable(),
    }),
    who: 'admin',
    actors: ({ userId }, who) => [...access.refsOf(who), ...(userId === null ? [] : [user.ref(userId)])],
    naturalKey: ({ reference }) => reference,
    handle: (turn, { tins, reference, userId }) => {
      const by = access.requireAdmin(turn)
      if (userId !== null && !turn.exists(user.ref(userId))) {
        throw new DomainError('not_found', 'user_unknown', 'There is no such member.', { field: 'user_id' })
      }
      turn.step(volume, { type: 'tins.sold', at: turn.at, tins, userId, reference, by })
      const referrerId = userId === null ? null : turn.context(user.ref(userId)).referrerId
      if (referrerId !== null) turn.tell(world.creditTins, { userId: referrerId, tins })
      return { average: averageTins(turn.context(volume), turn.at) }
    },
  })

  const actors = (_: unknown, who: Principal) => access.refsOf(who)

  /** BJ-UNL-06 */
  const unlock = defineCommand({
    name: 'volume.unlock',
    input: z.object({ compType }),
    who: 'admin',
    actors,
    handle: (turn, args) => {
      const by = access.requireAdmin(turn)
      turn.step(volume, { type: 'unlocked', at: turn.at, compType: args.compType, by })
      return null
    },
  })

  /** BJ-UNL-06 */
  const setThreshold = defineCommand({
    name: 'volume.set_threshold',
    input: z.object({ compType, tinsPerMonth: z.number().int().min(0) }),
    who: 'admin',
    actors,
    handle: (turn, args) => {
      const by = access.requireAdmin(turn)
      turn.step(volume, { type: 'threshold.set', at: turn.at, ...args, by })
      return null
    },
  })

  /** What is unlocked, what is not, and how far it is (BJ-UNL-07). */
  const listUnlocks = defineQuery({
    name: 'volume.list_unlocks',
    actors: () => [],
    read: (scope: ReadScope, _: Record<string, never>) => {
      const context = scope.context(volume)
      return rules.unlocks.map((rule) => ({
        compType: rule.compType,
        tinsPerMonth: thresholdOf(rules, context, rule.compType),
        average: averageTins(context, scope.at),
        unlockedAt: context.unlocked[rule.compType] ?? null,
        unlocked: isUnlocked(rules, context, rule.compType),
      }))
    },
  })

  return { recordSale, unlock, setThreshold, listUnlocks }
}

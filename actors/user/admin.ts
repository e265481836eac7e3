/** What an administrator may do to a member, and what a member's purchases do to the referrer. */
import { z } from 'zod'
import { defineCommand, type Principal } from '../../engine/command.js'
import { DomainError } from '../../engine/errors.js'
import type { Turn } from '../../engine/turn.js'
import { quarterOf } from '../programs/tiers.js'
import type { MemberAccess } from './access.js'
import { referralTinsCredited, tierName } from './facts.js'
import type { UserActor } from './machine.js'

export function userAdminCommands(user: UserActor, access: MemberAccess) {
  const adminAnd = ({ userId }: { userId: string }, who: Principal) => [...access.refsOf(who), user.ref(userId)]

  function requireUser(turn: Turn, userId: string) {
    const ref = user.ref(userId)
    if (!turn.exists(ref)) throw new DomainError('not_found', 'user_unknown', 'There is no such member.')
    return ref
  }

  /** Suspends or activates a member; a suspension ends every session. */
  const setStanding = defineCommand({
    name: 'user.set_standing',
    input: z.object({ userId: z.string(), standing: z.enum(['active', 'suspended']), reason: z.string().max(500) }),
    who: 'admin',
    actors: adminAnd,
    handle: (turn, { userId, standing, reason }) => {
      const by = access.requireAdmin(turn)
      if (by === userId) {
        throw new DomainError('conflict', 'administrator_self', 'Another administrator has to do this to you.') // A1
      }
      const ref = requireUser(turn, userId)
      turn.step(ref, { type: standing === 'suspended' ? 'suspended' : 'activated', by, reason })
      return null
    },
  })

  /** Sets a member's tier until it is taken back with null (BJ-TIER-09). */
  const setTier = defineCommand({
    name: 'user.set_tier',
    input: z.object({ userId: z.string(), tier: tierName.nullable() }),
    who: 'admin',
    actors: adminAnd,
    handle: (turn, { userId, tier }) => {
      access.requireAdmin(turn)
      turn.step(requireUser(turn, userId), { type: 'tier.set', tier, quarter: quarterOf(turn.at) })
      return null
    },
  })

  /** Tins bought by a referred member count towards the referrer's permanent tier (BJ-TIER-04, BJ-T23). */
  const creditTins = defineCommand({
    name: 'user.credit_tins',
    input: z.object({ userId: z.string(), tins: z.number() }),
    who: 'system',
    actors: ({ userId }) => [user.ref(userId)],
    handle: (turn, { userId, tins }) => {
      const ref = user.ref(userId)
      turn.step(ref, { type: 'tins.credited', tins, quarter: quarterOf(turn.at) })
      turn.emit(referralTinsCredited.make({ userId, tins, total: turn.context(ref).referralTins }))
      return null
    },
  })

  return { setStanding, setTier, creditTins }
}

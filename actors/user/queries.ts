/** What members and admins read of a member. Amounts are micro-USDT. */
import { defineQuery } from '../../engine/command.js'
import { DomainError } from '../../engine/errors.js'
import type { ReadScope } from '../../engine/turn.js'
import type { AccountActor } from '../account/machine.js'
import type { LoyaltyRules } from '../programs/rules.js'
import { memberId, quarterOf, standingIn, tierProgress } from '../programs/tiers.js'
import type { MemberAccess } from './access.js'
import type { UserActor } from './machine.js'

export type MemberView = ReturnType<ReturnType<typeof memberViewer>>

/** Builds the view of one member; its actors must be named by the caller. */
function memberViewer(rules: LoyaltyRules, user: UserActor, account: AccountActor) {
  return (scope: ReadScope, userId: string) => {
    const member = scope.context(user.ref(userId))
    const profile = scope.context(account.ref(userId))
    const quarter = quarterOf(scope.at)
    const standing = standingIn(rules, member, quarter)
    return {
      id: userId,
      memberId: memberId(rules, member.number, standing.tier),
      email: profile.email,
      username: profile.username,
      fullName: profile.fullName,
      language: profile.language,
      memberSince: profile.memberSince,
      emailVerified: profile.emailVerified,
      twoFactorEnabled: profile.twoFactor?.enabled ?? false,
      isAdmin: member.isAdmin,
      isSuspended: scope.value(user.ref(userId)) === 'suspended',
      tier: standing.tier,
      tierStatus: standing.locked ? ('locked' as const) : ('active' as const),
      quarter: quarter.key,
      quarterEndsAt: quarter.endsAt,
      progress: tierProgress(rules, standing, quarter),
      lifetimeScans: member.lifetimeScans,
      lifetimeComps: member.lifetimeComps,
      goldChips: member.goldChips,
      referralTins: member.referralTins,
    }
  }
}

export function memberQueries(rules: LoyaltyRules, user: UserActor, account: AccountActor, access: MemberAccess) {
  const view = memberViewer(rules, user, account)
  const actors = ({ userId }: { userId: string }) => [user.ref(userId), account.ref(userId)]

  /** The calling member; throws `session_ended`. */
  const me = defineQuery({
    name: 'user.me',
    actors,
    read: (scope, { userId, sessionId }: { userId: string; sessionId: string }) => {
      access.requireSession(scope, { userId, sessionId })
      return view(scope, userId)
    },
  })

  /** Throws `session_ended`; for requests that only need to know that the caller is still logged in. */
  const session = defineQuery({
    name: 'user.session',
    actors: ({ userId }) => [user.ref(userId)],
    read: (scope, { userId, sessionId }: { userId: string; sessionId: string }) => {
      const ref = access.requireSession(scope, { userId, sessionId })
      return { isAdmin: scope.context(ref).isAdmin }
    },
  })

  /** Throws `session_ended`, or `forbidden` when the caller is no administrator. */
  const adminSession = defineQuery({
    name: 'user.admin_session',
    actors: ({ userId }) => [user.ref(userId)],
    read: (scope, { userId, sessionId }: { userId: string; sessionId: string }) => {
      const ref = access.requireSession(scope, { userId, sessionId })
      if (!scope.context(ref).isAdmin) throw new DomainError('forbidden', 'forbidden', 'This needs an administrator.')
      return null
    },
  })

  /** Null when there is no such member. */
  const member = defineQuery({
    name: 'user.member',
    actors,
    read: (scope, { userId }: { userId: string }) => (scope.exists(user.ref(userId)) ? view(scope, userId) : null),
  })

  /** What the edge needs to check a password or a code; null when there is no such account. */
  const credentials = defineQuery({
    name: 'account.credentials',
    actors,
    read: (scope, { userId }: { userId: string }) => {
      const ref = account.ref(userId)
      if (!scope.exists(ref)) return null
      const { email, fullName, passwordHash, twoFactor, lockedUntil } = scope.context(ref)
      const isLocked = scope.value(ref) === 'locked'
      const { isAdmin } = scope.context(user.ref(userId))
      return { userId, email, fullName, passwordHash, twoFactor, lockedUntil: isLocked ? lockedUntil : null, isAdmin }
    },
  })

  return { me, session, adminSession, member, credentials }
}

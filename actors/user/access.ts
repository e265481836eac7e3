/** Who is asking: sessions and roles are checked against the user's actor in the turn itself (BJ-T45). */
import type { ActorRef } from '../../engine/actor.js'
import type { Principal } from '../../engine/command.js'
import { DomainError } from '../../engine/errors.js'
import type { ReadScope, Turn } from '../../engine/turn.js'
import type { Device } from './facts.js'
import type { Session, UserActor, UserContext } from './machine.js'

export type MemberAccess = ReturnType<typeof createAccess>
export type UserRef = ActorRef<UserActor['machine']>

export function createAccess(user: UserActor) {
  /** Throws `unauthorized` unless the session is the live one of its device class. */
  function requireSession(scope: ReadScope, who: Pick<Principal, 'userId' | 'sessionId'>): UserRef {
    const ref = user.ref(who.userId)
    const live = scope.exists(ref) ? liveSession(scope.context(ref), who.sessionId, scope.at) : null
    if (live === null) throw sessionEnded()
    return ref
  }

  return {
    /** The actors a member's or admin's command names for its own checks. */
    refsOf: (who: Principal): UserRef[] =>
      who.role === 'system' || who.role === 'public' ? [] : [user.ref(who.userId)],

    requireSession,

    /** The calling member, not suspended and with a live session. A suspension ended them all, so it is told first. */
    requireMember(turn: Turn): UserRef {
      const ref = user.ref(turn.who.userId)
      if (turn.exists(ref) && turn.value(ref) === 'suspended') {
        throw new DomainError('forbidden', 'account_suspended', 'This account is suspended. Contact support.')
      }
      return requireSession(turn, turn.who)
    },

    /** The id of the calling admin; the system itself (command line, drivers) may do what an admin may. */
    requireAdmin(turn: Turn): string {
      if (turn.who.role === 'system') return 'system'
      const ref = requireSession(turn, turn.who)
      if (!turn.context(ref).isAdmin) throw new DomainError('forbidden', 'forbidden', 'This needs an administrator.')
      return turn.who.userId
    },
  }
}

export function sessionEnded(): DomainError {
  return new DomainError('unauthorized', 'session_ended', 'This session has ended. Log in again.')
}

/** The device class and session, if it is the live one. */
export function liveSession(
  user: UserContext,
  sessionId: string,
  at: number,
): { device: Device; session: Session } | null {
  for (const device of ['mobile', 'desktop'] as const) {
    const session = user.sessions[device]
    if (session !== null && session.id === sessionId && session.expiresAt > at) return { device, session }
  }
  return null
}

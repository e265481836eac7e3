/**
 * Who is an administrator.
 *
 * A1 One always remains who is not suspended: whoever takes it from another, or suspends them, is one in the same turn, and
 *    nobody does it to themselves.
 */
import { z } from 'zod'
import { defineCommand, type Principal } from '../../engine/command.js'
import { DomainError } from '../../engine/errors.js'
import type { SecondFactor } from '../account/second-factor.js'
import type { MemberAccess } from './access.js'
import type { UserActor } from './machine.js'

const input = z.object({
  userId: z.string(),
  /** The time step of the caller's one-time code; null when the code is wrong. */
  codeStep: z.number().int().nullable(),
})

export function administratorCommands(user: UserActor, access: MemberAccess, secondFactor: SecondFactor) {
  const actors = ({ userId }: { userId: string }, who: Principal) => [
    ...[...access.refsOf(who), ...secondFactor.refsOf(who)],
    user.ref(userId),
  ]

  /** Makes a member an administrator; one that is one stays one. Errors: `user_unknown`, `user_suspended`. */
  const makeAdministrator = defineCommand({
    name: 'administrator.make',
    input,
    who: 'admin',
    actors,
    handle: (turn, { userId, codeStep }) => {
      const by = access.requireAdmin(turn)
      secondFactor.spend(turn, codeStep)
      const ref = user.ref(userId)
      if (!turn.exists(ref)) throw new DomainError('not_found', 'user_unknown', 'There is no such member.')
      if (turn.value(ref) === 'suspended') {
        throw new DomainError('conflict', 'user_suspended', 'This member is suspended. Activate them first.')
      }
      turn.step(ref, { type: 'admin.set', isAdmin: true, by })
      return null
    },
  })

  /** Makes an administrator a plain member again. Errors: `administrator_self`, `administrator_unknown`. */
  const removeAdministrator = defineCommand({
    name: 'administrator.remove',
    input,
    who: 'admin',
    actors,
    handle: (turn, { userId, codeStep }) => {
      const by = access.requireAdmin(turn)
      // A1: the system is no administrator.
      if (turn.who.role === 'system') {
        throw new DomainError('forbidden', 'forbidden', 'Only an administrator removes another one.')
      }
      if (by === userId) {
        const message = 'Another administrator has to remove you, so that one always remains.'
        throw new DomainError('conflict', 'administrator_self', message) // A1
      }
      secondFactor.spend(turn, codeStep)
      const ref = user.ref(userId)
      if (!turn.exists(ref) || !turn.context(ref).isAdmin) {
        throw new DomainError('not_found', 'administrator_unknown', 'There is no such administrator.')
      }
      turn.step(ref, { type: 'admin.set', isAdmin: false, by })
      return null
    },
  })

  return { makeAdministrator, removeAdministrator }
}

/** Changing what an account is known by: e-mail, username, password, second factor (BJ-AUTH-09, 20…23, BJ-USER-03). */
import { z } from 'zod'
import { defineCommand, type Principal, Refusal } from '../../engine/command.js'
import { DomainError } from '../../engine/errors.js'
import type { Turn } from '../../engine/turn.js'
import { keyOf, type NameKind } from '../members/directory.js'
import type { MemberAccess } from '../user/access.js'
import { type AccountWorld, username } from './commands.js'
import { type PendingCode, recentResets } from './machine.js'

const codeHash = z.object({ hash: z.string(), expiresAt: z.number() })

export const profileForm = z.object({
  full_name: z.string().trim().min(1).max(255).optional(),
  username: username.optional(),
  email: z.email().max(255).optional(),
})

export function credentialCommands(world: AccountWorld, access: MemberAccess) {
  const { rules, user, account, directory } = world
  const own = (_: unknown, who: Principal) => [user.ref(who.userId), account.ref(who.userId)]

  /** The caller's account, with a live session. */
  function ownAccount(turn: Turn) {
    access.requireMember(turn)
    return account.ref(turn.who.userId)
  }

  function rename(turn: Turn, kind: NameKind, from: string, to: string, number: number): void {
    const [before, after] = [keyOf(from), keyOf(to)]
    if (before.hi === after.hi && before.lo === after.lo) return
    const taken = kind === 'email' ? directory.memberByEmail(to) : directory.memberByUsername(to)
    if (taken !== null)
      throw new DomainError('unprocessable', `${kind}_taken`, `This ${kind} is taken.`, { field: kind })
    turn.change(directory, { op: 'release', kind, ...before })
    turn.change(directory, { op: 'claim', kind, ...after, member: number })
  }

  const changeProfile = defineCommand({
    name: 'account.change_profile',
    input: profileForm.extend({ verification: codeHash }),
    who: 'member',
    actors: own,
    handle: (turn, { full_name, username: name, email, verification }) => {
      const ref = ownAccount(turn)
      const before = turn.context(ref)
      const next = {
        fullName: full_name ?? before.fullName,
        username: name ?? before.username,
        email: email ?? before.email,
      }
      rename(turn, 'username', before.username, next.username, before.number)
      rename(turn, 'email', before.email, next.email, before.number)
      turn.step(ref, { type: 'profile.set', ...next, verification: { ...verification, tries: 0 } })
      return { emailChanged: next.email !== before.email, ...next }
    },
  })

  const requestVerification = defineCommand({
    name: 'account.request_verification',
    input: codeHash,
    who: 'member',
    actors: own,
    handle: (turn, code) => {
      const ref = ownAccount(turn)
      turn.step(ref, { type: 'verification.requested', code: { ...code, tries: 0 } })
      const { email, fullName } = turn.context(ref)
      return { email, fullName }
    },
  })

  const verifyEmail = defineCommand({
    name: 'account.verify_email',
    input: z.object({ hash: z.string() }),
    who: 'member',
    actors: own,
    handle: (turn, { hash }) => {
      const ref = ownAccount(turn)
      if (!matches(turn.context(ref).verification, hash, turn.at, rules.reset.codeTriesMax)) {
        turn.step(ref, { type: 'verification.failed' })
        return new Refusal(codeInvalid())
      }
      turn.step(ref, { type: 'email.verified' })
      return null
    },
  })

  /** At most so many requests an hour; further ones are refused (BJ-AUTH-22). */
  const requestReset = defineCommand({
    name: 'account.request_reset',
    input: codeHash.extend({ userId: z.string() }),
    who: 'public',
    actors: ({ userId }) => [account.ref(userId)],
    handle: (turn, { userId, hash, expiresAt }) => {
      const ref = account.ref(userId)
      const recent = recentResets(rules, turn.context(ref), turn.at)
      if (recent.length >= rules.reset.requestsMax) {
        throw new DomainError('too_many', 'reset_limit', 'Too many reset requests.', {
          retryAfterMs: (recent[0] ?? turn.at) + rules.reset.windowMs - turn.at,
        })
      }
      turn.step(ref, { type: 'reset.requested', code: { hash, expiresAt, tries: 0 }, at: turn.at })
      const { email, fullName } = turn.context(ref)
      return { email, fullName }
    },
  })

  /** Sets a new password; every device has to log in again (BJ-AUTH-23). */
  const confirmReset = defineCommand({
    name: 'account.confirm_reset',
    input: z.object({ userId: z.string(), hash: z.string(), passwordHash: z.string() }),
    who: 'public',
    actors: ({ userId }) => [user.ref(userId), account.ref(userId)],
    handle: (turn, { userId, hash, passwordHash }) => {
      const ref = account.ref(userId)
      if (!matches(turn.context(ref).reset, hash, turn.at, rules.reset.codeTriesMax)) {
        turn.step(ref, { type: 'reset.failed' })
        return new Refusal(codeInvalid())
      }
      return setPassword(turn, userId, passwordHash)
    },
  })

  const changePassword = defineCommand({
    name: 'account.change_password',
    input: z.object({ passwordHash: z.string() }),
    who: 'member',
    actors: own,
    handle: (turn, { passwordHash }) => setPassword(turn, ownAccount(turn).key, passwordHash),
  })

  function setPassword(turn: Turn, userId: string, passwordHash: string) {
    const ref = account.ref(userId)
    turn.step(ref, { type: 'password.set', passwordHash })
    turn.clearAlarm(ref, 'unlock')
    turn.step(user.ref(userId), { type: 'sessions.closed', because: 'password_changed' })
    const { email, fullName } = turn.context(ref)
    return { email, fullName }
  }

  /** Stores a new secret; it counts from the first code that proves the member has it (BJ-AUTH-20, 21). */
  const beginTwoFactor = defineCommand({
    name: 'account.begin_two_factor',
    input: z.object({ sealedSecret: z.string(), backupHashes: z.array(z.string()) }),
    who: 'member',
    actors: own,
    handle: (turn, { sealedSecret, backupHashes }) => {
      const ref = ownAccount(turn)
      if (turn.context(ref).twoFactor?.enabled) {
        throw new DomainError('conflict', 'two_factor_enabled', 'Two-factor login is on. Turn it off first.')
      }
      const twoFactor = { sealedSecret, backupHashes, enabled: false, lastStep: 0 }
      turn.step(ref, { type: 'two_factor.set', twoFactor })
      return { email: turn.context(ref).email }
    },
  })

  const enableTwoFactor = defineCommand({
    name: 'account.enable_two_factor',
    input: z.object({ step: z.number() }),
    who: 'member',
    actors: own,
    handle: (turn, { step }) => {
      const ref = ownAccount(turn)
      const { twoFactor } = turn.context(ref)
      if (twoFactor === null) throw new DomainError('conflict', 'two_factor_not_begun', 'Begin the enrolment first.')
      // Enabled once more, an older code must not bring back those used since.
      const lastStep = Math.max(step, twoFactor.lastStep)
      turn.step(ref, { type: 'two_factor.set', twoFactor: { ...twoFactor, enabled: true, lastStep } })
      return null
    },
  })

  const disableTwoFactor = defineCommand({
    name: 'account.disable_two_factor',
    input: z.object({}),
    who: 'member',
    actors: own,
    handle: (turn) => {
      turn.step(ownAccount(turn), { type: 'two_factor.set', twoFactor: null })
      return null
    },
  })

  return {
    changeProfile,
    requestVerification,
    verifyEmail,
    requestReset,
    confirmReset,
    changePassword,
    beginTwoFactor,
    enableTwoFactor,
    disableTwoFactor,
  }
}

/** Hashes are keyed and of fixed length, so comparing them leaks nothing of the code. */
function matches(code: PendingCode | null, hash: string, at: number, triesMax: number): boolean {
  return code !== null && code.expiresAt > at && code.tries < triesMax && code.hash === hash
}

function codeInvalid(): DomainError {
  return new DomainError('unprocessable', 'code_invalid', 'This code is wrong or has expired. Ask for a new one.', {
    field: 'code',
  })
}

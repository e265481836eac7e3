/** Sign-up, login, sessions (BJ-AUTH-01…23). Secrets are hashed or sealed at the edge before they come here. */
import { z } from 'zod'
import { defineCommand, Refusal } from '../../engine/command.js'
import { DomainError } from '../../engine/errors.js'
import type { ReadScope, Turn } from '../../engine/turn.js'
import {
  type Directory,
  keyOf,
  suggestUsername,
  USERNAME_LENGTH_MAX,
  USERNAME_LENGTH_MIN,
} from '../members/directory.js'
import type { LoyaltyRules } from '../programs/rules.js'
import { quarterOf } from '../programs/tiers.js'
import { liveSession, sessionEnded } from '../user/access.js'
import { device } from '../user/facts.js'
import { createdFact, type UserActor } from '../user/machine.js'
import { accountOpened, address } from './facts.js'
import type { AccountActor } from './machine.js'

export interface AccountWorld {
  readonly rules: LoyaltyRules
  readonly user: UserActor
  readonly account: AccountActor
  readonly directory: Directory
}

export const username = z
  .string()
  .min(USERNAME_LENGTH_MIN)
  .max(USERNAME_LENGTH_MAX)
  .regex(/^[A-Za-z0-9_.-]+$/, 'letters, digits, dot, dash and underscore only')

/** What a new member tells (BJ-AUTH-07); the password is checked and hashed at the edge. */
export const signUpForm = z.object({
  email: z.email().max(255),
  full_name: z.string().trim().min(1).max(255),
  date_of_birth: z.iso.date(),
  username: username.optional(),
  phone: z.string().max(20).optional(),
  address: address.optional(),
  language: z.string().min(2).max(5).default('en'),
  /** Username of the referrer, from the link the member came by (BJ-AUTH-11). */
  ref: z.string().max(50).optional(),
})
export type SignUpForm = z.output<typeof signUpForm>

const codeHash = z.object({ hash: z.string(), expiresAt: z.number() })
const newSession = z.object({ sessionId: z.string(), device })

const openArgs = signUpForm.extend({
  userId: z.string(),
  passwordHash: z.string(),
  verification: codeHash.nullable(),
  session: newSession.nullable(),
  isAdmin: z.boolean(),
})

/** Why this form cannot be accepted; checked before the costly hash and again in the turn. Throws DomainErrors. */
export function checkSignUp({ rules, directory }: AccountWorld, form: SignUpForm, at: number): void {
  if (ageAt(form.date_of_birth, at) < rules.minimumAgeYears) {
    throw unprocessable('under_age', 'date_of_birth', `Members are ${rules.minimumAgeYears} or older.`)
  }
  if (directory.memberByEmail(form.email) !== null) {
    throw unprocessable('email_taken', 'email', 'There is an account with this e-mail address. Log in instead.')
  }
  if (form.username !== undefined && directory.memberByUsername(form.username) !== null) {
    throw unprocessable('username_taken', 'username', 'This username is taken. Choose another.')
  }
}

export function accountCommands(world: AccountWorld) {
  const { rules, user, account, directory } = world
  const refsOf = (userId: string) => [user.ref(userId), account.ref(userId)]

  const open = defineCommand({
    name: 'account.open',
    input: openArgs,
    who: 'public',
    actors: ({ userId }) => [user.newRef(userId), account.newRef(userId)],
    handle: (turn, args) => {
      checkSignUp(world, args, turn.at)
      if (args.isAdmin && turn.who.role !== 'system') throw new DomainError('forbidden', 'forbidden', 'Not allowed.')
      const { userId, email, full_name: fullName, session } = args
      const name = args.username ?? suggestUsername(fullName, directory)
      const number = directory.nextMemberNumber
      turn.change(directory, { op: 'member', number, userId })
      turn.change(directory, { op: 'claim', kind: 'email', ...keyOf(email), member: number })
      turn.change(directory, { op: 'claim', kind: 'username', ...keyOf(name), member: number })
      const profile = {
        userId,
        number,
        email,
        username: name,
        fullName,
        phone: args.phone ?? null,
        dateOfBirth: args.date_of_birth,
        address: args.address ?? null,
        language: args.language,
      }
      const referrer = args.ref === undefined ? null : directory.memberByUsername(args.ref)
      const referrerId = referrer === null ? null : directory.userIdOf(referrer)
      const standing = { userId, number, isAdmin: args.isAdmin, referrerId, quarter: quarterOf(turn.at).key }
      turn.create(user.newRef(userId), standing)
      turn.create(account.newRef(userId), {
        ...profile,
        memberSince: turn.at,
        passwordHash: args.passwordHash,
        verification: args.verification && { ...args.verification, tries: 0 },
      })
      turn.emit(createdFact(standing))
      turn.emit(accountOpened.make({ ...profile, referrerId, isAdmin: args.isAdmin }))
      if (session !== null) openSession(turn, userId, session.sessionId, session.device)
      return { userId, sessionId: session?.sessionId ?? null }
    },
  })

  function openSession(turn: Turn, userId: string, sessionId: string, on: z.output<typeof device>): void {
    const session = { id: sessionId, generation: 1, openedAt: turn.at, expiresAt: turn.at + rules.sessionMs }
    const opened = turn.step(user.ref(userId), { type: 'session.opened', device: on, session })
    if (!opened) throw new DomainError('forbidden', 'account_suspended', 'This account is suspended. Contact support.')
  }

  /** The password (and code) was right; the edge has checked. */
  const logIn = defineCommand({
    name: 'account.log_in',
    input: newSession.extend({
      userId: z.string(),
      ip: z.string().nullable(),
      step: z.number().nullable(),
      usedBackupHash: z.string().nullable(),
    }),
    who: 'public',
    actors: ({ userId }) => refsOf(userId),
    handle: (turn, { userId, sessionId, device: on, ip, step, usedBackupHash }) => {
      refuseWhileLocked(turn, userId)
      const { twoFactor } = turn.context(account.ref(userId))
      const isUsedStep = step !== null && twoFactor !== null && step <= twoFactor.lastStep
      const isUsedBackup = usedBackupHash !== null && !twoFactor?.backupHashes.includes(usedBackupHash)
      if (isUsedStep || isUsedBackup)
        throw new DomainError('unauthorized', 'totp_invalid', 'This code was used before.')
      turn.step(account.ref(userId), { type: 'login.succeeded', ip, step, usedBackupHash, at: turn.at })
      openSession(turn, userId, sessionId, on)
      return { userId }
    },
  })

  const unlockAccount = defineCommand({
    name: 'account.unlock',
    input: z.object({ userId: z.string() }),
    who: 'system',
    actors: ({ userId }) => [account.ref(userId)],
    handle: (turn, { userId }) => {
      turn.step(account.ref(userId), { type: 'unlocked' })
      return null
    },
  })

  const failLogin = defineCommand({
    name: 'account.fail_login',
    input: z.object({ userId: z.string(), ip: z.string().nullable() }),
    who: 'public',
    actors: ({ userId }) => [account.ref(userId)],
    handle: (turn, { userId, ip }) => {
      const ref = account.ref(userId)
      turn.step(ref, { type: 'login.failed', ip, at: turn.at })
      const { lockedUntil } = turn.context(ref)
      if (turn.value(ref) === 'locked') turn.setAlarm(ref, 'unlock', lockedUntil, unlockAccount, { userId })
      return { lockedUntil }
    },
  })

  function refuseWhileLocked(scope: ReadScope, userId: string): void {
    const ref = account.ref(userId)
    if (scope.value(ref) !== 'locked') return
    throw new DomainError(
      'too_many',
      'account_locked',
      'Too many failed logins. Try again later or reset the password.',
      {
        retryAfterMs: Math.max(1_000, scope.context(ref).lockedUntil - scope.at),
      },
    )
  }

  /** Rotates the refresh token. An old generation means it was stolen or replayed: the session ends. */
  const refresh = defineCommand({
    name: 'session.refresh',
    input: z.object({ userId: z.string(), sessionId: z.string(), generation: z.number() }),
    who: 'public',
    actors: ({ userId }) => [user.ref(userId)],
    handle: (turn, { userId, sessionId, generation }) => {
      const ref = user.ref(userId)
      const live = turn.exists(ref) ? liveSession(turn.context(ref), sessionId, turn.at) : null
      if (live === null) throw sessionEnded()
      if (generation !== live.session.generation) {
        turn.step(ref, { type: 'session.closed', device: live.device, because: 'token_reuse' })
        return new Refusal(sessionEnded())
      }
      turn.step(ref, { type: 'session.refreshed', device: live.device, expiresAt: turn.at + rules.sessionMs })
      return { generation: generation + 1, isAdmin: turn.context(ref).isAdmin }
    },
  })

  const logOut = defineCommand({
    name: 'session.close',
    input: z.object({}),
    who: 'member',
    actors: (_, who) => [user.ref(who.userId)],
    handle: (turn) => {
      const ref = user.ref(turn.who.userId)
      const live = turn.exists(ref) ? liveSession(turn.context(ref), turn.who.sessionId, turn.at) : null
      if (live !== null) turn.step(ref, { type: 'session.closed', device: live.device, because: 'logout' })
      return null
    },
  })

  return { open, logIn, failLogin, unlockAccount, refresh, logOut, refuseWhileLocked }
}

function unprocessable(code: string, field: string, message: string): DomainError {
  return new DomainError('unprocessable', code, message, { field })
}

/** Whole years between an ISO date and a time, UTC. */
function ageAt(dateOfBirth: string, at: number): number {
  const now = new Date(at)
  const born = new Date(`${dateOfBirth}T00:00:00Z`)
  const hadBirthday =
    now.getUTCMonth() > born.getUTCMonth() ||
    (now.getUTCMonth() === born.getUTCMonth() && now.getUTCDate() >= born.getUTCDate())
  return now.getUTCFullYear() - born.getUTCFullYear() - (hadBirthday ? 0 : 1)
}

/**
 * A member's credentials and profile. Holds hashes and sealed boxes only: no secret ever enters the core.
 * Locked after too many failed logins until an alarm opens it again (BJ-AUTH-15).
 */
import { setup } from 'xstate'
import { defineActor } from '../../engine/actor.js'
import { type Decision as DecisionOn, deciderFor } from '../../engine/decide.js'
import type { LoyaltyRules } from '../programs/rules.js'
import {
  type Address,
  accountLocked,
  accountUnlocked,
  emailVerified,
  loggedIn,
  loginFailed,
  passwordChanged,
  profileChanged,
  twoFactorChanged,
} from './facts.js'

/** A one-time code as its keyed hash. */
export interface PendingCode {
  readonly hash: string
  readonly expiresAt: number
  readonly tries: number
}

export interface TwoFactor {
  /** The TOTP secret, sealed at the edge (BJ-T55). */
  readonly sealedSecret: string
  readonly enabled: boolean
  /** The time step last used, so that a code works once. */
  readonly lastStep: number
  readonly backupHashes: readonly string[]
}

export interface AccountContext {
  readonly userId: string
  readonly number: number
  readonly email: string
  readonly username: string
  readonly fullName: string
  readonly phone: string | null
  readonly dateOfBirth: string
  readonly address: Address | null
  readonly language: string
  readonly memberSince: number
  readonly emailVerified: boolean
  readonly passwordHash: string
  readonly verification: PendingCode | null
  readonly reset: PendingCode | null
  readonly resetRequests: readonly number[]
  readonly loginFailures: readonly number[]
  readonly lockedUntil: number
  readonly twoFactor: TwoFactor | null
}

export type AccountInput = Omit<
  AccountContext,
  'emailVerified' | 'reset' | 'resetRequests' | 'loginFailures' | 'lockedUntil' | 'twoFactor'
>

export type AccountEvent =
  | { type: 'login.succeeded'; ip: string | null; step: number | null; usedBackupHash: string | null; at: number }
  | { type: 'login.failed'; ip: string | null; at: number }
  | { type: 'unlocked' }
  | { type: 'verification.requested'; code: PendingCode }
  | { type: 'verification.failed' }
  | { type: 'email.verified' }
  | { type: 'reset.requested'; code: PendingCode; at: number }
  | { type: 'reset.failed' }
  | { type: 'password.set'; passwordHash: string }
  | { type: 'profile.set'; email: string; username: string; fullName: string; verification: PendingCode | null }
  | { type: 'two_factor.set'; twoFactor: TwoFactor | null }
type Of<Type extends AccountEvent['type']> = Extract<AccountEvent, { type: Type }>
type Decision = DecisionOn<AccountContext>

const decide = deciderFor<AccountContext, AccountEvent>()

export function createAccountActor(rules: LoyaltyRules) {
  const recentFailures = (context: AccountContext, at: number) =>
    context.loginFailures.filter((time) => time > at - rules.login.windowMs)

  function succeed(context: AccountContext, event: Of<'login.succeeded'>): Decision {
    const { twoFactor } = context
    const used = twoFactor && {
      ...twoFactor,
      lastStep: event.step ?? twoFactor.lastStep,
      backupHashes: twoFactor.backupHashes.filter((hash) => hash !== event.usedBackupHash),
    }
    return {
      context: { loginFailures: [], twoFactor: used },
      facts: [loggedIn.make({ userId: context.userId, ip: event.ip })],
    }
  }

  function fail(context: AccountContext, { ip, at }: Of<'login.failed'>): Decision {
    return {
      context: { loginFailures: [...recentFailures(context, at), at] },
      facts: [loginFailed.make({ userId: context.userId, ip })],
    }
  }

  function lock(context: AccountContext, event: Of<'login.failed'>): Decision {
    const until = event.at + rules.login.lockMs
    const { facts = [] } = fail(context, event)
    return {
      context: { loginFailures: [], lockedUntil: until },
      facts: [...facts, accountLocked.make({ userId: context.userId, until })],
    }
  }

  const machine = setup({
    types: { context: {} as AccountContext, events: {} as AccountEvent, input: {} as AccountInput },
  }).createMachine({
    id: 'account',
    initial: 'open',
    context: ({ input }) => ({
      ...input,
      emailVerified: false,
      reset: null,
      resetRequests: [],
      loginFailures: [],
      lockedUntil: 0,
      twoFactor: null,
    }),
    on: {
      'verification.requested': {
        actions: decide((_, { code }: Of<'verification.requested'>) => ({ context: { verification: code } })),
      },
      'verification.failed': {
        actions: decide(({ verification }) => ({ context: { verification: tried(verification) } })),
      },
      'email.verified': {
        actions: decide(({ userId }) => ({
          context: { emailVerified: true, verification: null },
          facts: [emailVerified.make({ userId })],
        })),
      },
      'reset.requested': {
        actions: decide((context, { code, at }: Of<'reset.requested'>) => ({
          context: { reset: code, resetRequests: [...recentResets(rules, context, at), at] },
        })),
      },
      'reset.failed': { actions: decide(({ reset }) => ({ context: { reset: tried(reset) } })) },
      'password.set': {
        // A new password also opens a locked account: whoever holds the mailbox has proven who they are.
        target: '.open',
        actions: decide(({ userId }, { passwordHash }: Of<'password.set'>) => ({
          context: { passwordHash, reset: null, loginFailures: [], lockedUntil: 0 },
          facts: [passwordChanged.make({ userId })],
        })),
      },
      'profile.set': {
        actions: decide((context, { type: _type, verification, ...names }: Of<'profile.set'>) => {
          const sameEmail = names.email === context.email
          const verified = sameEmail && context.emailVerified
          return {
            context: {
              ...names,
              emailVerified: verified,
              verification: sameEmail ? context.verification : verification,
            },
            facts: [profileChanged.make({ userId: context.userId, ...names, emailVerified: verified })],
          }
        }),
      },
      'two_factor.set': {
        actions: decide(({ userId, twoFactor: before }, { twoFactor }: Of<'two_factor.set'>) => {
          const enabled = twoFactor?.enabled ?? false
          const changed = enabled !== (before?.enabled ?? false)
          return { context: { twoFactor }, facts: changed ? [twoFactorChanged.make({ userId, enabled })] : [] }
        }),
      },
    },
    states: {
      open: {
        on: {
          'login.succeeded': { actions: decide(succeed) },
          'login.failed': [
            {
              guard: ({ context, event }) => recentFailures(context, event.at).length + 1 >= rules.login.failuresMax,
              target: 'locked',
              actions: decide(lock),
            },
            { actions: decide(fail) },
          ],
        },
      },
      locked: {
        on: {
          unlocked: {
            target: 'open',
            actions: decide(({ userId }) => ({
              context: { lockedUntil: 0 },
              facts: [accountUnlocked.make({ userId })],
            })),
          },
        },
      },
    },
  })
  return defineActor({ type: 'account', machine, residency: 'cached' })
}

export type AccountActor = ReturnType<typeof createAccountActor>

export function recentResets(rules: LoyaltyRules, context: AccountContext, at: number): number[] {
  return context.resetRequests.filter((time) => time > at - rules.reset.windowMs)
}

function tried(code: PendingCode | null): PendingCode | null {
  return code && { ...code, tries: code.tries + 1 }
}

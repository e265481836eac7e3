/** Sign-up, login, sessions and passwords (BJ-AUTH-01…23). */
import { createHmac } from 'node:crypto'
import { z } from 'zod'
import { checkSignUp, signUpForm } from '../../actors/account/commands.js'
import { suggestUsername } from '../../actors/members/directory.js'
import { device } from '../../actors/user/facts.js'
import { DomainError } from '../../engine/errors.js'
import { givenPasswordSchema, passwordSchema } from '../auth/passwords.js'
import { matchBackupCode, matchTotpStep } from '../auth/totp.js'
import type { Services } from '../services.js'
import type { Mailing } from './mailing.js'
import { memberJson, memberSchema } from './member-json.js'
import { defineRoute, type Route } from './toolkit/route.js'

const tokenPair = {
  access_token: z.string(),
  refresh_token: z.string(),
  /** Seconds until the access token expires. */
  expires_in: z.number(),
}
const tokens = z.object(tokenPair)
const signedUp = z.object({ user: memberSchema, ...tokenPair })
export const done = z.object({ success: z.literal(true) })
const email = z.email().max(255)
export const success = { success: true } as const

export const sessionEnded = { status: 401, code: 'session_ended', when: 'The session has ended.' }
export const idempotencyConflict = {
  status: 409,
  code: 'idempotency_conflict',
  when: 'The idempotency key, or the reference, was used with another request.',
}
export const passwordWrong = { status: 401, code: 'credentials_invalid', when: 'The password is wrong.' }
const suspended = { status: 403, code: 'account_suspended', when: 'The account is suspended.' }

export function authRoutes(services: Services, mailing: Mailing): Route[] {
  const { shard, program, passwords, codes, now, newId } = services
  const { commands, queries } = program

  async function issue(userId: string, sessionId: string, isAdmin: boolean, generation: number) {
    const principal = { userId, sessionId, role: isAdmin ? ('admin' as const) : ('member' as const) }
    const issued = await services.tokens.issue(principal, generation)
    return {
      access_token: issued.accessToken,
      refresh_token: issued.refreshToken,
      expires_in: Math.round((issued.accessExpiresAtMs - now()) / 1000),
    }
  }

  const signUp = defineRoute({
    method: 'POST',
    path: '/v1/auth/signup',
    who: 'public',
    tag: 'Authentication',
    summary: 'Create an account',
    limit: 'signup',
    body: signUpForm.extend({ password: passwordSchema, device: device.default('mobile') }),
    status: 201,
    response: signedUp,
    errors: [
      { status: 422, code: 'under_age', when: 'The member would be under 21.' },
      { status: 422, code: 'email_taken', when: 'There is an account with this e-mail address.' },
      { status: 422, code: 'username_taken', when: 'The username is taken.' },
      idempotencyConflict,
    ],
    handle: async ({ body, idempotencyKey }) => {
      const { password, device: on, ...form } = body
      // Before the costly hash; a repeat of the same request is recognised in the turn.
      if (idempotencyKey === undefined) checkSignUp(program.accountWorld, form, now())
      const userId = newId()
      const { code, stored } = mailing.newCode('verify', userId)
      const opened = await shard.execute(commands.open, {
        args: {
          ...form,
          userId,
          passwordHash: await passwords.hash(password),
          verification: stored,
          session: { sessionId: newId(), device: on },
          isAdmin: false,
        },
        key: idempotencyKey,
        fingerprint: idempotencyKey && fingerprint(services, body),
      })
      if (opened.userId === userId) mailing.sendCode('verify', userId, form.email, code)
      const member = await shard.query(queries.member, { userId: opened.userId })
      if (member === null || opened.sessionId === null) throw new Error('a member who just signed up is not there')
      // Who just signed up has no wallet yet.
      return { user: memberJson(member, null), ...(await issue(opened.userId, opened.sessionId, false, 1)) }
    },
  })

  const logIn = defineRoute({
    method: 'POST',
    path: '/v1/auth/login',
    who: 'public',
    tag: 'Authentication',
    summary: 'Log in; one mobile and one desktop session live at a time',
    limit: 'login',
    body: z.object({
      email,
      password: givenPasswordSchema,
      device: device.default('mobile'),
      /** A code of the authenticator app, or a backup code. */
      totp: z.string().max(32).optional(),
    }),
    response: tokens,
    errors: [
      { status: 401, code: 'credentials_invalid', when: 'E-mail or password is wrong.' },
      { status: 401, code: 'totp_required', when: 'Two-factor login is on and no code was sent.' },
      { status: 401, code: 'totp_invalid', when: 'The code is wrong or was used before.' },
      { status: 429, code: 'account_locked', when: 'Ten failed logins in an hour.' },
      { status: 429, code: 'address_blocked', when: 'Too many failed logins from this address.' },
      suspended,
    ],
    handle: async ({ body, ip }) => {
      services.loginGuard.check(ip)
      const member = program.directory.memberByEmail(body.email)
      const userId = member === null ? null : program.directory.userIdOf(member)
      const known = userId === null ? null : await shard.query(queries.credentials, { userId })
      if (known === null || known.email.toLowerCase() !== body.email.toLowerCase()) {
        await passwords.verifyAgainstNothing(body.password)
        services.loginGuard.noteFailure(ip)
        throw credentialsInvalid()
      }
      if (known.lockedUntil !== null) throw locked(known.lockedUntil - now())
      const factor = (await passwords.verify(known.passwordHash, body.password)) ? secondFactor(known, body.totp) : null
      if (factor === null || factor === 'wrong') {
        services.loginGuard.noteFailure(ip)
        const { lockedUntil } = await shard.execute(commands.failLogin, { args: { userId: known.userId, ip } })
        if (lockedUntil > now()) {
          const data = { failedLogins: program.rules.login.failuresMax, unlocksAtMs: lockedUntil }
          mailing.send({ to: known.email, template: 'account-locked', data, id: `${known.userId}-${lockedUntil}` })
        }
        throw factor === null ? credentialsInvalid() : totpInvalid()
      }
      const sessionId = newId()
      await shard.execute(commands.logIn, {
        args: { userId: known.userId, sessionId, device: body.device, ip, ...factor },
      })
      return issue(known.userId, sessionId, known.isAdmin, 1)
    },
  })

  type Known = NonNullable<ReturnType<typeof queries.credentials.read>>

  function secondFactor({ userId, twoFactor }: Known, given: string | undefined) {
    if (twoFactor === null || !twoFactor.enabled) return { step: null, usedBackupHash: null }
    if (given === undefined) {
      throw new DomainError('unauthorized', 'totp_required', 'Send the code of your authenticator app as `totp`.', {
        field: 'totp',
      })
    }
    const secret = services.box.open(`totp:${userId}`, twoFactor.sealedSecret)
    const step = matchTotpStep(secret, given, now())
    if (step !== undefined) return { step, usedBackupHash: null }
    const backup = matchBackupCode(codes, userId, given, twoFactor.backupHashes)
    const usedBackupHash = backup === undefined ? undefined : twoFactor.backupHashes[backup]
    return usedBackupHash === undefined ? ('wrong' as const) : { step: null, usedBackupHash }
  }

  const refresh = defineRoute({
    method: 'POST',
    path: '/v1/auth/refresh',
    who: 'public',
    tag: 'Authentication',
    summary: 'Exchange a refresh token for new tokens; each one works once',
    body: z.object({ refresh_token: z.string().max(4096) }),
    response: tokens,
    errors: [
      { status: 401, code: 'unauthorized', when: 'This is no refresh token of ours.' },
      { status: 401, code: 'token_expired', when: 'The refresh token has expired: log in again.' },
      sessionEnded,
      suspended,
    ],
    handle: async ({ body }) => {
      const grant = await services.tokens.verifyRefresh(body.refresh_token)
      const { generation, isAdmin } = await shard.execute(commands.refresh, { args: grant })
      return issue(grant.userId, grant.sessionId, isAdmin, generation)
    },
  })

  const logOut = defineRoute({
    method: 'POST',
    path: '/v1/auth/logout',
    who: 'member',
    tag: 'Authentication',
    summary: 'End this session',
    response: done,
    handle: async ({ principal }) => {
      await shard.execute(commands.logOut, { args: {}, who: principal })
      return success
    },
  })

  const suggestion = defineRoute({
    method: 'GET',
    path: '/v1/auth/username-suggestion',
    who: 'public',
    tag: 'Authentication',
    summary: 'A free username made from a name',
    query: z.object({ full_name: z.string().min(1).max(255) }),
    response: z.object({ username: z.string() }),
    handle: ({ query }) => ({ username: suggestUsername(query.full_name, program.directory) }),
  })

  const jwks = defineRoute({
    method: 'GET',
    path: '/.well-known/jwks.json',
    who: 'public',
    tag: 'Authentication',
    summary: 'Public keys that verify our tokens',
    response: z.looseObject({}),
    handle: () => ({ ...services.publicJwks() }),
  })

  return [signUp, logIn, refresh, logOut, suggestion, jwks]
}

/** Throws `credentials_invalid`. */
export async function checkPassword(services: Services, userId: string, password: string): Promise<void> {
  const known = await services.shard.query(services.program.queries.credentials, { userId })
  if (known === null || !(await services.passwords.verify(known.passwordHash, password))) throw credentialsInvalid()
}

/** Ties an idempotency key to a request. Keyed, because the request may hold a password. */
export function fingerprint(services: Services, body: unknown): string {
  const key = services.box.deriveKey('request-fingerprints')
  return createHmac('sha256', key).update(JSON.stringify(body)).digest('base64url').slice(0, 22)
}

export function credentialsInvalid(): DomainError {
  return new DomainError('unauthorized', 'credentials_invalid', 'E-mail or password is wrong.')
}

function totpInvalid(): DomainError {
  return new DomainError('unauthorized', 'totp_invalid', 'The code is wrong or was used before.', { field: 'totp' })
}

function locked(retryAfterMs: number): DomainError {
  return new DomainError(
    'too_many',
    'account_locked',
    'Too many failed logins. Try again later or reset the password.',
    {
      retryAfterMs: Math.max(1_000, retryAfterMs),
    },
  )
}

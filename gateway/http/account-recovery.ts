/** Reset codes, new passwords, e-mail verification (BJ-AUTH-04, 05, 09, 22, 23). */
import { z } from 'zod'
import { DomainError } from '../../engine/errors.js'
import { givenPasswordSchema, passwordSchema } from '../auth/passwords.js'
import type { Services } from '../services.js'
import { checkPassword, done, passwordWrong, success } from './auth.js'
import type { Mailing } from './mailing.js'
import { defineRoute, type Route } from './toolkit/route.js'

const email = z.email().max(255)
const badCode = { status: 422, code: 'code_invalid', when: 'The code is wrong, expired or was tried too often.' }

export function accountRecoveryRoutes(services: Services, mailing: Mailing): Route[] {
  const { shard, program, passwords } = services
  const { commands } = program

  const requestReset = defineRoute({
    method: 'POST',
    path: '/v1/auth/reset-password',
    who: 'public',
    tag: 'Authentication',
    summary: 'Mail a reset code; the answer does not tell whether the address is known',
    limit: 'login',
    body: z.object({ email }),
    status: 202,
    response: done,
    handle: async ({ body }) => {
      const member = program.directory.memberByEmail(body.email)
      const userId = member === null ? null : program.directory.userIdOf(member)
      if (userId === null) return success
      const { code, stored } = mailing.newCode('reset', userId)
      try {
        const to = await shard.execute(commands.requestReset, { args: { userId, ...stored } })
        mailing.sendCode('reset', userId, to.email, code)
      } catch (error) {
        // More than three requests an hour send nothing; saying so would tell that the address is known.
        if (!(error instanceof DomainError && error.code === 'reset_limit')) throw error
      }
      return success
    },
  })

  const confirmReset = defineRoute({
    method: 'POST',
    path: '/v1/auth/reset-password/confirm',
    who: 'public',
    tag: 'Authentication',
    summary: 'Set a new password with a reset code; every device has to log in again',
    limit: 'login',
    body: z.object({ email, code: z.string().max(32), password: passwordSchema }),
    response: done,
    errors: [badCode],
    handle: async ({ body }) => {
      const member = program.directory.memberByEmail(body.email)
      const userId = member === null ? null : program.directory.userIdOf(member)
      const passwordHash = await passwords.hash(body.password)
      if (userId === null) {
        throw new DomainError(
          'unprocessable',
          'code_invalid',
          'This code is wrong or has expired. Ask for a new one.',
          {
            field: 'code',
          },
        )
      }
      const hash = mailing.hashOf('reset', userId, body.code)
      const changed = await shard.execute(commands.confirmReset, { args: { userId, hash, passwordHash } })
      mailing.sendPasswordChanged(userId, changed.email)
      return success
    },
  })

  const changePassword = defineRoute({
    method: 'POST',
    path: '/v1/auth/change-password',
    who: 'member',
    tag: 'Authentication',
    summary: 'Change the password; every device has to log in again',
    limit: 'login',
    body: z.object({ current_password: givenPasswordSchema, password: passwordSchema }),
    response: done,
    errors: [passwordWrong],
    handle: async ({ body, principal }) => {
      await checkPassword(services, principal.userId, body.current_password)
      const passwordHash = await passwords.hash(body.password)
      const changed = await shard.execute(commands.changePassword, { args: { passwordHash }, who: principal })
      mailing.sendPasswordChanged(principal.userId, changed.email)
      return success
    },
  })

  const requestVerification = defineRoute({
    method: 'POST',
    path: '/v1/auth/verify-email/request',
    who: 'member',
    tag: 'Authentication',
    summary: 'Mail a new verification code',
    limit: 'login',
    status: 202,
    response: done,
    handle: async ({ principal }) => {
      const { code, stored } = mailing.newCode('verify', principal.userId)
      const to = await shard.execute(commands.requestVerification, { args: stored, who: principal })
      mailing.sendCode('verify', principal.userId, to.email, code)
      return success
    },
  })

  const verifyEmail = defineRoute({
    method: 'POST',
    path: '/v1/auth/verify-email',
    who: 'member',
    tag: 'Authentication',
    summary: 'Verify the e-mail address with the mailed code',
    body: z.object({ code: z.string().max(32) }),
    response: done,
    errors: [badCode],
    handle: async ({ body, principal }) => {
      const hash = mailing.hashOf('verify', principal.userId, body.code)
      await shard.execute(commands.verifyEmail, { args: { hash }, who: principal })
      return success
    },
  })

  return [requestReset, confirmReset, changePassword, requestVerification, verifyEmail]
}

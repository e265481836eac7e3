/** The calling member: profile, stats, second factor (BJ-USER-01…03, 05; BJ-AUTH-20, 21). */
import { z } from 'zod'
import { profileForm } from '../../actors/account/credentials.js'
import { DomainError } from '../../engine/errors.js'
import { givenPasswordSchema } from '../auth/passwords.js'
import { enrolTotp, generateBackupCodes, hashBackupCode, matchTotpStep } from '../auth/totp.js'
import type { Services } from '../services.js'
import { checkPassword, done, passwordWrong, success } from './auth.js'
import type { Mailing } from './mailing.js'
import { memberJson, memberSchema, statsJson, statsSchema, walletAddressOf } from './member-json.js'
import type { Principal } from './toolkit/principal.js'
import { defineRoute, type Route } from './toolkit/route.js'

const TOTP_ISSUER = 'BlakJaks'
const profileSchema = z
  .object({
    username: z.string(),
    avatar_url: z.string().nullable(),
    tier_badge: z.string(),
    member_id: z.string(),
    member_since: z.string(),
    stats: statsSchema,
  })
  .meta({ id: 'Profile' })

export function userRoutes(services: Services, mailing: Mailing): Route[] {
  const { shard, program, codes, box, now } = services
  const { commands, queries } = program

  async function myself(who: Principal) {
    const member = await shard.query(queries.me, who)
    return memberJson(member, await walletAddressOf(services, who.userId))
  }

  const me = defineRoute({
    method: 'GET',
    path: '/v1/users/me',
    who: 'member',
    tag: 'Users',
    summary: 'Who I am',
    response: memberSchema,
    handle: ({ principal }) => myself(principal),
  })

  const profile = defineRoute({
    method: 'GET',
    path: '/v1/users/me/profile',
    who: 'member',
    tag: 'Users',
    summary: 'How I am shown to others',
    response: profileSchema,
    handle: async ({ principal }) => {
      const view = await shard.query(queries.me, principal)
      const { username, tier, member_id, member_since } = memberJson(view, null)
      return { username, avatar_url: null, tier_badge: tier, member_id, member_since, stats: statsJson(view) }
    },
  })

  const changeProfile = defineRoute({
    method: 'PUT',
    path: '/v1/users/me/profile',
    who: 'member',
    tag: 'Users',
    summary: 'Change name, username or e-mail; a new e-mail has to be verified',
    body: profileForm,
    response: memberSchema,
    errors: [
      { status: 422, code: 'username_taken', when: 'The username is taken.' },
      { status: 422, code: 'email_taken', when: 'The e-mail address is taken.' },
    ],
    handle: async ({ body, principal }) => {
      const { code, stored } = mailing.newCode('verify', principal.userId)
      const changed = await shard.execute(commands.changeProfile, {
        args: { ...body, verification: stored },
        who: principal,
      })
      if (changed.emailChanged) mailing.sendCode('verify', principal.userId, changed.email, code)
      return myself(principal)
    },
  })

  const stats = defineRoute({
    method: 'GET',
    path: '/v1/users/me/stats',
    who: 'member',
    tag: 'Users',
    summary: 'My tier, my scans, my quarter',
    response: statsSchema,
    handle: async ({ principal }) => statsJson(await shard.query(queries.me, principal)),
  })

  const beginTwoFactor = defineRoute({
    method: 'POST',
    path: '/v1/users/me/2fa',
    who: 'member',
    tag: 'Users',
    summary: 'Begin two-factor login: secret, QR code and backup codes, shown only now',
    body: z.object({ password: givenPasswordSchema }),
    status: 201,
    response: z.object({
      secret: z.string(),
      otpauth_uri: z.string(),
      qr_code: z.string(),
      backup_codes: z.array(z.string()),
    }),
    errors: [passwordWrong, { status: 409, code: 'two_factor_enabled', when: 'It is on already.' }],
    handle: async ({ body, principal }) => {
      const { userId } = principal
      await checkPassword(services, userId, body.password)
      const { email } = await shard.query(queries.me, principal)
      const { secret, uri, qrDataUrl } = await enrolTotp(TOTP_ISSUER, email)
      const backupCodes = generateBackupCodes()
      const sealedSecret = box.seal(`totp:${userId}`, secret)
      const backupHashes = backupCodes.map((code) => hashBackupCode(codes, userId, code))
      await shard.execute(commands.beginTwoFactor, { args: { sealedSecret, backupHashes }, who: principal })
      return { secret, otpauth_uri: uri, qr_code: qrDataUrl, backup_codes: backupCodes }
    },
  })

  const enableTwoFactor = defineRoute({
    method: 'POST',
    path: '/v1/users/me/2fa/enable',
    who: 'member',
    tag: 'Users',
    summary: 'Turn two-factor login on with the first code',
    body: z.object({ totp: z.string().max(32) }),
    response: done,
    errors: [
      { status: 409, code: 'two_factor_not_begun', when: 'Begin the enrolment first.' },
      { status: 409, code: 'two_factor_enabled', when: 'It is on already.' },
      { status: 422, code: 'totp_invalid', when: 'The code is wrong.' },
    ],
    handle: async ({ body, principal }) => {
      const known = await shard.query(queries.credentials, { userId: principal.userId })
      if (!known?.twoFactor) throw new DomainError('conflict', 'two_factor_not_begun', 'Begin the enrolment first.')
      const secret = box.open(`totp:${principal.userId}`, known.twoFactor.sealedSecret)
      const step = matchTotpStep(secret, body.totp, now())
      if (step === undefined) {
        throw new DomainError('unprocessable', 'totp_invalid', 'The code is wrong.', { field: 'totp' })
      }
      await shard.execute(commands.enableTwoFactor, { args: { step }, who: principal })
      return success
    },
  })

  const disableTwoFactor = defineRoute({
    method: 'POST',
    path: '/v1/users/me/2fa/disable',
    who: 'member',
    tag: 'Users',
    summary: 'Turn two-factor login off',
    body: z.object({ password: givenPasswordSchema }),
    response: done,
    errors: [passwordWrong],
    handle: async ({ body, principal }) => {
      await checkPassword(services, principal.userId, body.password)
      await shard.execute(commands.disableTwoFactor, { args: {}, who: principal })
      return success
    },
  })

  return [me, profile, changeProfile, stats, beginTwoFactor, enableTwoFactor, disableTwoFactor]
}

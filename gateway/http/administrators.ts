/** Who is an administrator: at least two are needed to let transfers by hand go (BJ-TRS-03). */
import { z } from 'zod'
import { DomainError } from '../../engine/errors.js'
import type { Services } from '../services.js'
import { done, success } from './auth.js'
import { freshCodeErrors, freshCodeStep, totp } from './fresh-code.js'
import { defineRoute, type Route } from './toolkit/route.js'

const userId = z.uuid()
const administratorSchema = z
  .object({
    user_id: z.string(),
    email: z.string(),
    username: z.string(),
    full_name: z.string(),
    /** Without it an administrator can approve transfers, and neither send any nor change this list. */
    two_factor_enabled: z.boolean(),
    is_suspended: z.boolean(),
  })
  .meta({ id: 'Administrator' })

export function administratorRoutes(services: Services): Route[] {
  const { shard, program, reads } = services
  const { commands, queries } = program

  const list = defineRoute({
    method: 'GET',
    path: '/v1/admin/administrators',
    who: 'admin',
    tag: 'Administration',
    summary: 'The administrators; it may lag behind by some milliseconds',
    response: z.object({ administrators: z.array(administratorSchema) }),
    handle: async ({ principal }) => {
      await shard.query(queries.adminSession, principal)
      const rows = await reads.administrators()
      return {
        administrators: rows.map((row) => ({
          user_id: row.userId,
          email: row.email,
          username: row.username,
          full_name: row.fullName,
          two_factor_enabled: row.twoFactorEnabled,
          is_suspended: row.isSuspended,
        })),
      }
    },
  })

  const make = defineRoute({
    method: 'POST',
    path: '/v1/admin/administrators',
    who: 'admin',
    tag: 'Administration',
    summary: 'Make a member an administrator, from their next login, or token refresh, on',
    limit: 'login',
    body: z
      .object({ user_id: userId.optional(), email: z.email().max(255).optional(), totp })
      .refine(({ user_id, email }) => (user_id === undefined) !== (email === undefined), {
        message: 'Send either `user_id` or `email`.',
        path: ['user_id'],
      }),
    response: z.object({ user_id: z.string() }),
    errors: [
      ...freshCodeErrors,
      { status: 404, code: 'user_unknown', when: 'There is no such member.' },
      { status: 409, code: 'user_suspended', when: 'The member is suspended.' },
    ],
    handle: async ({ body, principal: who, ip, idempotencyKey }) => {
      await shard.query(queries.adminSession, who)
      const userId = body.user_id ?? (await memberBy(body.email ?? ''))
      const codeStep = await freshCodeStep(services, { userId: who.userId, code: body.totp, ip })
      const key = idempotencyKey === undefined ? {} : { key: idempotencyKey, fingerprint: userId }
      await shard.execute(commands.makeAdministrator, { args: { userId, codeStep }, who, ...key })
      return { user_id: userId }
    },
  })

  /** The directory knows a name by its hash: the account itself is asked. Throws `user_unknown`. */
  async function memberBy(email: string): Promise<string> {
    const number = program.directory.memberByEmail(email)
    const id = number === null ? null : program.directory.userIdOf(number)
    const known = id === null ? null : await shard.query(queries.credentials, { userId: id })
    if (known?.email.toLowerCase() === email.toLowerCase()) return known.userId
    throw new DomainError('not_found', 'user_unknown', 'There is no such member.', { field: 'email' })
  }

  const remove = defineRoute({
    method: 'DELETE',
    path: '/v1/admin/administrators/:user_id',
    who: 'admin',
    tag: 'Administration',
    summary: 'Make an administrator a plain member again, at once',
    limit: 'login',
    params: z.object({ user_id: userId }),
    body: z.object({ totp }),
    response: done,
    errors: [
      ...freshCodeErrors,
      { status: 404, code: 'administrator_unknown', when: 'There is no such administrator.' },
      { status: 409, code: 'administrator_self', when: 'Nobody removes themselves: one always remains.' },
    ],
    handle: async ({ params, body, principal: who, ip }) => {
      await shard.query(queries.adminSession, who)
      const codeStep = await freshCodeStep(services, { userId: who.userId, code: body.totp, ip })
      await shard.execute(commands.removeAdministrator, { args: { userId: params.user_id, codeStep }, who })
      return success
    },
  })

  return [list, make, remove]
}

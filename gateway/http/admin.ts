/** Members, unlocks, volume and funds for administrators (BJ-TIER-09, BJ-UNL-06, BJ-COMP-07; additions to the source). */
import { z } from 'zod'
import { pool } from '../../actors/treasury/facts.js'
import { tierName } from '../../actors/user/facts.js'
import { compType } from '../../actors/volume/commands.js'
import { DomainError } from '../../engine/errors.js'
import { amountText, microOf } from '../money.js'
import type { Services } from '../services.js'
import { done, idempotencyConflict, success } from './auth.js'
import { memberJson, memberSchema, statsJson, statsSchema, walletAddressOf } from './member-json.js'
import { defineRoute, type Route } from './toolkit/route.js'

const userId = z.uuid()
const userUnknown = { status: 404, code: 'user_unknown', when: 'There is no such member.' }
const adminMember = z.object({ user: memberSchema, stats: statsSchema })
const unlockSchema = z
  .object({
    type: compType,
    unlocked: z.boolean(),
    unlocked_at: z.string().nullable(),
    tins_per_month: z.number(),
    average: z.number(),
    /** As it is shown: `12,847 / 50,000 tins/month average`. */
    progress: z.string(),
  })
  .meta({ id: 'Unlock' })

const flagSchema = z
  .object({
    user_id: z.string(),
    scan_id: z.string(),
    rule: z.string(),
    detail: z.string(),
    flagged_at: z.string(),
  })
  .meta({ id: 'ScanFlag' })

export function adminRoutes(services: Services): Route[] {
  const { shard, program } = services
  const { commands, queries } = program

  async function member(id: string) {
    const view = await shard.query(queries.member, { userId: id })
    if (view === null) throw new DomainError('not_found', 'user_unknown', 'There is no such member.')
    return { user: memberJson(view, await walletAddressOf(services, id)), stats: statsJson(view) }
  }

  const getUser = defineRoute({
    method: 'GET',
    path: '/v1/admin/users/:id',
    who: 'admin',
    tag: 'Administration',
    summary: 'One member',
    params: z.object({ id: userId }),
    response: adminMember,
    errors: [userUnknown],
    handle: async ({ params, principal }) => {
      await shard.query(queries.adminSession, principal)
      return member(params.id)
    },
  })

  const putUser = defineRoute({
    method: 'PUT',
    path: '/v1/admin/users/:id',
    who: 'admin',
    tag: 'Administration',
    summary: 'Set or release the tier of a member, suspend or activate',
    params: z.object({ id: userId }),
    body: z.object({
      tier: tierName.nullable().optional(),
      standing: z.enum(['active', 'suspended']).optional(),
      reason: z.string().max(500).default(''),
    }),
    response: adminMember,
    errors: [
      userUnknown,
      { status: 409, code: 'administrator_self', when: 'Nobody suspends or activates themselves.' },
    ],
    handle: async ({ params, body, principal: who }) => {
      const { tier, standing, reason } = body
      if (tier !== undefined) await shard.execute(commands.setTier, { args: { userId: params.id, tier }, who })
      if (standing !== undefined) {
        await shard.execute(commands.setStanding, { args: { userId: params.id, standing, reason }, who })
      }
      return member(params.id)
    },
  })

  const listUnlocks = defineRoute({
    method: 'GET',
    path: '/v1/comps/unlocks',
    who: 'public',
    tag: 'Comps',
    summary: 'Which comps can be won now, and how far the others are',
    response: z.object({ unlocks: z.array(unlockSchema) }),
    handle: async () => ({ unlocks: await unlocks() }),
  })

  async function unlocks(): Promise<z.output<typeof unlockSchema>[]> {
    const rows = await shard.query(queries.listUnlocks, {})
    return rows.map((row) => ({
      type: compType.parse(row.compType),
      unlocked: row.unlocked,
      unlocked_at: row.unlockedAt === null ? null : new Date(row.unlockedAt).toISOString(),
      tins_per_month: row.tinsPerMonth,
      average: Math.floor(row.average),
      progress: `${thousands(Math.floor(row.average))} / ${thousands(row.tinsPerMonth)} tins/month average`,
    }))
  }

  const putUnlock = defineRoute({
    method: 'PUT',
    path: '/v1/admin/comps/unlocks/:type',
    who: 'admin',
    tag: 'Comps',
    summary: 'Unlock a comp type by hand, or change its threshold',
    params: z.object({ type: compType }),
    body: z.object({
      unlocked: z.literal(true).optional(),
      tins_per_month: z.number().int().min(0).max(1_000_000_000).optional(),
    }),
    response: z.object({ unlocks: z.array(unlockSchema) }),
    handle: async ({ params, body, principal: who }) => {
      const { tins_per_month: tinsPerMonth, unlocked } = body
      if (tinsPerMonth !== undefined) {
        await shard.execute(commands.setThreshold, { args: { compType: params.type, tinsPerMonth }, who })
      }
      if (unlocked) await shard.execute(commands.unlock, { args: { compType: params.type }, who })
      return { unlocks: await unlocks() }
    },
  })

  const recordSale = defineRoute({
    method: 'POST',
    path: '/v1/admin/volume',
    who: 'admin',
    tag: 'Comps',
    summary: 'Record tins sold; the same reference counts once, for ever',
    body: z.object({
      tins: z.number().int().min(1).max(10_000_000),
      reference: z.string().min(1).max(128),
      user_id: userId.optional(),
    }),
    response: z.object({ average: z.number() }),
    errors: [userUnknown, idempotencyConflict],
    handle: ({ body, principal }) =>
      shard.execute(commands.recordSale, {
        args: { tins: body.tins, reference: body.reference, userId: body.user_id ?? null },
        who: principal,
        fingerprint: `${body.tins}:${body.user_id ?? ''}`,
      }),
  })

  const fund = defineRoute({
    method: 'POST',
    path: '/v1/admin/treasury/fund',
    who: 'admin',
    tag: 'Treasury',
    summary: 'Record money paid into a pool; the same reference counts once, for ever',
    body: z.object({ pool, amount: amountText, reference: z.string().min(1).max(128) }),
    response: done,
    errors: [
      { status: 422, code: 'amount_too_large', when: 'The pool would hold more than it can count.' },
      idempotencyConflict,
    ],
    handle: async ({ body, principal }) => {
      await shard.execute(commands.fund, {
        args: { pool: body.pool, amount: microOf(body.amount), reference: body.reference },
        who: principal,
        fingerprint: `${body.pool}:${body.amount}`,
      })
      return success
    },
  })

  const listFlags = defineRoute({
    method: 'GET',
    path: '/v1/admin/scans/flags',
    who: 'admin',
    tag: 'Scanning',
    summary: 'Scans and attempts that looked suspicious, newest first',
    query: z.object({
      user_id: userId.optional(),
      limit: z.coerce.number().int().min(1).max(100).default(20),
      cursor: z.coerce.number().int().positive().optional(),
    }),
    response: z.object({ flags: z.array(flagSchema), next_cursor: z.string().nullable() }),
    handle: async ({ query: { user_id, limit, cursor }, principal }) => {
      await shard.query(queries.adminSession, principal)
      const flags = await services.reads.scanFlags({
        limit,
        ...(user_id === undefined ? {} : { userId: user_id }),
        ...(cursor === undefined ? {} : { beforeSeq: cursor }),
      })
      const last = flags.at(-1)
      return {
        flags: flags.map(({ userId: user, scanId, rule, detail, at }) => ({
          user_id: user,
          scan_id: scanId,
          rule,
          detail,
          flagged_at: new Date(at).toISOString(),
        })),
        next_cursor: flags.length === limit && last !== undefined ? String(last.seq) : null,
      }
    },
  })

  return [listFlags, getUser, putUser, listUnlocks, putUnlock, recordSale, fund]
}

function thousands(count: number): string {
  return count.toLocaleString('en-US')
}

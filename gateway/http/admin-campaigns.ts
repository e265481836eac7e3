/** Campaigns for administrators: money of a pool set aside for prizes. Amounts are USDT. */
import { z } from 'zod'
import { type CampaignState, campaignId, campaignPhases } from '../../actors/campaign/commands.js'
import { campaignCompType } from '../../actors/campaign/machine.js'
import { pool } from '../../actors/treasury/facts.js'
import { DomainError } from '../../engine/errors.js'
import { amountText, microOf, usdOf } from '../money.js'
import type { Services } from '../services.js'
import { fingerprint, idempotencyConflict } from './auth.js'
import { isoOf, isoOrNull } from './payout-json.js'
import { defineRoute, type Route } from './toolkit/route.js'

const time = z.iso.datetime({ offset: true })
const campaignSchema = z
  .object({
    id: z.string(),
    pool,
    comp_types: z.array(campaignCompType),
    state: z.enum(campaignPhases),
    /** All that was ever moved into it: what is held, paid, left, and went back to the pool. */
    budget: z.number(),
    held: z.number(),
    paid: z.number(),
    left: z.number(),
    returned: z.number(),
    /** Won while it was exhausted; a higher budget funds them. */
    waiting: z.object({ count: z.number(), amount: z.number() }),
    starts_at: z.string(),
    /** Null when it runs until it is closed. */
    ends_at: z.string().nullable(),
    opened_at: z.string(),
    closed_at: z.string().nullable(),
  })
  .meta({ id: 'Campaign' })

const id = campaignId
const unknownCampaign = { status: 404, code: 'campaign_unknown', when: 'There is no such campaign.' }
const fundsMissing = { status: 422, code: 'insufficient_funds', when: 'The pool does not hold so much.' }
const amountInvalid = { status: 422, code: 'amount_invalid', when: 'The amount is zero.' }

export function adminCampaignRoutes(services: Services): Route[] {
  const { shard, program } = services
  const { commands, queries } = program

  const open = defineRoute({
    method: 'POST',
    path: '/v1/admin/campaigns',
    who: 'admin',
    tag: 'Treasury',
    summary: 'Set money of a pool aside for prizes of these types while the campaign runs',
    body: z.object({
      id,
      pool: pool.default('member'),
      comp_types: z.array(campaignCompType).min(1).max(campaignCompType.options.length),
      budget: amountText,
      /** Now, if it is left out. */
      starts_at: time.optional(),
      /** It then closes by itself; if it is left out, it runs until it is closed. */
      ends_at: time.optional(),
    }),
    status: 201,
    response: campaignSchema,
    errors: [
      amountInvalid,
      fundsMissing,
      { status: 409, code: 'campaign_exists', when: 'There is a campaign of this id, or there was one.' },
      { status: 409, code: 'campaign_overlaps', when: 'Another pays for one of these types in that time.' },
      { status: 409, code: 'too_many_campaigns', when: 'There are as many campaigns as can be kept.' },
      { status: 422, code: 'campaign_over', when: 'It would end before it begins.' },
      idempotencyConflict,
    ],
    handle: async ({ body, principal: who, idempotencyKey }) => {
      const { comp_types: compTypes, starts_at: startsAt, ends_at: endsAt } = body
      const args = {
        ...{ id: body.id, pool: body.pool, compTypes, budget: amountOf(body.budget, 'budget') },
        ...{ startsAt: msOrNull(startsAt), endsAt: msOrNull(endsAt) },
      }
      const key = { key: idempotencyKey, fingerprint: idempotencyKey && fingerprint(services, body) }
      await shard.execute(commands.openCampaign, { args, who, ...key })
      return found(body.id)
    },
  })

  const raise = defineRoute({
    method: 'POST',
    path: '/v1/admin/campaigns/:id/budget',
    who: 'admin',
    tag: 'Treasury',
    summary: 'Move more money of the pool to a campaign; prizes that wait for it are funded first, oldest first',
    description: 'Send an `Idempotency-Key`: repeated with it, the request counts once.',
    params: z.object({ id }),
    body: z.object({ add: amountText }),
    response: campaignSchema,
    errors: [unknownCampaign, amountInvalid, fundsMissing, idempotencyConflict],
    handle: async ({ params, body, principal: who, idempotencyKey }) => {
      const args = { id: params.id, amount: amountOf(body.add, 'add') }
      const key = { key: idempotencyKey, fingerprint: idempotencyKey && fingerprint(services, { ...params, ...body }) }
      await shard.execute(commands.raiseCampaign, { args, who, ...key })
      return found(params.id)
    },
  })

  const close = defineRoute({
    method: 'POST',
    path: '/v1/admin/campaigns/:id/close',
    who: 'admin',
    tag: 'Treasury',
    summary: 'End a campaign: what is left goes back to the pool, what is held stays held',
    description: 'Closed once more, it gives back what has come back to it since, from payouts that failed.',
    params: z.object({ id }),
    response: campaignSchema,
    errors: [unknownCampaign],
    handle: async ({ params, principal: who }) => {
      await shard.execute(commands.closeCampaign, { args: { id: params.id }, who })
      return found(params.id)
    },
  })

  const list = defineRoute({
    method: 'GET',
    path: '/v1/admin/campaigns',
    who: 'admin',
    tag: 'Treasury',
    summary: 'All campaigns, newest first, those that are closed last',
    response: z.object({ campaigns: z.array(campaignSchema) }),
    handle: async ({ principal }) => {
      await shard.query(queries.adminSession, principal)
      return { campaigns: (await shard.query(queries.campaignStates, {})).map(campaignJson) }
    },
  })

  const show = defineRoute({
    method: 'GET',
    path: '/v1/admin/campaigns/:id',
    who: 'admin',
    tag: 'Treasury',
    summary: 'One campaign: its budget, what is held, paid and left, and what waits for more',
    params: z.object({ id }),
    response: campaignSchema,
    errors: [unknownCampaign],
    handle: async ({ params, principal }) => {
      await shard.query(queries.adminSession, principal)
      return found(params.id)
    },
  })

  async function found(campaign: string) {
    const state = await shard.query(queries.campaignState, { id: campaign })
    if (state === null) throw new DomainError('not_found', 'campaign_unknown', 'There is no such campaign.')
    return campaignJson(state)
  }

  return [open, raise, close, list, show]
}

function amountOf(text: string, field: string): bigint {
  const amount = microOf(text)
  if (amount > 0n) return amount
  throw new DomainError('unprocessable', 'amount_invalid', 'The amount is zero.', { field })
}

const msOrNull = (text: string | undefined) => (text === undefined ? null : new Date(text).getTime())

function campaignJson(state: CampaignState): z.output<typeof campaignSchema> {
  return {
    ...{ id: state.id, pool: state.pool, comp_types: [...state.compTypes], state: state.phase },
    budget: usdOf(state.budget),
    held: usdOf(state.held),
    paid: usdOf(state.paid),
    left: usdOf(state.left),
    returned: usdOf(state.returned),
    waiting: { count: state.waiting.count, amount: usdOf(state.waiting.amount) },
    starts_at: isoOf(state.startsAt),
    ends_at: isoOrNull(state.endsAt),
    opened_at: isoOf(state.openedAt),
    closed_at: isoOrNull(state.closedAt),
  }
}

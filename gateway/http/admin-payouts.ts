/** Comps and payouts for administrators: to see, to retry, to approve, to cancel, to send (BJ-COMP-09, 11, BJ-TRS-03, 04). */
import { z } from 'zod'
import { payoutKinds, payoutStates } from '../../actors/payout/facts.js'
import type { PayoutContext } from '../../actors/payout/machine.js'
import { compStatuses } from '../../actors/payout/rows.js'
import { pool } from '../../actors/treasury/facts.js'
import { DomainError } from '../../engine/errors.js'
import { amountText, microOf, usdOf } from '../money.js'
import { mustBeOn, payoutsOff } from '../payouts-port.js'
import type { Services } from '../services.js'
import { done, fingerprint, idempotencyConflict, success } from './auth.js'
import { freshCodeErrors, freshCodeStep, totp } from './fresh-code.js'
import {
  afterOf,
  compJson,
  compSchema,
  compType,
  cursorInvalid,
  cursorOf,
  isoOf,
  paging,
  payoutJson,
  payoutSchema,
  payoutState,
  payoutUnknown,
} from './payout-json.js'
import { defineRoute, type Route } from './toolkit/route.js'

const id = z.string().regex(/^[\w-]{1,64}$/)
const fundsMissing = { status: 422, code: 'insufficient_funds', when: 'The pool does not hold so much.' }
const detailSchema = z
  .object({
    id: z.string(),
    pool: z.string(),
    kind: z.enum(payoutKinds),
    reference: z.string(),
    user_id: z.string().nullable(),
    amount: z.number(),
    state: z.string(),
    attempt: z.number(),
    to: z.string().nullable(),
    nonce: z.number().nullable(),
    requested_at: z.string(),
    /** What an approval is given to: another amount, payee or attempt has another. */
    intent: z.string(),
    approvals_needed: z.number(),
    approved_by: z.array(z.string()),
    /** Everything ever signed for this attempt, oldest first. */
    transaction_hashes: z.array(z.string()),
    /** The audit trail (BJ-PAY-06), oldest first; it may lag behind by some milliseconds. */
    steps: z.array(
      z.object({
        at: z.string(),
        attempt: z.number(),
        state: z.enum(payoutStates),
        transaction_hash: z.string().nullable(),
        because: z.string().nullable(),
        by: z.string().nullable(),
      }),
    ),
    approvals: z.array(z.object({ at: z.string(), by: z.string(), intent: z.string() })),
  })
  .meta({ id: 'PayoutDetail' })

export function adminPayoutRoutes(services: Services): Route[] {
  const { shard, program, payoutReads, newId } = services
  const { commands, queries } = program

  const listComps = defineRoute({
    method: 'GET',
    path: '/v1/admin/comps',
    who: 'admin',
    tag: 'Comps',
    summary: 'Comps, newest first, with their status and transaction',
    query: z.object({
      type: compType.optional(),
      status: z.enum(compStatuses).optional(),
      user_id: z.uuid().optional(),
      ...paging,
    }),
    response: z.object({ comps: z.array(compSchema), next_cursor: z.string().nullable() }),
    errors: [cursorInvalid],
    handle: async ({ query: { type, status, user_id: userId, limit, cursor }, principal }) => {
      await shard.query(queries.adminSession, principal)
      const rows = await payoutReads.comps({
        limit,
        ...afterOf(cursor, z.uuid()),
        ...(type === undefined ? {} : { type }),
        ...(status === undefined ? {} : { status }),
        ...(userId === undefined ? {} : { userId }),
      })
      return { comps: rows.map(compJson), next_cursor: cursorOf(rows, limit) }
    },
  })

  const retryComp = defineRoute({
    method: 'POST',
    path: '/v1/admin/comps/retry/:id',
    who: 'admin',
    tag: 'Comps',
    summary: 'Pay a comp whose payout has failed; what failed can never be mined, so it is never paid twice',
    params: z.object({ id }),
    response: z.object({ attempt: z.number() }),
    errors: [payoutUnknown, payoutState, fundsMissing],
    handle: async ({ params, principal: who }) => {
      const { payee } = await found(params.id, who)
      return shard.execute(commands.retry, { args: { payoutId: params.id, payee }, who })
    },
  })

  type Who = Parameters<typeof queries.adminSession.read>[1]

  /** The payout for an administrator. Throws `payout_unknown`. */
  async function found(payoutId: string, who: Who) {
    await shard.query(queries.adminSession, who)
    const detail = await shard.query(queries.payoutDetail, { payoutId })
    if (detail === null) throw new DomainError('not_found', 'payout_unknown', 'There is no such payout.')
    return detail
  }

  const listPayouts = defineRoute({
    method: 'GET',
    path: '/v1/admin/treasury/payouts',
    who: 'admin',
    tag: 'Treasury',
    summary: 'Payouts, newest first',
    query: z.object({ pool: pool.optional(), state: z.enum(payoutStates).optional(), ...paging }),
    response: z.object({ payouts: z.array(payoutSchema), next_cursor: z.string().nullable() }),
    errors: [cursorInvalid],
    handle: async ({ query: { pool: ofPool, state, limit, cursor }, principal }) => {
      await shard.query(queries.adminSession, principal)
      const rows = await payoutReads.payouts({
        limit,
        ...afterOf(cursor),
        ...(ofPool === undefined ? {} : { pool: ofPool }),
        ...(state === undefined ? {} : { state }),
      })
      return { payouts: rows.map(payoutJson), next_cursor: cursorOf(rows, limit) }
    },
  })

  const showPayout = defineRoute({
    method: 'GET',
    path: '/v1/admin/treasury/payouts/:id',
    who: 'admin',
    tag: 'Treasury',
    summary: 'One payout with its steps and approvals, and the intent that an approval has to name',
    params: z.object({ id }),
    response: detailSchema,
    errors: [payoutUnknown],
    handle: async ({ params, principal }) => {
      const payout = await found(params.id, principal)
      const trail = await payoutReads.trail(params.id)
      return {
        id: payout.payoutId,
        pool: payout.wallet,
        kind: payout.kind,
        reference: payout.reference,
        user_id: payout.userId,
        amount: usdOf(payout.amount),
        state: payout.state,
        attempt: payout.attempt,
        to: payout.to,
        nonce: payout.nonce,
        requested_at: isoOf(payout.requestedAt),
        intent: payout.intent,
        approvals_needed: payout.approvalsNeeded,
        approved_by: payout.approvedBy,
        transaction_hashes: hashesOf(payout),
        steps: (trail?.steps ?? []).map(({ at, hash, ...step }) => ({
          ...{ at: isoOf(at), transaction_hash: hash },
          ...step,
        })),
        approvals: (trail?.approvals ?? []).map(({ at, ...approval }) => ({ at: isoOf(at), ...approval })),
      }
    },
  })

  const approve = defineRoute({
    method: 'POST',
    path: '/v1/admin/treasury/payouts/:id/approve',
    who: 'admin',
    tag: 'Treasury',
    summary: 'Agree to exactly this intent; with enough approvals it is paid',
    params: z.object({ id }),
    body: z.object({ intent: z.string().regex(/^[0-9a-f]{64}$/) }),
    response: z.object({ approvals: z.number(), needed: z.number() }),
    errors: [
      payoutUnknown,
      payoutState,
      { status: 409, code: 'intent_changed', when: 'It is another payment than the one that was looked at.' },
      { status: 409, code: 'already_approved', when: 'This administrator has approved it: another must.' },
    ],
    handle: async ({ params, body: { intent }, principal: who }) => {
      const { payee } = await found(params.id, who)
      return shard.execute(commands.approve, { args: { payoutId: params.id, payee, intent }, who })
    },
  })

  const cancel = defineRoute({
    method: 'POST',
    path: '/v1/admin/treasury/payouts/:id/cancel',
    who: 'admin',
    tag: 'Treasury',
    summary: 'End a payout that is not under way yet; its money is available again',
    params: z.object({ id }),
    body: z.object({ reason: z.string().trim().min(1).max(200) }),
    response: done,
    errors: [payoutUnknown, payoutState],
    handle: async ({ params, body, principal: who }) => {
      await shard.execute(commands.cancel, { args: { payoutId: params.id, because: body.reason }, who })
      return success
    },
  })

  const send = defineRoute({
    method: 'POST',
    path: '/v1/admin/treasury/send',
    who: 'admin',
    tag: 'Treasury',
    summary: 'Ask for a transfer from a pool to any address; it is paid once two administrators have approved it',
    description: 'Send an `Idempotency-Key`: repeated with it, the request is the same transfer.',
    limit: 'login',
    body: z.object({
      pool,
      to: z.string().max(100),
      amount: amountText,
      reference: z.string().trim().min(1).max(200),
      totp,
    }),
    status: 202,
    response: z.object({ id: z.string(), intent: z.string() }),
    errors: [
      ...freshCodeErrors,
      { status: 422, code: 'address_invalid', when: 'The pool cannot pay to this address.' },
      { status: 422, code: 'amount_invalid', when: 'The amount is zero.' },
      fundsMissing,
      idempotencyConflict,
      payoutsOff,
    ],
    handle: async ({ body, principal: who, ip, idempotencyKey }) => {
      await shard.query(queries.adminSession, who)
      const { totp: code, ...request } = body
      const to = mustBeOn(services.payouts).payee(request.pool, request.to)
      if (to === null) {
        throw new DomainError('unprocessable', 'address_invalid', 'This pool cannot pay there.', { field: 'to' })
      }
      const amount = microOf(request.amount)
      if (amount === 0n) {
        throw new DomainError('unprocessable', 'amount_invalid', 'The amount is zero.', { field: 'amount' })
      }
      const codeStep = await freshCodeStep(services, { userId: who.userId, code, ip })
      const { pool: wallet, reference } = request
      const { payoutId, intent } = await shard.execute(commands.send, {
        args: { payoutId: newId(), wallet, to, amount, reference, codeStep },
        who,
        key: idempotencyKey,
        fingerprint: idempotencyKey && fingerprint(services, request),
      })
      return { id: payoutId, intent }
    },
  })

  return [listComps, retryComp, listPayouts, showPayout, approve, cancel, send]
}

/** Of a payout that is paid with others there is the one that was mined. */
function hashesOf({ signed, mined }: Pick<PayoutContext, 'signed' | 'mined'>): string[] {
  const all = [...signed, ...(mined === null ? [] : [mined])]
  return [...new Set(all.map(({ hash }) => hash))]
}

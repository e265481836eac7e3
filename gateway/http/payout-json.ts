/** Payouts in the words of the wire. */
import { z } from 'zod'
import { payoutKinds, payoutStates } from '../../actors/payout/facts.js'
import { type After, type CompRow, compStatuses, type PayoutRow } from '../../actors/payout/rows.js'
import { pool } from '../../actors/treasury/facts.js'
import { compType as unlockable } from '../../actors/volume/commands.js'
import { DomainError } from '../../engine/errors.js'
import { usdOf } from '../money.js'

const PAGE_DEFAULT = 20
const PAGE_MAX = 100

/** What can be won. */
export const compType = z.enum([...unlockable.options, 'new_member_guarantee'])

/** Query parameters of every list of payouts. */
export const paging = {
  limit: z.coerce.number().int().min(1).max(PAGE_MAX).default(PAGE_DEFAULT),
  cursor: z.string().max(200).optional(),
}

export const cursorInvalid = { status: 422, code: 'cursor_invalid', when: 'The cursor is none that was given out.' }
export const payoutUnknown = { status: 404, code: 'payout_unknown', when: 'There is no such payout.' }
export const payoutState = { status: 409, code: 'payout_state', when: 'It is in a state that does not allow this.' }

/** Where the next page begins. Throws `cursor_invalid`. */
export function afterOf(cursor: string | undefined, id: z.ZodType<string> = z.string()): { after?: After } {
  if (cursor === undefined) return {}
  const [, seq, text] = /^(\d{1,15})\.(.+)$/.exec(cursor) ?? []
  const parsed = id.safeParse(text)
  if (seq !== undefined && parsed.success) return { after: { seq: Number(seq), id: parsed.data } }
  throw new DomainError('unprocessable', 'cursor_invalid', 'Send `next_cursor` as it was given.', { field: 'cursor' })
}

/** Null on the last page. */
export function cursorOf(rows: readonly After[], limit: number): string | null {
  const last = rows.at(-1)
  return rows.length < limit || last === undefined ? null : `${last.seq}.${last.id}`
}

export const isoOf = (ms: number) => new Date(ms).toISOString()
export const isoOrNull = (ms: number | null) => (ms === null ? null : isoOf(ms))

export const compSchema = z
  .object({
    id: z.string(),
    user_id: z.string(),
    type: compType,
    amount: z.number(),
    status: z.enum(compStatuses),
    /** Whether the treasury holds the money. */
    funded: z.boolean(),
    /** The campaign that pays for it; null when the pool does. */
    campaign: z.string().nullable(),
    trigger_scan_id: z.string().nullable(),
    milestone: z.string().nullable(),
    awarded_at: z.string(),
    paid_at: z.string().nullable(),
    transaction_hash: z.string().nullable(),
    /** Null while it waits for funds, and when it is no money. */
    payout_state: z.enum(payoutStates).nullable(),
    because: z.string().nullable(),
  })
  .meta({ id: 'Comp' })

export function compJson(comp: CompRow): z.output<typeof compSchema> {
  return {
    id: comp.id,
    user_id: comp.userId,
    type: comp.type,
    amount: usdOf(comp.amount),
    status: comp.status,
    funded: comp.isFunded,
    campaign: comp.campaign,
    trigger_scan_id: comp.scanId,
    milestone: comp.milestone,
    awarded_at: isoOf(comp.awardedAt),
    paid_at: isoOrNull(comp.paidAt),
    transaction_hash: comp.hash,
    payout_state: comp.payoutState,
    because: comp.because,
  }
}

export const payoutSchema = z
  .object({
    id: z.string(),
    pool,
    kind: z.enum(payoutKinds),
    reference: z.string(),
    user_id: z.string().nullable(),
    amount: z.number(),
    state: z.enum(payoutStates),
    attempt: z.number(),
    to: z.string().nullable(),
    nonce: z.number().nullable(),
    transaction_hash: z.string().nullable(),
    block_height: z.number().nullable(),
    because: z.string().nullable(),
    requested_by: z.string(),
    requested_at: z.string(),
    moved_at: z.string().nullable(),
  })
  .meta({ id: 'Payout' })

export function payoutJson(row: PayoutRow): z.output<typeof payoutSchema> {
  return {
    id: row.id,
    pool: row.pool,
    kind: row.kind,
    reference: row.reference,
    user_id: row.userId,
    amount: usdOf(row.amount),
    state: row.state,
    attempt: row.attempt,
    to: row.to,
    nonce: row.nonce,
    transaction_hash: row.hash,
    block_height: row.height,
    because: row.because,
    requested_by: row.requestedBy,
    requested_at: isoOf(row.requestedAt),
    moved_at: isoOrNull(row.movedAt),
  }
}

import { z } from 'zod'
import { defineFact } from '../../engine/fact.js'

export const payoutKinds = ['comp', 'send'] as const
export type PayoutKind = (typeof payoutKinds)[number]

export const payoutStates = [
  'waiting',
  'review',
  'queued',
  'prepared',
  'signed',
  'mined',
  'settled',
  'failed',
  'cancelled',
] as const
export type PayoutState = (typeof payoutStates)[number]

/** Amounts are minor units of the wallet's asset. */
const transfer = {
  payoutId: z.string(),
  wallet: z.string(),
  kind: z.enum(payoutKinds),
  /** What it pays: a comp, say. */
  reference: z.string(),
  userId: z.string().nullable(),
  amount: z.bigint(),
}

/** Somebody is to be paid, and the money is held (S1: the intent). */
export const payoutRequested = defineFact(
  'payout.requested',
  z.object({ ...transfer, campaign: z.string().optional(), by: z.string() }),
)

/** It went a step on or back; one row of its audit trail each (BJ-PAY-06). */
export const payoutMoved = defineFact(
  'payout.moved',
  z.object({
    payoutId: z.string(),
    attempt: z.number(),
    state: z.enum(payoutStates),
    to: z.string().nullable(),
    nonce: z.number().nullable(),
    hash: z.string().nullable(),
    height: z.number().nullable(),
    because: z.string().nullable(),
    by: z.string().nullable(),
  }),
)

/** Payouts got the nonces of a distribution, in the order of its steps (S1: the intent). */
export const distributionPrepared = defineFact(
  'distribution.prepared',
  z.object({
    distributionId: z.string(),
    wallet: z.string(),
    contract: z.string(),
    nonces: z.array(z.number()),
    payoutIds: z.array(z.string()),
    amount: z.bigint(),
  }),
)

/** One of its transactions went a step on or back. */
export const distributionMoved = defineFact(
  'distribution.moved',
  z.object({
    distributionId: z.string(),
    kind: z.enum(['clear', 'allow', 'pay']),
    state: z.enum(['signed', 'mined', 'final', 'reverted', 'lost']),
    nonce: z.number(),
    hash: z.string().nullable(),
  }),
)

/** Nothing of it was signed, and its payouts are as if it had never been. */
export const distributionDropped = defineFact(
  'distribution.dropped',
  z.object({ distributionId: z.string(), because: z.string() }),
)

/** An administrator agreed to exactly this intent (BJ-TRS-03). */
export const payoutApproved = defineFact(
  'payout.approved',
  z.object({ payoutId: z.string(), intent: z.string(), by: z.string(), approvals: z.number() }),
)

/** Paid for good: the transaction can no longer be undone (BJ-PAY-03, BJ-T27). `fee` is in the chain's own coin. */
export const payoutSettled = defineFact(
  'payout.settled',
  z.object({ ...transfer, to: z.string(), hash: z.string(), height: z.number(), fee: z.bigint(), seconds: z.number() }),
)

/** Not paid, for good, and its hold released. */
export const payoutFailed = defineFact(
  'payout.failed',
  z.object({
    ...transfer,
    to: z.string().nullable(),
    hash: z.string().nullable(),
    state: z.enum(['failed', 'cancelled']),
    because: z.string(),
  }),
)

/** What failed is to be paid after all, and the money is held again (BJ-COMP-11). */
export const payoutRetried = defineFact('payout.retried', z.object({ ...transfer, by: z.string() }))

/** Where a member is paid (BJ-WAL-01). */
export const payeeAddressSet = defineFact(
  'payee.address_set',
  z.object({ userId: z.string(), address: z.string(), provider: z.enum(['external', 'development']) }),
)

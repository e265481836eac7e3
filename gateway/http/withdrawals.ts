/** What leaves a member's own wallet, and the list of all that came and went (BJ-WAL-03…08, BJ-T19). */
import { z } from 'zod'
import { OPEN_PER_MEMBER_MAX, type WithdrawalView } from '../../actors/withdrawal/commands.js'
import { type WithdrawalState, withdrawalStates } from '../../actors/withdrawal/facts.js'
import type { TransactionRow } from '../../actors/withdrawal/rows.js'
import type { SignedTransfer } from '../../actors/withdrawal/transfer.js'
import { DomainError } from '../../engine/errors.js'
import { usdOf } from '../money.js'
import { chainUnavailable, mustBeOn, type PayoutsPort, payoutsOff } from '../payouts-port.js'
import type { Services } from '../services.js'
import { afterOf, cursorInvalid, cursorOf, isoOf, paging } from './payout-json.js'
import { defineRoute, type Route } from './toolkit/route.js'

const transactionSchema = z
  .object({
    id: z.string(),
    type: z.enum(['comp_deposit', 'withdrawal', 'external_deposit']),
    /** Null while nothing but the hash of a withdrawal is known. */
    amount: z.number().nullable(),
    status: z.enum(['pending', 'confirmed', 'failed']),
    transaction_hash: z.string().nullable(),
    from: z.string().nullable(),
    to: z.string().nullable(),
    comp_id: z.string().nullable(),
    /** Why it failed or waits. */
    because: z.string().nullable(),
    created_at: z.string(),
    confirmed_at: z.string().nullable(),
  })
  .meta({ id: 'Transaction' })

const withdrawalSchema = z
  .object({
    transaction_hash: z.string(),
    state: z.enum(withdrawalStates),
    from: z.string(),
    /** Null while nothing but the hash is known, like the amount. */
    to: z.string().nullable(),
    amount: z.number().nullable(),
    because: z.string().nullable(),
    block_height: z.number().nullable(),
    submitted_at: z.string(),
    /** What a node said that did not take it, just now. It is sent again as long as it may be mined. */
    refused: z.string().nullable(),
  })
  .meta({ id: 'Withdrawal' })

export function withdrawalRoutes(services: Services): Route[] {
  const { shard, program, payoutReads, payouts, log } = services
  const { commands, queries } = program

  const transactions = defineRoute({
    method: 'GET',
    path: '/v1/transactions',
    who: 'member',
    tag: 'Wallet',
    summary: 'What came into my wallet and left it, newest first',
    description:
      '`comp_deposit`: what was won here. `withdrawal`: what was submitted with `POST /v1/wallet/withdraw/submit`. ' +
      '`external_deposit`: what came from elsewhere once the address was mine, listed when it is final (EVM chains only).',
    query: z.object({ filter: z.enum(['all', 'deposits', 'withdrawals']).default('all'), ...paging }),
    response: z.object({ transactions: z.array(transactionSchema), next_cursor: z.string().nullable() }),
    errors: [cursorInvalid],
    handle: async ({ query: { filter, limit, cursor }, principal }) => {
      await shard.query(queries.session, principal)
      const { userId } = principal
      const rows = await payoutReads.transactions({ userId, filter, limit, ...afterOf(cursor) })
      return { transactions: rows.map(transactionJson), next_cursor: cursorOf(rows, limit) }
    },
  })

  /** Nothing is known of what a node was to take: the tracker sends it again. */
  async function refusalOf(port: PayoutsPort, { raw, hash }: SignedTransfer): Promise<string | null> {
    try {
      return await port.send(raw)
    } catch (error) {
      log.warn({ err: error, hash }, 'a withdrawal is recorded and not sent yet; it is sent again')
      return null
    }
  }

  const submit = defineRoute({
    method: 'POST',
    path: '/v1/wallet/withdraw/submit',
    who: 'member',
    tag: 'Wallet',
    summary: 'Send a transfer that my wallet has signed, or tell of one that it has sent; it is followed to its end',
    description:
      'With `raw`, the signed transaction (EVM: hexadecimal; Solana: base64), it is recorded, then sent, and sent again ' +
      'as long as no node has it and it may still be mined. With `transaction_hash` it is recorded and looked for; what ' +
      'turns out to be no transfer out of my wallet ends as `failed` because `not_a_withdrawal`, what no node shows ' +
      'within a day because `never_seen` (submit it again to have it looked for again). The same transaction again ' +
      'answers with where it stands.',
    body: z
      .object({ raw: z.string().min(1).max(10_000).optional(), transaction_hash: z.string().max(100).optional() })
      .refine(({ raw, transaction_hash }) => (raw === undefined) !== (transaction_hash === undefined), {
        message: 'Send either `raw` or `transaction_hash`.',
        path: ['raw'],
      }),
    status: 202,
    response: withdrawalSchema,
    errors: [
      { status: 403, code: 'withdrawal_foreign', when: 'It moves money out of another wallet than mine.' },
      { status: 409, code: 'wallet_missing', when: 'I have no wallet yet.' },
      { status: 422, code: 'withdrawal_unreadable', when: 'It is no signed transfer of the asset.' },
      { status: 422, code: 'hash_invalid', when: 'It is no hash of a transaction on this chain.' },
      { status: 429, code: 'withdrawals_open', when: `${OPEN_PER_MEMBER_MAX} of my withdrawals are under way.` },
      payoutsOff,
      chainUnavailable,
    ],
    handle: async ({ body: { raw, transaction_hash: text = '' }, principal: who }) => {
      await shard.query(queries.session, who)
      const port = mustBeOn(payouts)
      const transfer = raw === undefined ? null : await port.readSigned(raw)
      const args = { hash: transfer?.hash ?? hashOf(port, text), transfer }
      const view = await shard.execute(commands.submitWithdrawal, { args, who })
      const toSend = view.state === 'submitted' ? view.transfer : null
      return withdrawalJson(view, toSend === null ? null : await refusalOf(port, toSend))
    },
  })

  return [transactions, submit]
}

/** Throws `hash_invalid`. */
function hashOf(port: PayoutsPort, text: string): string {
  const hash = port.parseHash(text)
  if (hash !== null) return hash
  const message = `This is no hash of a transaction on ${port.chain}.`
  throw new DomainError('unprocessable', 'hash_invalid', message, { field: 'transaction_hash' })
}

function withdrawalJson(view: WithdrawalView, refused: string | null): z.output<typeof withdrawalSchema> {
  const { hash, from, transfer, block, because, submittedAt } = view
  return {
    transaction_hash: hash,
    state: view.state as WithdrawalState,
    from,
    to: transfer?.to ?? null,
    amount: transfer === null ? null : usdOf(transfer.amount),
    because,
    block_height: block?.height ?? null,
    submitted_at: isoOf(submittedAt),
    refused,
  }
}

/** BJ-PAY-03 */
function statusOf(row: TransactionRow) {
  if (row.type === 'external_deposit') return 'confirmed'
  if (row.state === 'settled' || row.state === 'completed') return 'confirmed'
  return row.state === 'failed' || row.state === 'cancelled' ? 'failed' : 'pending'
}

function transactionJson(row: TransactionRow): z.output<typeof transactionSchema> {
  const status = statusOf(row)
  const { type, amount, hash, from, to, because, at, movedAt } = row
  return {
    id: type === 'withdrawal' ? (hash ?? row.id) : row.id,
    type,
    amount: amount === null ? null : usdOf(amount),
    status,
    transaction_hash: hash,
    ...{ from, to, because },
    comp_id: type === 'comp_deposit' ? row.compId : null,
    created_at: isoOf(at),
    confirmed_at: status === 'confirmed' && movedAt !== null ? isoOf(movedAt) : null,
  }
}

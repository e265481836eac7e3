/** From a request to the queue: who is paid, where, and who has to agree. What happens on chain comes as reports. */
import { z } from 'zod'
import { defineCommand } from '../../engine/command.js'
import { DomainError } from '../../engine/errors.js'
import type { Turn } from '../../engine/turn.js'
import type { SecondFactor } from '../account/second-factor.js'
import { type CompSource, PRIZE_POOL } from '../treasury/comp-funding.js'
import { pool } from '../treasury/facts.js'
import { release, tryHold } from '../treasury/ledger.js'
import type { MemberAccess } from '../user/access.js'
import { admitAddressed, enqueue, intentOf, noteOpen, type PayoutRef } from './admission.js'
import { payoutApproved, payoutKinds, payoutRequested } from './facts.js'
import { payout } from './machine.js'
import type { OpenPayouts } from './open-payouts.js'
import { payee } from './payee.js'
import type { PayoutRules } from './rules.js'

/** Payouts let go in one turn when their payee has an address at last. */
const RELEASED_PER_TURN_MAX = 100

export interface PayoutWorld {
  readonly rules: PayoutRules
  readonly open: OpenPayouts
  readonly access: MemberAccess
  readonly secondFactor: SecondFactor
}

export type PayoutCommands = ReturnType<typeof payoutCommands>

const requestArgs = z.object({
  payoutId: z.string(),
  wallet: pool,
  kind: z.enum(payoutKinds),
  reference: z.string(),
  userId: z.string(),
  amount: z.bigint().positive(),
  campaign: z.string().optional(),
})

/** The payout of a comp: its id is the comp's (BJ-T27). */
export function compPayout(
  compId: string,
  userId: string,
  amount: bigint,
  source: CompSource = { wallet: PRIZE_POOL },
) {
  return { payoutId: compId, ...source, kind: 'comp', reference: compId, userId, amount } as const
}

export function payoutCommands({ rules, open, access, secondFactor }: PayoutWorld) {
  /** A member is to be paid; the money is held already (BJ-COMP-07). */
  const requestPayout = defineCommand({
    name: 'payout.request',
    input: requestArgs,
    who: 'system',
    actors: ({ payoutId, userId }) => [payout.newRef(payoutId), payee.ref(userId)],
    handle: (turn, { userId, ...request }) => {
      ensurePayee(turn, userId)
      const ref = payout.newRef(request.payoutId)
      turn.create(ref, { ...request, payee: userId, userId, requestedAt: turn.at, approvalsNeeded: 0 })
      turn.emit(payoutRequested.make({ ...request, userId, by: 'system' }))
      sendOn(turn, ref)
      return null
    },
  })

  /** To the queue if the payee has an address; otherwise it waits for one. */
  function sendOn(turn: Turn, ref: PayoutRef): void {
    const { payee: key } = turn.context(ref)
    const { address } = turn.context(payee.ref(key))
    if (address !== null) {
      admitAddressed(turn, open, rules, ref, address)
      return
    }
    noteOpen(turn, open, ref, 'waiting')
  }

  /** What waited for the address of a member; the rest follow in turns of their own. */
  const releaseWaiting = defineCommand({
    name: 'payout.release_waiting',
    input: z.object({ userId: z.string(), payoutIds: z.array(z.string()) }),
    who: 'system',
    actors: ({ userId, payoutIds }) => [payee.ref(userId), ...payoutIds.map((id) => payout.ref(id))],
    handle: (turn, { userId, payoutIds }) => {
      const { address } = turn.context(payee.ref(userId))
      for (const payoutId of payoutIds) {
        const ref = payout.ref(payoutId)
        if (address !== null && turn.value(ref) === 'waiting') admitAddressed(turn, open, rules, ref, address)
      }
      // Its own changes reach the table when the turn commits.
      const more = open.waitingFor(userId, 2 * RELEASED_PER_TURN_MAX).filter((id) => !payoutIds.includes(id))
      tellWaiting(turn, userId, more)
      return null
    },
  })

  function tellWaiting(turn: Turn, userId: string, payoutIds: readonly string[]): void {
    if (payoutIds.length === 0) return
    turn.tell(releaseWaiting, { userId, payoutIds: payoutIds.slice(0, RELEASED_PER_TURN_MAX) })
  }

  /** The edge has checked the address and the proof that it is the member's (BJ-WAL-01, BJ-T52). */
  const setPayeeAddress = defineCommand({
    name: 'payee.set_address',
    input: z.object({ userId: z.string(), address: z.string(), provider: z.enum(['external', 'development']) }),
    who: 'member',
    actors: ({ userId }, who) => [payee.ref(userId), ...access.refsOf(who)],
    handle: (turn, args) => {
      if (turn.who.role !== 'system' && access.requireMember(turn).key !== args.userId) {
        throw new DomainError('forbidden', 'forbidden', 'This is the wallet of somebody else.')
      }
      const ref = ensurePayee(turn, args.userId)
      if (turn.context(ref).address === args.address) return { address: args.address }
      turn.step(ref, { type: 'address.set', ...args })
      tellWaiting(turn, args.userId, open.waitingFor(args.userId, RELEASED_PER_TURN_MAX))
      return { address: args.address }
    },
  })

  /** A transfer by hand, from a pool to any address, with a code of the initiator (BJ-TRS-04, BJ-T17). */
  const send = defineCommand({
    name: 'payout.send',
    input: z.object({
      payoutId: z.string(),
      wallet: pool,
      to: z.string(),
      amount: z.bigint().positive(),
      reference: z.string().max(200),
      /** The time step of the one-time code; null when the code is wrong. */
      codeStep: z.number().int().nullable(),
    }),
    who: 'admin',
    actors: ({ payoutId, to }, who) => [
      ...[payout.newRef(payoutId), payee.ref(to)],
      ...[...access.refsOf(who), ...secondFactor.refsOf(who)],
    ],
    handle: (turn, { to, codeStep, ...request }) => {
      const by = access.requireAdmin(turn)
      secondFactor.spend(turn, codeStep)
      if (!tryHold(turn, request.wallet, request.payoutId, request.amount)) throw insufficientFunds()
      ensurePayee(turn, to)
      const ref = payout.newRef(request.payoutId)
      const { sendApprovals: approvalsNeeded } = rules
      turn.create(ref, { ...request, kind: 'send', payee: to, userId: null, requestedAt: turn.at, approvalsNeeded })
      turn.emit(payoutRequested.make({ ...request, kind: 'send', userId: null, by }))
      admitAddressed(turn, open, rules, ref, to)
      return { payoutId: request.payoutId, intent: intentOf(turn.context(ref)) }
    },
  })

  /** An administrator agrees to exactly this intent; enough of them, and it is paid (BJ-TRS-03, BJ-TRS-06). */
  const approve = defineCommand({
    name: 'payout.approve',
    input: z.object({ payoutId: z.string(), payee: z.string(), intent: z.string() }),
    who: 'admin',
    actors: ({ payoutId, payee: key }, who) => [payout.ref(payoutId), payee.ref(key), ...access.refsOf(who)],
    handle: (turn, { payoutId, intent }) => {
      const by = access.requireAdmin(turn)
      const ref = requireState(turn, payoutId, 'review')
      const context = turn.context(ref)
      if (intent !== intentOf(context)) {
        throw new DomainError('conflict', 'intent_changed', 'This is not what would be paid. Look at it again.')
      }
      if (context.approvedBy.includes(by)) {
        throw new DomainError('conflict', 'already_approved', 'You have approved this. Another administrator must.')
      }
      turn.step(ref, { type: 'approved', by })
      const approvals = turn.context(ref).approvedBy.length
      turn.emit(payoutApproved.make({ payoutId, intent, by, approvals }))
      if (approvals >= context.approvalsNeeded) enqueue(turn, open, rules, ref)
      return { approvals, needed: context.approvalsNeeded }
    },
  })

  /** Ends what was not prepared yet; its hold is released. */
  const cancel = defineCommand({
    name: 'payout.cancel',
    input: z.object({ payoutId: z.string(), because: z.string().max(200) }),
    who: 'admin',
    actors: ({ payoutId }, who) => [payout.ref(payoutId), ...access.refsOf(who)],
    handle: (turn, { payoutId, because }) => {
      const by = access.requireAdmin(turn)
      const ref = requireState(turn, payoutId, 'waiting', 'review', 'queued')
      turn.step(ref, { type: 'cancelled', by, because })
      const { wallet, amount, campaign } = turn.context(ref)
      release(turn, pool.parse(wallet), payoutId, amount, campaign)
      turn.change(open, { op: 'over', payoutId })
      return null
    },
  })

  /** Tries again what failed for good: it can never pay twice, because what failed can never be mined (BJ-T39). */
  const retry = defineCommand({
    name: 'payout.retry',
    input: z.object({ payoutId: z.string(), payee: z.string() }),
    who: 'admin',
    actors: ({ payoutId, payee: key }, who) => [payout.ref(payoutId), payee.ref(key), ...access.refsOf(who)],
    handle: (turn, { payoutId }) => {
      const by = access.requireAdmin(turn)
      const ref = requireState(turn, payoutId, 'failed')
      const { wallet, amount, campaign } = turn.context(ref)
      if (!tryHold(turn, pool.parse(wallet), payoutId, amount, campaign)) throw insufficientFunds(campaign)
      turn.step(ref, { type: 'retried', by })
      sendOn(turn, ref)
      return { attempt: turn.context(ref).attempt }
    },
  })

  return { requestPayout, releaseWaiting, setPayeeAddress, send, approve, cancel, retry }
}

function ensurePayee(turn: Turn, key: string) {
  const ref = payee.ref(key)
  if (!turn.exists(ref)) turn.create(ref, undefined)
  return ref
}

/** The payout, if it is in one of these states. Errors: `payout_unknown`, `payout_state`. */
function requireState(turn: Turn, payoutId: string, ...states: string[]): PayoutRef {
  const ref = payout.ref(payoutId)
  if (!turn.exists(ref)) throw new DomainError('not_found', 'payout_unknown', 'There is no such payout.')
  const state = String(turn.value(ref))
  if (states.includes(state)) return ref
  throw new DomainError(
    'conflict',
    'payout_state',
    `This payout is ${state}; that needs it to be ${states.join(' or ')}.`,
  )
}

function insufficientFunds(campaign?: string): DomainError {
  const owner = campaign === undefined ? 'pool' : `campaign ${campaign}`
  return new DomainError('unprocessable', 'insufficient_funds', `The ${owner} does not hold so much.`, {
    field: 'amount',
  })
}

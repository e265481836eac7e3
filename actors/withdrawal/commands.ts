/**
 * Withdrawals as members submit them, and what the tracker tells of them.
 *
 * S1 `submit` comes before the bytes are sent. S3 Only what is final ends one. B1 A member has so many open at once.
 */
import { z } from 'zod'
import type { ActorRef } from '../../engine/actor.js'
import { defineCommand, defineQuery } from '../../engine/command.js'
import { DomainError } from '../../engine/errors.js'
import type { ReadScope, Turn } from '../../engine/turn.js'
import { payee } from '../payout/payee.js'
import { block } from '../payout/transaction.js'
import type { MemberAccess } from '../user/access.js'
import { withdrawalSubmitted } from './facts.js'
import { type Failure, failures, withdrawal } from './machine.js'
import type { OpenWithdrawals } from './open-withdrawals.js'
import { type SignedTransfer, signedTransfer } from './transfer.js'

/** Withdrawals of one member under way at once. */
export const OPEN_PER_MEMBER_MAX = 20
/** Reported on in one turn. */
export const WITHDRAWALS_PER_TURN_MAX = 100
/** A hash that no node has shown by then is given up; submitted again it is looked for again. */
export const SEEN_WITHIN_MS = 24 * 3_600_000

type WithdrawalRef = ActorRef<(typeof withdrawal)['machine']>

const id = { withdrawalId: z.string() }
const report = z.discriminatedUnion('type', [
  /** A node has shown the bytes of the hash. */
  z.object({ type: z.literal('identified'), ...id, transfer: signedTransfer }),
  /** No node shows it, now. */
  z.object({ type: z.literal('unseen'), ...id }),
  z.object({ type: z.literal('mined'), ...id, block }),
  z.object({ type: z.literal('unmined'), ...id }),
  z.object({ type: z.literal('completed'), ...id, block }),
  z.object({ type: z.literal('failed'), ...id, because: z.enum(failures), block: block.nullable() }),
])
export type WithdrawalReport = z.output<typeof report>

/** A withdrawal as the tracker and its member see it. */
export type WithdrawalView = ReturnType<typeof viewOf>

/** The same transaction may be claimed by several; only its signer's claim can come true. */
export const withdrawalIdOf = (hash: string, userId: string) => `${hash}:${userId}`

export function withdrawalCommands({ open, access }: { open: OpenWithdrawals; access: MemberAccess }) {
  /** The edge has read the bytes; with a hash alone they are null. The same again answers the same. */
  const submitWithdrawal = defineCommand({
    name: 'withdrawal.submit',
    input: z.object({ hash: z.string(), transfer: signedTransfer.nullable() }),
    who: 'member',
    actors: ({ hash }, who) => [
      withdrawal.ref(withdrawalIdOf(hash, who.userId)),
      payee.ref(who.userId),
      ...access.refsOf(who),
    ],
    handle: (turn, { hash, transfer }) => {
      const { key: userId } = access.requireMember(turn)
      const ref = withdrawal.ref(withdrawalIdOf(hash, userId))
      if (!turn.exists(ref)) begin(turn, ref, { hash, userId, transfer })
      else if (turn.context(ref).transfer === null) resume(turn, ref, transfer)
      return viewOf(turn, ref)
    },
  })

  function begin(
    turn: Turn,
    ref: WithdrawalRef,
    { hash, userId, transfer }: { hash: string; userId: string; transfer: SignedTransfer | null },
  ): void {
    const of = payee.ref(userId)
    const from = turn.exists(of) ? turn.context(of).address : null
    if (from === null) throw new DomainError('conflict', 'wallet_missing', 'Set the address of your wallet first.')
    requireOwn(from, transfer)
    requireRoom(userId)
    const { key: withdrawalId } = ref
    turn.create(ref, { withdrawalId, userId, hash, from, transfer, submittedAt: turn.at })
    const what = { to: transfer?.to ?? null, amount: transfer?.amount ?? null }
    turn.emit(withdrawalSubmitted.make({ withdrawalId, userId, hash, from, ...what }))
    turn.change(open, { op: 'is', withdrawalId, userId })
  }

  /** Only its hash was known so far. */
  function resume(turn: Turn, ref: WithdrawalRef, transfer: SignedTransfer | null): void {
    const { from, userId, withdrawalId, because } = turn.context(ref)
    requireOwn(from, transfer)
    if (because === 'never_seen') {
      requireRoom(userId)
      turn.step(ref, { type: 'resubmitted', at: turn.at })
      turn.change(open, { op: 'is', withdrawalId, userId })
    }
    if (transfer !== null) turn.step(ref, { type: 'identified', transfer })
  }

  function requireRoom(userId: string): void {
    if (open.countOf(userId) < OPEN_PER_MEMBER_MAX) return
    const message = `${OPEN_PER_MEMBER_MAX} of your withdrawals are under way. Wait until one of them is over.`
    throw new DomainError('too_many', 'withdrawals_open', message)
  }

  const reportWithdrawals = defineCommand({
    name: 'withdrawal.report',
    input: z.object({ reports: z.array(report).max(WITHDRAWALS_PER_TURN_MAX) }),
    who: 'system',
    actors: ({ reports }) => reports.map(({ withdrawalId }) => withdrawal.ref(withdrawalId)),
    handle: (turn, { reports }) => {
      for (const each of reports) take(turn, withdrawal.ref(each.withdrawalId), each)
      return null
    },
  })

  function take(turn: Turn, ref: WithdrawalRef, told: WithdrawalReport): void {
    const { from, transfer, block: before, submittedAt } = turn.context(ref)
    switch (told.type) {
      case 'identified':
        if (transfer !== null) return
        if (told.transfer.from === from) turn.step(ref, told)
        else fail(turn, ref, 'not_a_withdrawal')
        return
      case 'unseen':
        if (transfer === null && turn.at - submittedAt >= SEEN_WITHIN_MS) fail(turn, ref, 'never_seen')
        return
      case 'mined':
        if (before?.hash !== told.block.hash || before.height !== told.block.height) turn.step(ref, told)
        return
      case 'unmined':
        turn.step(ref, told)
        return
      case 'completed':
        if (turn.step(ref, told)) turn.change(open, { op: 'over', withdrawalId: ref.key })
        return
      case 'failed':
        fail(turn, ref, told.because, told.block)
        return
    }
  }

  function fail(turn: Turn, ref: WithdrawalRef, because: Failure, at: z.output<typeof block> | null = null): void {
    if (turn.step(ref, { type: 'failed', because, block: at })) {
      turn.change(open, { op: 'over', withdrawalId: ref.key })
    }
  }

  return { submitWithdrawal, reportWithdrawals }
}

function requireOwn(from: string, transfer: SignedTransfer | null): void {
  if (transfer === null || transfer.from === from) return
  const message = `This moves money of ${transfer.from}, and your wallet is ${from}.`
  throw new DomainError('forbidden', 'withdrawal_foreign', message)
}

export function withdrawalQueries(open: OpenWithdrawals) {
  /** The next ones under way, from the one after `after` on, oldest first; at the end of the list from its begin. */
  const openWithdrawals = defineQuery({
    name: 'withdrawal.open',
    actors: () => [],
    read: (_, { after, max }: { after: string | null; max: number }) => {
      const ids = [...open.all()].map(({ withdrawalId }) => withdrawalId)
      const start = after === null ? 0 : ids.indexOf(after) + 1
      return ids.slice(start, start + max)
    },
  })

  const withdrawals = defineQuery({
    name: 'withdrawal.views',
    actors: ({ withdrawalIds }: { withdrawalIds: readonly string[] }) =>
      withdrawalIds.map((key) => withdrawal.ref(key)),
    read: (scope, { withdrawalIds }: { withdrawalIds: readonly string[] }) =>
      withdrawalIds.map((key) => viewOf(scope, withdrawal.ref(key))),
  })

  return { openWithdrawals, withdrawals }
}

function viewOf(scope: ReadScope, ref: WithdrawalRef) {
  const { withdrawalId, hash, from, transfer, block: minedIn, because, submittedAt } = scope.context(ref)
  return { withdrawalId, hash, from, transfer, block: minedIn, because, submittedAt, state: String(scope.value(ref)) }
}

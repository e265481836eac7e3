/** Lets a payout that has an address go to the queue, or holds it for review. L1: all amounts are minor units. */
import { createHash } from 'node:crypto'
import type { ActorRef } from '../../engine/actor.js'
import type { Turn } from '../../engine/turn.js'
import { DAY_MS, outflowToday, outflowWithinHour, wallet } from '../wallet/machine.js'
import type { PayoutContext, payout } from './machine.js'
import type { OpenPayouts, OpenState } from './open-payouts.js'
import { payee } from './payee.js'
import type { PayoutRules } from './rules.js'

export type PayoutRef = ActorRef<(typeof payout)['machine']>

/** What administrators agree to: everything that moves money. Another one needs other approvals (BJ-TRS-03). */
export function intentOf({ payoutId, attempt, wallet: from, to, amount }: PayoutContext): string {
  return createHash('sha256')
    .update(JSON.stringify([payoutId, attempt, from, to, String(amount)]))
    .digest('hex')
}

/** Notes in the table of open payouts where a payout stands. */
export function noteOpen(turn: Turn, open: OpenPayouts, ref: PayoutRef, state: OpenState): void {
  const { payoutId, wallet: from, payee: key, amount } = turn.context(ref)
  turn.change(open, { op: 'is', payoutId, wallet: from, state, payee: key, amount })
}

/** Takes a payout in `waiting` on, now that it has an address. */
export function admitAddressed(turn: Turn, open: OpenPayouts, rules: PayoutRules, ref: PayoutRef, to: string): void {
  turn.step(ref, { type: 'addressed', to })
  const { approvalsNeeded } = turn.context(ref)
  const because = approvalsNeeded > 0 ? 'approval' : heldBy(turn, rules, ref)
  if (because === null) {
    enqueue(turn, open, rules, ref)
    return
  }
  turn.step(ref, { type: 'held', because, approvalsNeeded: Math.max(approvalsNeeded, rules.reviewApprovals) })
  noteOpen(turn, open, ref, 'review')
}

/** The limit that holds a payout, or null. */
function heldBy(turn: Turn, rules: PayoutRules, ref: PayoutRef): string | null {
  const { amount, wallet: from, payee: to } = turn.context(ref)
  if (amount > rules.reviewAbove) return 'payout_limit'
  const { day, dayAmount } = turn.context(payee.ref(to))
  const paidToday = day === Math.floor(turn.at / DAY_MS) ? dayAmount : 0n
  if (paidToday + amount > rules.payeeDayReviewAbove) return 'payee_day_limit'
  if (outflowToday(turn.context(wallet.ref(from)), turn.at) + amount > rules.dayReviewAbove) return 'wallet_day_limit'
  return null
}

/** Puts a payout in `addressed` or `review` into the queue and counts it. */
export function enqueue(turn: Turn, open: OpenPayouts, rules: PayoutRules, ref: PayoutRef): void {
  turn.step(ref, { type: 'queued' })
  const { amount, wallet: from, payee: to, isReviewed } = turn.context(ref)
  noteOpen(turn, open, ref, 'queued')
  turn.step(payee.ref(to), { type: 'outflow.counted', day: Math.floor(turn.at / DAY_MS), amount })
  const purse = wallet.ref(from)
  turn.step(purse, { type: 'outflow.counted', at: turn.at, amount, isReviewed })
  if (outflowWithinHour(turn.context(purse), turn.at) > rules.hourPauseAbove) {
    turn.step(purse, { type: 'paused', because: 'hourly_outflow', by: 'system' })
  }
}

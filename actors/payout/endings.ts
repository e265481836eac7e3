/** How a payout ends, or is held again, with its money. S3 Only what the chain or the signer says for good comes here. */
import type { Turn } from '../../engine/turn.js'
import { pool } from '../treasury/facts.js'
import { release, settle } from '../treasury/ledger.js'
import { wallet } from '../wallet/machine.js'
import { noteOpen, type PayoutRef } from './admission.js'
import type { OpenPayouts } from './open-payouts.js'
import type { PayoutRules } from './rules.js'
import type { Block } from './transaction.js'

export interface Ending {
  readonly hash: string
  readonly block: Block
  /** False when it moved nothing. */
  readonly ok: boolean
  readonly fee: bigint
}

export interface PayoutWorld {
  readonly rules: PayoutRules
  readonly open: OpenPayouts
}

/** Paid or failed for good. What was paid by an earlier transaction (`isRepeat`) moves nothing on chain now. */
export function finish(turn: Turn, open: OpenPayouts, ref: PayoutRef, told: Ending, isRepeat = false): void {
  const { hash, block: at, ok, fee } = told
  const { wallet: name, payoutId, amount, campaign } = turn.context(ref)
  const event = ok
    ? ({ type: 'settled', hash, block: at, fee, at: turn.at } as const)
    : ({ type: 'reverted', hash, block: at } as const)
  if (!turn.step(ref, event)) return
  const post = ok ? settle : release
  post(turn, pool.parse(name), payoutId, amount, campaign)
  if (ok && !isRepeat) turn.step(wallet.ref(name), { type: 'settled', hash, height: at.height, amount })
  turn.change(open, { op: 'over', payoutId })
}

/** What was signed for it can never be mined. */
export function lose(turn: Turn, { rules, open }: PayoutWorld, ref: PayoutRef, because: string): void {
  if (!turn.step(ref, { type: 'lost', because, approvalsNeeded: rules.reviewApprovals })) return
  noteOpen(turn, open, ref, 'review')
  pauseIfForeign(turn, turn.context(ref).wallet, because)
}

/** Somebody else used a nonce of ours: nothing goes out until a person has looked (S4). */
export function pauseIfForeign(turn: Turn, name: string, because: string): void {
  if (because !== 'nonce_used_by_another') return
  turn.step(wallet.ref(name), { type: 'paused', because, by: 'system' })
}

/** Nothing was signed: it is held for a person because of that, or else queued again. Returns whether it was prepared. */
export function putBack(turn: Turn, { rules, open }: PayoutWorld, ref: PayoutRef, because: string | null): boolean {
  const { reviewApprovals: approvalsNeeded } = rules
  const event =
    because === null ? { type: 'unprepared' as const } : { type: 'refused' as const, because, approvalsNeeded }
  if (!turn.step(ref, event)) return false
  noteOpen(turn, open, ref, because === null ? 'queued' : 'review')
  return true
}

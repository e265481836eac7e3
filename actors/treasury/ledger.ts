/** What happens to the money of a pool: held, then paid or released. L1: minor units; L2: every posting sums to zero. */
import type { Turn } from '../../engine/turn.js'
import type { Pool } from './facts.js'
import { treasuryOf } from './machine.js'

/** Moves money from available to held, if there is enough. */
export function tryHold(turn: Turn, from: Pool, reference: string, amount: bigint): boolean {
  const account = treasuryOf(from)
  if (turn.balance(account, 'available') < amount) return false
  turn.post('comp.hold', reference, [
    { account, name: 'available', amount: -amount },
    { account, name: 'held', amount },
  ])
  return true
}

/** What was held has been paid for good. */
export function settle(turn: Turn, from: Pool, reference: string, amount: bigint): void {
  const account = treasuryOf(from)
  turn.post('payout.settle', reference, [
    { account, name: 'held', amount: -amount },
    { account, name: 'paid', amount },
  ])
}

/** What was held will not be paid. */
export function release(turn: Turn, from: Pool, reference: string, amount: bigint): void {
  const account = treasuryOf(from)
  turn.post('payout.release', reference, [
    { account, name: 'held', amount: -amount },
    { account, name: 'available', amount },
  ])
}

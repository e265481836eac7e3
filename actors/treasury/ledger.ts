/** What happens to the money of a pool: held, then paid or released. L1: minor units; L2: every posting sums to zero. */
import type { Turn } from '../../engine/turn.js'
import { wallet } from '../wallet/machine.js'
import { type Pool, treasuryFunded } from './facts.js'
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

/** Money that came in on chain. What was recorded by hand before is not counted again. */
export function deposit(turn: Turn, into: Pool, hash: string, amount: bigint): void {
  const purse = wallet.ref(into)
  const { unbacked } = turn.context(purse)
  const backed = unbacked < amount ? unbacked : amount
  if (backed > 0n) turn.step(purse, { type: 'backed', amount: backed })
  const credited = amount - backed
  if (credited === 0n) return
  const account = treasuryOf(into)
  turn.post('treasury.deposit', hash, [
    { account, name: 'funding', amount: -credited },
    { account, name: 'available', amount: credited },
  ])
  turn.emit(treasuryFunded.make({ pool: into, amount: credited, reference: hash, by: 'chain' }))
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

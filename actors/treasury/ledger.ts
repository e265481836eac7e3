/** What happens to the money of a pool, or of a campaign of it: held, then paid or released. L1: minor units; L2: every posting sums to zero. */
import type { ReadScope, Turn } from '../../engine/turn.js'
import { campaign as campaignActor, campaignIds } from '../campaign/machine.js'
import { wallet } from '../wallet/machine.js'
import { type Pool, treasuryFunded } from './facts.js'
import { treasuryOf } from './machine.js'

/** Whose money it is: the campaign's if one is named, otherwise the pool's. */
function ownerOf(pool: Pool, campaign: string | undefined) {
  return campaign === undefined ? treasuryOf(pool) : campaignActor.ref(campaign)
}

/** Moves money from available to held, if there is enough. */
export function tryHold(turn: Turn, from: Pool, reference: string, amount: bigint, campaign?: string): boolean {
  const account = ownerOf(from, campaign)
  if (turn.balance(account, 'available') < amount) return false
  turn.post('payout.hold', reference, [
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
export function settle(turn: Turn, from: Pool, reference: string, amount: bigint, campaign?: string): void {
  const account = ownerOf(from, campaign)
  turn.post('payout.settle', reference, [
    { account, name: 'held', amount: -amount },
    { account, name: 'paid', amount },
  ])
}

/** What was held will not be paid: it goes back to where it was held from. */
export function release(turn: Turn, from: Pool, reference: string, amount: bigint, campaign?: string): void {
  const account = ownerOf(from, campaign)
  turn.post('payout.release', reference, [
    { account, name: 'held', amount: -amount },
    { account, name: 'available', amount },
  ])
}

/** Moves money of a pool to one of its campaigns, if there is enough. */
export function tryGrant(turn: Turn, from: Pool, campaign: string, amount: bigint): boolean {
  const pool = treasuryOf(from)
  if (turn.balance(pool, 'available') < amount) return false
  turn.post('campaign.grant', campaign, [
    { account: pool, name: 'available', amount: -amount },
    { account: campaignActor.ref(campaign), name: 'available', amount },
  ])
  return true
}

/** Moves what a campaign has left back to its pool; returns how much that was. */
export function takeBack(turn: Turn, to: Pool, campaign: string): bigint {
  const from = campaignActor.ref(campaign)
  const amount = turn.balance(from, 'available')
  if (amount === 0n) return 0n
  turn.post('campaign.return', campaign, [
    { account: from, name: 'available', amount: -amount },
    { account: treasuryOf(to), name: 'available', amount },
  ])
  return amount
}

export interface PoolBalances {
  /** In no campaign. */
  readonly available: bigint
  /** In campaigns, and not held. */
  readonly campaigns: bigint
  /** In and out of campaigns. */
  readonly held: bigint
  readonly paid: bigint
  /** Everything that is not paid: what its wallet holds. */
  readonly onWallet: bigint
}

/** A pool together with its campaigns, closed ones too: their money is on one wallet. */
export function balancesOf(scope: ReadScope, pool: Pool): PoolBalances {
  const own = treasuryOf(pool)
  const available = scope.balance(own, 'available')
  let held = scope.balance(own, 'held')
  let paid = scope.balance(own, 'paid')
  let campaigns = 0n
  const { open, closed } = campaignIds(scope)
  for (const id of [...open, ...closed]) {
    const ref = campaignActor.ref(id)
    if (scope.context(ref).pool !== pool) continue
    campaigns += scope.balance(ref, 'available')
    held += scope.balance(ref, 'held')
    paid += scope.balance(ref, 'paid')
  }
  return { available, campaigns, held, paid, onWallet: available + campaigns + held }
}

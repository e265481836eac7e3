// What must be true of payouts when nothing is under way: the ledger, the journal and the chain hold the same.
import {
  distributionDropped,
  distributionMoved,
  distributionPrepared,
  payoutMoved,
  payoutRequested,
  payoutSettled,
} from '../../actors/payout/facts.js'
import { treasuryReconciled } from '../../actors/treasury/facts.js'
import type { PayoutWorld } from './payouts.js'

export interface Audit {
  /** In words; empty when all is well. */
  readonly problems: readonly string[]
  readonly settled: number
  /** Failed, cancelled or held for a person. */
  readonly unpaid: number
  /** Between the chain and the ledger, beyond what was stolen. */
  readonly difference: bigint
}

/**
 * `began` is what the wallet held on chain before it paid anything. What was `stolen` with its key is told as exactly that
 * difference, and is the only one.
 */
export async function audit(world: PayoutWorld, began: bigint, stolen = 0n): Promise<Audit> {
  const problems: string[] = []
  const must = (isSo: boolean, what: string) => void (isSo || problems.push(what))
  const requested = world.facts(payoutRequested)
  const states = new Map<string, { state: string; to: string | null; nonce: number | null; attempt: number }>()
  for (const moved of world.facts(payoutMoved)) states.set(moved.payoutId, moved)
  const owed = new Map<string, bigint>()
  let paid = 0n
  let held = 0n
  let settled = 0
  for (const { payoutId, amount } of requested) {
    const { state = 'waiting', to = null } = states.get(payoutId) ?? {}
    if (to !== null && !owed.has(to)) owed.set(to, 0n)
    if (state === 'settled' && to !== null) {
      owed.set(to, (owed.get(to) ?? 0n) + amount)
      paid += amount
      settled += 1
    } else if (state === 'review' || state === 'waiting') held += amount
    else must(state === 'failed' || state === 'cancelled', `S3: ${payoutId} is ${state} for ever`)
  }
  for (const [to, amount] of owed) {
    const got = await world.bench.balanceOf(to)
    must(got === amount, `paid exactly once: ${to} got ${got} and the ledger says ${amount}`)
  }
  const settlements = world.facts(payoutSettled).map(({ payoutId }) => payoutId)
  must(new Set(settlements).size === settlements.length, 'a payout was settled twice')
  const stand = await world.stand()
  const onChain = (await world.chain.holdings()).asset
  must(onChain === began - paid - stolen, `sum on chain: ${began - onChain} left the wallet and ${paid} was settled`)
  must(stand.paid === paid, `the ledger says that ${stand.paid} was paid and the payouts ${paid}`)
  must(stand.held === held, `the ledger holds ${stand.held} for payouts of ${held}`)
  must(stand.pausedBecause === null, `the wallet is paused: ${stand.pausedBecause}`)
  problems.push(...(await nonceProblems(world)))
  const { status } = await world.oversight.reconcile('continuous')
  const difference = (world.facts(treasuryReconciled).at(-1)?.difference ?? 0n) + stolen
  const expected = stolen === 0n ? 'balanced' : 'discrepancy'
  must(status === expected && difference === 0n, `reconciled: ${status}, difference ${difference}`)
  return { problems, settled, unpaid: requested.length - settled, difference }
}

/** S2: every nonce that was used belongs to one payout, and none is missing. */
async function nonceProblems(world: PayoutWorld): Promise<string[]> {
  const used = await world.chain.nonces()
  if (used === null) return []
  const problems: string[] = []
  const owners = new Map<number, string>()
  // Payouts of a distribution share its nonce, which is the distribution's.
  const dropped = new Set(world.facts(distributionDropped).map(({ distributionId }) => distributionId))
  const distributions = world.facts(distributionPrepared).filter(({ distributionId }) => !dropped.has(distributionId))
  const shared = new Set(
    distributions.flatMap(({ nonces, payoutIds }) => payoutIds.map((id) => `${id} ${nonces.at(-1)}`)),
  )
  const steps = world.facts(distributionMoved).flatMap(({ distributionId, kind, nonce, state }) => {
    return state === 'signed' ? { owner: `${distributionId}.${kind}`, nonce } : []
  })
  const payouts = world.facts(payoutMoved).flatMap(({ payoutId, attempt, nonce, state }) => {
    if (nonce === null || state !== 'signed' || shared.has(`${payoutId} ${nonce}`)) return []
    return { owner: `${payoutId}#${attempt}`, nonce }
  })
  for (const { owner, nonce } of [...payouts, ...steps]) {
    const before = owners.get(nonce)
    if (before !== undefined && before !== owner) problems.push(`nonce ${nonce} was signed for ${before} and ${owner}`)
    owners.set(nonce, owner)
  }
  for (let nonce = 0; nonce < owners.size; nonce++) {
    if (!owners.has(nonce)) problems.push(`nonce ${nonce} was never signed with, and ${owners.size} were`)
  }
  const { nextNonce, freeNonces } = await world.stand()
  const given = (nextNonce ?? 0) - freeNonces.length
  if (given !== owners.size) problems.push(`${given} nonces are given and ${owners.size} were signed with`)
  if (used.mined !== owners.size)
    problems.push(`the chain saw ${used.mined} nonces and ${owners.size} were signed with`)
  return problems
}

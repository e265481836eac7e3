/** Where the money of a prize comes from, and what happens when there is not enough of it (BJ-COMP-07). */
import type { Turn } from '../../engine/turn.js'
import { runningFor } from '../campaign/machine.js'
import type { CompType } from '../programs/rules.js'
import type { Pool } from './facts.js'
import { tryHold } from './ledger.js'
import type { UnfundedComps } from './unfunded-comps.js'

/** Pays prizes that no campaign pays for. */
export const PRIZE_POOL: Pool = 'member'

/** Who pays: from the wallet of a pool, out of the pool's money or out of that of its campaign. */
export interface CompSource {
  readonly wallet: Pool
  readonly campaign?: string
}

interface Prize {
  readonly compId: string
  readonly userId: string
  readonly compType: CompType
  /** Minor units; zero when it is no money. */
  readonly amount: bigint
}

/**
 * Holds the money of a prize that is won now; what is short waits for funds, and never takes them from elsewhere. It
 * also waits while older ones of the same source do, or small prizes would for ever take what a large one waits for.
 */
export function fundPrize(
  turn: Turn,
  unfunded: UnfundedComps,
  { compId, userId, compType, amount }: Prize,
): { readonly funded: boolean; readonly source: CompSource } {
  if (amount === 0n) return { funded: true, source: { wallet: PRIZE_POOL } }
  const running = runningFor(turn, compType)
  const source = running === null ? { wallet: PRIZE_POOL } : { wallet: running.pool, campaign: running.id }
  const isFirst = unfunded.total(running?.id).count === 0
  const funded = isFirst && tryHold(turn, source.wallet, compId, amount, running?.id)
  if (!funded) {
    turn.change(unfunded, { op: 'waits', compId, userId, amount, ...(running && { campaign: running.id }) })
  }
  return { funded, source }
}

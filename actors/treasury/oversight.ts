/**
 * Holds the ledger against the chain. What the chain says comes as inputs; what follows from it is decided here, against
 * the ledger of the same turn. A difference that nothing explains stops the wallet (BJ-PAY-07, BJ-REC-03).
 */
import { z } from 'zod'
import { type Command, defineCommand } from '../../engine/command.js'
import type { Turn } from '../../engine/turn.js'
import type { OpenPayouts } from '../payout/open-payouts.js'
import { type WalletContext, wallet } from '../wallet/machine.js'
import {
  foreignTransferSeen,
  type Pool,
  pool,
  reconcileCause,
  treasuryReconciled,
  treasurySnapshotTaken,
} from './facts.js'
import { balancesOf, deposit } from './ledger.js'

/** Payments looked at in one turn, unless a single block has more: blocks are not divided. */
export const MOVEMENTS_PER_TURN_MAX = 200
const MOVEMENTS_PER_BLOCK_MAX = 20_000

export interface OversightRules {
  /** How far the daily comparison may be off, in minor units (BJ-REC-01). */
  readonly toleranceDaily: bigint
}

const movement = z.object({ hash: z.string(), height: z.number(), counterparty: z.string(), amount: z.bigint() })
export type Movement = z.output<typeof movement>

const holdings = {
  pool,
  height: z.number().int().min(0),
  onChain: z.bigint(),
}

export function oversightCommands(
  rules: OversightRules,
  open: OpenPayouts,
  fundWaiting: Command<Record<string, never>>,
) {
  /**
   * Payments in final blocks `from` to `through` (BJ-WAL-08), in which no payout is still under way. Those that came in
   * are credited; those that went out are settled payouts or foreign. Blocks that were looked at before change nothing.
   */
  const watch = defineCommand({
    name: 'treasury.watch',
    input: z.object({
      pool,
      from: z.number().int(),
      through: z.number().int(),
      deposits: z.array(movement).max(MOVEMENTS_PER_BLOCK_MAX),
      withdrawals: z.array(movement).max(MOVEMENTS_PER_BLOCK_MAX),
    }),
    who: 'system',
    actors: () => [],
    handle: (turn, { pool: name, from, through, deposits, withdrawals }) => {
      const ref = wallet.ref(name)
      const { watchedThrough, unwatched } = turn.context(ref)
      if (watchedThrough !== from - 1) return { taken: false }
      const foreign = unexplained(withdrawals, unwatched)
      turn.step(ref, { type: 'watched', through })
      for (const { hash, amount } of deposits) deposit(turn, name, hash, amount)
      if (deposits.length > 0 && name === 'member') turn.tell(fundWaiting, {})
      for (const { hash, height, counterparty, amount } of foreign) {
        turn.emit(foreignTransferSeen.make({ pool: name, hash, height, to: counterparty, amount }))
      }
      if (foreign.length > 0) turn.step(ref, { type: 'paused', because: 'foreign_transfer', by: 'system' })
      return { taken: true }
    },
  })

  const takeSnapshot = defineCommand({
    name: 'treasury.take_snapshot',
    input: z.object(holdings),
    who: 'system',
    actors: () => [],
    handle: (turn, seen) => {
      turn.emit(treasurySnapshotTaken.make({ ...seen, ...ledgerAt(turn, open, seen.pool) }))
      return null
    },
  })

  /**
   * Compares at the block height that was watched through, where every payment is known: nothing under way can explain a
   * difference. The continuous check knows no tolerance, the daily one has its own (BJ-REC-01, BJ-T40).
   */
  const reconcile = defineCommand({
    name: 'treasury.reconcile',
    input: z.object({ ...holdings, cause: reconcileCause }),
    who: 'system',
    actors: () => [],
    handle: (turn, { cause, ...seen }) => {
      if (turn.context(wallet.ref(seen.pool)).watchedThrough !== seen.height) return { status: 'pending' as const }
      const { ledger, inFlight } = ledgerAt(turn, open, seen.pool)
      const difference = seen.onChain - ledger
      const tolerance = cause === 'continuous' ? 0n : rules.toleranceDaily
      const isBalanced = (difference < 0n ? -difference : difference) <= tolerance
      const status = isBalanced ? ('balanced' as const) : ('discrepancy' as const)
      turn.emit(treasuryReconciled.make({ ...seen, ledger, inFlight, difference, status, cause }))
      if (!isBalanced) {
        turn.step(wallet.ref(seen.pool), { type: 'paused', because: 'discrepancy', by: 'system' })
      }
      return { status, difference, ledger, inFlight, ...seen }
    },
  })

  return { watch, takeSnapshot, reconcile }
}

/** Each payout explains one movement of its amount: a transaction may pay many, and no more than were settled by it. */
function unexplained(withdrawals: readonly Movement[], settled: WalletContext['unwatched']): Movement[] {
  const left = [...settled]
  return withdrawals.filter(({ hash, amount }) => {
    const found = left.findIndex((payout) => payout.hash === hash && payout.amount === amount)
    if (found >= 0) left.splice(found, 1)
    return found < 0
  })
}

/** What the wallet must hold at the height that was watched through; and, of that, what is on its way out. */
function ledgerAt(turn: Turn, open: OpenPayouts, name: Pool): { ledger: bigint; inFlight: bigint } {
  const { unwatched, unbacked } = turn.context(wallet.ref(name))
  const settledLater = unwatched.reduce((sum, { amount }) => sum + amount, 0n)
  const ledger = balancesOf(turn, name).onWallet + settledLater - unbacked
  return { ledger, inFlight: open.total(name, 'in_flight').amount }
}

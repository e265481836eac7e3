/**
 * Deposits from elsewhere into members' wallets, as the chain tells them.
 *
 * D1 Blocks are taken in order and once, so that a deposit is recorded once, whoever tells it how often.
 */
import { z } from 'zod'
import { defineCommand, defineQuery } from '../../engine/command.js'
import { DomainError } from '../../engine/errors.js'
import { TRANSFER_AMOUNT_MAX } from '../withdrawal/transfer.js'
import { depositSeen } from './facts.js'
import { memberDeposits } from './machine.js'

/** Deposits recorded in one turn, unless a single block has more: blocks are not divided. */
export const DEPOSITS_PER_TURN_MAX = 200
const DEPOSITS_PER_BLOCK_MAX = 20_000

const deposit = z.object({
  userId: z.string(),
  hash: z.string(),
  index: z.number().int(),
  height: z.number().int(),
  from: z.string(),
  to: z.string(),
  amount: z.bigint().max(TRANSFER_AMOUNT_MAX),
})
export type Deposit = z.output<typeof deposit>

export function depositCommands() {
  /** From the block after `through` on deposits are watched; what was watched on this chain before stays so. */
  const beginDeposits = defineCommand({
    name: 'deposit.begin',
    input: z.object({ chain: z.string(), through: z.number().int() }),
    who: 'system',
    actors: () => [],
    handle: (turn, { chain, through }) => {
      if (turn.context(memberDeposits).chain !== chain) turn.step(memberDeposits, { type: 'watched', chain, through })
      return null
    },
  })

  /** All in final blocks `from` to `through`; blocks that were looked at before change nothing. */
  const watchDeposits = defineCommand({
    name: 'deposit.watch',
    input: z.object({
      chain: z.string(),
      from: z.number().int(),
      through: z.number().int(),
      deposits: z.array(deposit).max(DEPOSITS_PER_BLOCK_MAX),
    }),
    who: 'system',
    actors: () => [],
    handle: (turn, { chain, from, through, deposits }) => {
      const known = turn.context(memberDeposits)
      if (known.chain !== chain)
        throw new DomainError('conflict', 'chain_changed', `Deposits of ${known.chain} are watched.`)
      if (known.watchedThrough !== from - 1) return { taken: false } // D1
      turn.step(memberDeposits, { type: 'watched', chain, through })
      for (const each of deposits) turn.emit(depositSeen.make(each))
      return { taken: true }
    },
  })

  return { beginDeposits, watchDeposits }
}

export function depositQueries() {
  const depositsWatched = defineQuery({
    name: 'deposit.watched',
    actors: () => [],
    read: (scope, _: Record<string, never>) => scope.context(memberDeposits),
  })
  return { depositsWatched }
}

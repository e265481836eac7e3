import { z } from 'zod'
import { defineCommand } from '../../engine/command.js'
import { DomainError } from '../../engine/errors.js'
import { campaign } from '../campaign/machine.js'
import type { PayoutCommands } from '../payout/commands.js'
import { compPayout } from '../payout/commands.js'
import type { MemberAccess } from '../user/access.js'
import { wallet } from '../wallet/machine.js'
import { PRIZE_POOL } from './comp-funding.js'
import { compFunded, pool, treasuryFunded } from './facts.js'
import { tryHold } from './ledger.js'
import { treasuryOf } from './machine.js'
import type { UnfundedComps } from './unfunded-comps.js'

/** Comps funded in one turn; the rest follow in turns of their own, so that no turn grows without bound. */
const FUNDED_PER_TURN_MAX = 500

/** Micro-USDT ever paid into a pool: beyond any real money, and well within the 64 bits that records hold. */
const PAID_IN_MAX = 10n ** 18n

export type TreasuryCommands = ReturnType<typeof treasuryCommands>

export function treasuryCommands(
  access: MemberAccess,
  unfunded: UnfundedComps,
  { requestPayout }: Pick<PayoutCommands, 'requestPayout'>,
) {
  /** Holds money for the comps that wait for a campaign, or for the pool, oldest first, as far as it reaches. */
  const fundWaiting = defineCommand({
    name: 'treasury.fund_waiting',
    input: z.object({ campaign: z.string().optional() }),
    who: 'system',
    actors: () => [],
    handle: (turn, args): { funded: number } => {
      const { campaign: id } = args
      const source =
        id === undefined ? { wallet: PRIZE_POOL } : { wallet: turn.context(campaign.ref(id)).pool, campaign: id }
      let funded = 0
      for (const { compId, userId, amount } of unfunded.waiting(id)) {
        if (funded === FUNDED_PER_TURN_MAX) {
          turn.tell(fundWaiting, args)
          break
        }
        if (!tryHold(turn, source.wallet, compId, amount, id)) break
        turn.change(unfunded, { op: 'funded', compId })
        turn.emit(compFunded.make({ compId, userId, amount }))
        turn.tell(requestPayout, compPayout(compId, userId, amount, source))
        funded += 1
      }
      return { funded }
    },
  })

  /** Records money paid into a pool. The reference is the natural key: the same deposit counts once, for ever. */
  const fund = defineCommand({
    name: 'treasury.fund',
    input: z.object({ pool, amount: z.bigint().positive(), reference: z.string().min(1).max(128) }),
    who: 'admin',
    actors: (_, who) => access.refsOf(who),
    naturalKey: ({ reference }) => reference,
    handle: (turn, { pool: into, amount, reference }) => {
      const by = access.requireAdmin(turn)
      const account = treasuryOf(into)
      if (amount - turn.balance(account, 'funding') > PAID_IN_MAX) {
        throw new DomainError('unprocessable', 'amount_too_large', 'No pool is paid in so much.', { field: 'amount' })
      }
      turn.post('treasury.fund', reference, [
        { account, name: 'funding', amount: -amount },
        { account, name: 'available', amount },
      ])
      // A deposit on chain follows, and must not count twice.
      if (turn.context(wallet.ref(into)).address !== null) {
        turn.step(wallet.ref(into), { type: 'announced', amount })
      }
      turn.emit(treasuryFunded.make({ pool: into, amount, reference, by }))
      if (into === PRIZE_POOL) turn.tell(fundWaiting, {})
      return { available: turn.balance(account, 'available'), held: turn.balance(account, 'held') }
    },
  })

  return { fund, fundWaiting }
}

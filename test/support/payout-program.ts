// BlakJaks as the tests of payouts run it.
import assert from 'node:assert/strict'
import { z } from 'zod'
import { compPayout } from '../../actors/payout/commands.js'
import { createLoyaltyProgram } from '../../actors/programs/loyalty.js'
import type { LoyaltyRules } from '../../actors/programs/rules.js'
import { tryHold } from '../../actors/treasury/ledger.js'
import { type Command, defineCommand } from '../../engine/command.js'
import { type LoyaltyOptions, startLoyalty } from './loyalty.js'

export const WALLET = 'member'

/** BlakJaks with one command more: somebody wins, without the five hundred scans. */
export function programOf(rules: LoyaltyRules) {
  const loyalty = createLoyaltyProgram('blakjaks', rules)
  const { requestPayout } = loyalty.commands
  const award = defineCommand({
    name: 'test.award',
    input: z.object({ payoutId: z.string(), userId: z.string(), amount: z.bigint() }),
    who: 'system',
    actors: () => [],
    handle: (turn, { payoutId, userId, amount }) => {
      assert.ok(tryHold(turn, WALLET, payoutId, amount), 'the pool holds it')
      turn.tell(requestPayout, compPayout(payoutId, userId, amount))
      return null
    },
  })
  const commands = [...loyalty.program.commands, award as unknown as Command]
  return { loyalty: { ...loyalty, program: { ...loyalty.program, commands } }, award }
}

export async function start(rules: LoyaltyRules, options: Pick<LoyaltyOptions, 'at' | 'after'>) {
  const { loyalty: program, award } = programOf(rules)
  return { loyalty: await startLoyalty({ program, ...options }), award }
}

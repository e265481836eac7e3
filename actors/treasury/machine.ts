/** A treasury pool: its ledger accounts, nothing else yet. Accounts and holds are what the core decides on. */
import { setup } from 'xstate'
import { defineActor } from '../../engine/actor.js'
import type { Pool } from './facts.js'

const machine = setup({
  types: { context: {} as Record<string, never>, events: {} as { type: 'opened' } },
}).createMachine({
  id: 'treasury',
  initial: 'open',
  context: {},
  states: { open: {} },
})

export const treasury = defineActor({
  type: 'treasury',
  machine,
  residency: 'pinned',
  accounts: {
    /** Where money comes from: the mirror of all that was ever paid in. */
    funding: { currency: 'USDT', mayGoNegative: true },
    available: { currency: 'USDT', mayGoNegative: false },
    /** Set aside for comps and transfers that are not paid yet. */
    held: { currency: 'USDT', mayGoNegative: false },
    /** All that was ever paid out. */
    paid: { currency: 'USDT', mayGoNegative: false },
  },
})

export function treasuryOf(pool: Pool) {
  return treasury.ref(pool)
}

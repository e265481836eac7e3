/** How far the chain was looked through for deposits into members' wallets. */
import { setup } from 'xstate'
import { defineActor } from '../../engine/actor.js'
import { deciderFor } from '../../engine/decide.js'

export interface DepositWatchContext {
  /** Null before anything was watched. */
  readonly chain: string | null
  /** The last block that was looked at. */
  readonly watchedThrough: number
}

export type DepositWatchEvent = { type: 'watched'; chain: string; through: number }

const decide = deciderFor<DepositWatchContext, DepositWatchEvent>()

const machine = setup({
  types: { context: {} as DepositWatchContext, events: {} as DepositWatchEvent },
}).createMachine({
  id: 'deposit-watch',
  initial: 'watching',
  context: { chain: null, watchedThrough: 0 },
  states: {
    watching: {
      on: {
        watched: {
          actions: decide((_, { chain, through }: DepositWatchEvent) => ({
            context: { chain, watchedThrough: through },
          })),
        },
      },
    },
  },
})

export const depositWatch = defineActor({ type: 'deposit-watch', machine, residency: 'pinned' })
export const memberDeposits = depositWatch.ref('members')

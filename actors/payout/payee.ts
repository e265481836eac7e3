/** Who is paid: a member or a bare address; where, and how much today. */
import { setup } from 'xstate'
import { defineActor } from '../../engine/actor.js'
import { type Decision as DecisionOn, deciderFor } from '../../engine/decide.js'
import { payeeAddressSet } from './facts.js'

export interface PayeeContext {
  readonly address: string | null
  /** What was let go out to this payee on a day (UTC, as days since 1970), in minor units. */
  readonly day: number
  readonly dayAmount: bigint
}

export type PayeeEvent =
  | { type: 'address.set'; userId: string; address: string; provider: 'external' | 'development' }
  | { type: 'outflow.counted'; day: number; amount: bigint }
type Of<Type extends PayeeEvent['type']> = Extract<PayeeEvent, { type: Type }>

const decide = deciderFor<PayeeContext, PayeeEvent>()

const machine = setup({
  types: { context: {} as PayeeContext, events: {} as PayeeEvent },
}).createMachine({
  id: 'payee',
  initial: 'known',
  context: { address: null, day: 0, dayAmount: 0n },
  states: {
    known: {
      on: {
        'address.set': {
          actions: decide(
            (_, { userId, address, provider }: Of<'address.set'>): DecisionOn<PayeeContext> => ({
              context: { address },
              facts: [payeeAddressSet.make({ userId, address, provider })],
            }),
          ),
        },
        'outflow.counted': {
          actions: decide(({ day: before, dayAmount }, { day, amount }: Of<'outflow.counted'>) => ({
            context: { day, dayAmount: (day === before ? dayAmount : 0n) + amount },
          })),
        },
      },
    },
  },
})

export const payee = defineActor({ type: 'payee', machine, residency: 'cached' })

/** A batch of codes being generated (BJ-QR-04). The codes themselves are in the code book. */
import { setup } from 'xstate'
import { defineActor } from '../../engine/actor.js'
import { deciderFor } from '../../engine/decide.js'
import { batchCompleted } from './facts.js'

export interface BatchContext {
  readonly number: number
  readonly name: string
  readonly sku: string
  /** Codes wanted. */
  readonly quantity: number
  /** Codes in the book so far. */
  readonly generated: number
  readonly checksum: boolean
  readonly createdAt: number
}

type BatchEvent =
  | { type: 'batch.opened'; number: number; name: string; sku: string; quantity: number; checksum: boolean; at: number }
  | { type: 'codes.added'; count: number }
type Of<Type extends BatchEvent['type']> = Extract<BatchEvent, { type: Type }>

const decide = deciderFor<BatchContext, BatchEvent>()
const isLast = (context: BatchContext, count: number) => context.generated + count >= context.quantity

const machine = setup({ types: { context: {} as BatchContext, events: {} as BatchEvent } }).createMachine({
  id: 'batch',
  initial: 'new',
  context: { number: 0, name: '', sku: '', quantity: 0, generated: 0, checksum: false, createdAt: 0 },
  states: {
    new: {
      on: {
        'batch.opened': {
          target: 'generating',
          actions: decide((_, { type: _type, at, ...fields }: Of<'batch.opened'>) => ({
            context: { ...fields, createdAt: at },
          })),
        },
      },
    },
    generating: {
      on: {
        'codes.added': [
          {
            guard: ({ context, event }) => isLast(context, event.count),
            target: 'complete',
            actions: decide((context, { count }: Of<'codes.added'>) => ({
              context: { generated: context.generated + count },
              facts: [batchCompleted.make({ batch: context.number, quantity: context.quantity })],
            })),
          },
          {
            actions: decide((context, { count }: Of<'codes.added'>) => ({
              context: { generated: context.generated + count },
            })),
          },
        ],
      },
    },
    complete: {},
  },
})

export const batchActor = defineActor({ type: 'batch', machine, residency: 'pinned' })

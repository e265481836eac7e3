/** A message from its posting to its end, and how many reacted to it. Who reacted with what is in `reaction`. */
import { setup } from 'xstate'
import { defineActor } from '../../engine/actor.js'
import { deciderFor } from '../../engine/decide.js'
import type { Message } from './facts.js'

export type MessageEvent =
  | { type: 'edited'; text: string; mentions: readonly string[]; at: number; isFlagged: boolean }
  | { type: 'deleted'; at: number }
  | { type: 'reacted'; emoji: string; isOn: boolean }
  | { type: 'pinned' }
  | { type: 'unpinned' }
  | { type: 'flagged' }
  | { type: 'kept' }
  | { type: 'removed'; at: number }
type Of<Type extends MessageEvent['type']> = Extract<MessageEvent, { type: Type }>

const decide = deciderFor<Message, MessageEvent>()

function edit(_: Message, { text, mentions, at, isFlagged }: Of<'edited'>) {
  return {
    context: { text, mentions: [...mentions], editedAt: at, ...(isFlagged ? { status: 'flagged' as const } : {}) },
  }
}

function react({ reactions }: Message, { emoji, isOn }: Of<'reacted'>) {
  const count = (reactions[emoji] ?? 0) + (isOn ? 1 : -1)
  const { [emoji]: _, ...others } = reactions
  return { context: { reactions: count === 0 ? others : { ...reactions, [emoji]: count } } }
}

const machine = setup({
  types: { context: {} as Message, events: {} as MessageEvent, input: {} as Message },
}).createMachine({
  id: 'message',
  initial: 'visible',
  context: ({ input }) => input,
  states: {
    visible: {
      on: {
        edited: { actions: decide(edit) },
        reacted: { actions: decide(react) },
        pinned: { actions: decide(() => ({ context: { isPinned: true } })) },
        unpinned: { actions: decide(() => ({ context: { isPinned: false } })) },
        flagged: { actions: decide(() => ({ context: { status: 'flagged' as const } })) },
        kept: { actions: decide(() => ({ context: { status: 'approved' as const } })) },
        deleted: {
          target: 'gone',
          actions: decide((_, { at }: Of<'deleted'>) => ({ context: { deletedAt: at, isPinned: false } })),
        },
        removed: {
          target: 'gone',
          actions: decide((_, { at }: Of<'removed'>) => ({
            context: { deletedAt: at, isPinned: false, status: 'removed' as const },
          })),
        },
      },
    },
    gone: {},
  },
})

export const message = defineActor({ type: 'message', machine, residency: 'cached' })

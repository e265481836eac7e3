/** The emoji of one member on one message (BJ-CHAT-05). */
import { setup } from 'xstate'
import { type ActorRef, defineActor } from '../../engine/actor.js'
import { deciderFor } from '../../engine/decide.js'

interface ReactionContext {
  readonly emojis: readonly string[]
}
type ReactionEvent = { type: 'set'; emoji: string; isOn: boolean }

const decide = deciderFor<ReactionContext, ReactionEvent>()

const machine = setup({
  types: { context: {} as ReactionContext, events: {} as ReactionEvent },
}).createMachine({
  id: 'reaction',
  initial: 'known',
  context: { emojis: [] },
  states: {
    known: {
      on: {
        set: {
          actions: decide(({ emojis }, { emoji, isOn }: ReactionEvent) => {
            const others = emojis.filter((each) => each !== emoji)
            return { context: { emojis: isOn ? [...others, emoji] : others } }
          }),
        },
      },
    },
  },
})

export const reaction = defineActor({ type: 'reaction', machine, residency: 'cached' })

export function reactionOf(messageId: string, userId: string): ActorRef<typeof machine> {
  return reaction.ref(`${messageId}:${userId}`)
}

/** The channels there are, and what the program's chat decides for all of them: word rules and emotes. */
import { setup } from 'xstate'
import { defineActor } from '../../engine/actor.js'
import { deciderFor } from '../../engine/decide.js'
import { type WordRule, wordRulesSet } from './facts.js'

interface ChannelListContext {
  readonly channelIds: readonly string[]
  readonly wordRules: readonly WordRule[]
  /** Codes of the emotes everybody has; null while they are not known, and any code is taken (BJ-EMO-02). */
  readonly emotes: readonly string[] | null
}
type ChannelListEvent =
  | { type: 'added'; channelId: string }
  | { type: 'rules.set'; rules: readonly WordRule[]; by: string }
  | { type: 'emotes.set'; codes: readonly string[] }
type Of<Type extends ChannelListEvent['type']> = Extract<ChannelListEvent, { type: Type }>

const decide = deciderFor<ChannelListContext, ChannelListEvent>()

const machine = setup({
  types: { context: {} as ChannelListContext, events: {} as ChannelListEvent },
}).createMachine({
  id: 'channel-list',
  initial: 'known',
  context: { channelIds: [], wordRules: [], emotes: null },
  states: {
    known: {
      on: {
        added: {
          actions: decide(({ channelIds }, { channelId }: Of<'added'>) => ({
            context: { channelIds: [...channelIds, channelId] },
          })),
        },
        'rules.set': {
          actions: decide((_, { rules, by }: Of<'rules.set'>) => ({
            context: { wordRules: rules },
            facts: [wordRulesSet.make({ rules: [...rules], by })],
          })),
        },
        'emotes.set': {
          actions: decide((_, { codes }: Of<'emotes.set'>) => ({ context: { emotes: codes } })),
        },
      },
    },
  },
})

const channelList = defineActor({ type: 'channel-list', machine, residency: 'pinned' })

/** There is one a program. */
export const theChannels = channelList.ref('chat')
export const channelListActor = channelList

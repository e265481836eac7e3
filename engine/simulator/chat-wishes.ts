/** What clients of the chat ask for: drawn with the other steps, and turned into commands of the program. */
import type { LoyaltyProgram } from '../../actors/programs/loyalty.js'
import { type Command, type Principal, system } from '../command.js'
import { CHANNELS, uuid } from './program.js'
import type { Random } from './random.js'

const texts = ['one', 'two', '@member1 look', '@MEMBER2 @member2', 'https://example.com', ''] as const
const emojis = ['👍', '🎉'] as const
const lengths = ['1h', '24h', '7d'] as const
const BACK_MAX = 6

/** Messages are counted back from the last one that was sent. */
export type ChatStep =
  | { readonly kind: 'post'; readonly member: number; readonly channelId: string; readonly text: string }
  | { readonly kind: 'reply'; readonly member: number; readonly channelId: string; readonly back: number }
  | { readonly kind: 'edit'; readonly member: number; readonly back: number; readonly text: string }
  | { readonly kind: 'delete'; readonly member: number; readonly back: number }
  | {
      readonly kind: 'react'
      readonly member: number
      readonly back: number
      readonly emoji: string
      readonly isOn: boolean
    }
  | { readonly kind: 'pin'; readonly back: number; readonly isOn: boolean }
  | { readonly kind: 'moderate'; readonly back: number; readonly verdict: 'flag' | 'remove' }
  | { readonly kind: 'time out'; readonly member: number; readonly length: (typeof lengths)[number] | null }
  | { readonly kind: 'read'; readonly member: number; readonly channelId: string; readonly number: number }
  | { readonly kind: 'open'; readonly member: number; readonly channelId: string }
  | { readonly kind: 'say'; readonly member: number; readonly channelId: string }

export const chatWeights = {
  ...{ post: 10, reply: 2, edit: 2, delete: 1, react: 5, pin: 2, moderate: 1, 'time out': 1, read: 2, open: 2, say: 6 },
} as const satisfies Readonly<Record<ChatStep['kind'], number>>

export const isChatKind = (kind: string): kind is ChatStep['kind'] => kind in chatWeights

export function drawChatStep(random: Random, kind: ChatStep['kind'], member: number): ChatStep {
  const channelId = random.pick(CHANNELS)
  const back = random.int(0, BACK_MAX)
  switch (kind) {
    case 'post':
      return { kind, member, channelId, text: random.pick(texts) }
    case 'reply':
      return { kind, member, channelId, back }
    case 'edit':
      return { kind, member, back, text: random.pick(texts) }
    case 'delete':
      return { kind, member, back }
    case 'react':
      return { kind, member, back, emoji: random.pick(emojis), isOn: random.chance(0.7) }
    case 'pin':
      return { kind, back, isOn: random.chance(0.6) }
    case 'moderate':
      return { kind, back, verdict: random.pick(['flag', 'remove'] as const) }
    case 'time out':
      return { kind, member, length: random.chance(0.5) ? random.pick(lengths) : null }
    case 'read':
      return { kind, member, channelId, number: random.int(0, 20) }
    case 'open':
    case 'say':
      return { kind, member, channelId }
  }
}

const rushKinds = ['post', 'say', 'react', 'pin'] as const

/** One of many things said in one channel at the same time. */
export function drawRushStep(random: Random, member: number, channel: number): ChatStep {
  const step = drawChatStep(random, random.pick(rushKinds), member)
  if ('channelId' in step) return { ...step, channelId: CHANNELS[channel] ?? step.channelId }
  return 'back' in step ? { ...step, back: random.int(0, 1) } : step
}

export interface Asked {
  readonly command: Command
  readonly args: unknown
  readonly who: Principal
}

const ask = <Args>(command: Command<Args>, args: Args, who: Principal): Asked => ({ command, args, who }) as Asked

/** The ids of messages as the edge draws them. */
export class ChatWishes {
  #messages = 0

  constructor(readonly program: Pick<LoyaltyProgram, 'chat'>) {}

  /** The channels, and the members who come into them: what every run begins with. */
  beginning(members: readonly Principal[]): readonly Asked[] {
    const { openDefaults } = this.program.chat.commands.channels
    const { enter } = this.program.chat.commands.chat
    return [ask(openDefaults, {}, system), ...members.map(({ userId }) => ask(enter, { userId }, system))]
  }

  of(step: Exclude<ChatStep, { kind: 'open' | 'say' }>, who: Principal): Asked {
    const { chat, moderation } = this.program.chat.commands
    const messageId = 'back' in step ? uuid('c0', this.#messages - step.back) : ''
    switch (step.kind) {
      case 'post':
        return ask(chat.post, this.#message(step.channelId, step.text, null), who)
      case 'reply':
        return ask(chat.post, this.#message(step.channelId, 'yes', messageId), who)
      case 'edit':
        return ask(chat.edit, { messageId, text: step.text }, who)
      case 'delete':
        return ask(chat.remove, { messageId }, who)
      case 'react':
        return ask(chat.react, { messageId, emoji: step.emoji, isOn: step.isOn }, who)
      case 'pin':
        return ask(step.isOn ? moderation.pin : moderation.unpin, { messageId }, system)
      case 'moderate':
        return ask(moderation.judge, { messageId, verdict: step.verdict, because: 'test' }, system)
      case 'time out': {
        const { userId } = who
        const { length } = step
        if (length === null) return ask(moderation.unsilence, { userId }, system)
        return ask(moderation.timeOut, { userId, because: 'test', length }, system)
      }
      case 'read':
        return ask(chat.read, { channelId: step.channelId, number: step.number }, who)
    }
  }

  #message(channelId: string, text: string, replyTo: string | null) {
    this.#messages += 1
    return {
      ...{ messageId: uuid('c0', this.#messages), channelId, text, replyTo, language: null, clientId: null },
      media: { type: 'none' as const, url: null, code: null },
    }
  }
}

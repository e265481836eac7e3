/** Messages as text, so that what is shown and what the facts say are compared at a glance. */
import type { channelChanged, Message, messageChanged, messagePosted } from '../../actors/chat/facts.js'
import { messageJson } from '../../gateway/chat-json.js'
import type { ChatMessage } from '../../gateway/client/channel-state.js'

export type ChannelFact = ReturnType<
  typeof messagePosted.make | typeof messageChanged.make | typeof channelChanged.make
>

/** A client keeps a message as one object until it changes. */
const known = new WeakMap<ChatMessage, string>()

export function shownText(message: ChatMessage): string {
  const before = known.get(message)
  if (before !== undefined) return before
  const { reactions, ...rest } = message
  const text = JSON.stringify([rest, Object.entries(reactions).sort()])
  known.set(message, text)
  return text
}

export const messageText = (message: Message): string => shownText(messageJson(message))

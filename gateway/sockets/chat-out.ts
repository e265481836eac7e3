/** Everything `/social/ws` says to clients. Times are ISO 8601. */
import type {
  channelChanged,
  memberMentioned,
  memberSilenced,
  memberUnsilenced,
  messageChanged,
  messagePosted,
} from '../../actors/chat/facts.js'
import { channelJson, messageJson, messageText } from '../chat-json.js'
import type { ChannelEvent, ChannelEventName } from './chat-events.js'
import { ReadyJson } from './ready-json.js'
import type { Position } from './stream.js'

export type ChannelFact = ReturnType<
  typeof messagePosted.make | typeof messageChanged.make | typeof channelChanged.make
>
export type MemberChatFact = ReturnType<
  typeof memberMentioned.make | typeof memberSilenced.make | typeof memberUnsilenced.make
>

/** An event of a channel; its data may be ready to be sent. */
type Outgoing = ChannelEvent | { readonly event: ChannelEventName; readonly data: ReadyJson }

export function channelEvent(fact: ChannelFact, epoch: string): Outgoing {
  const { channelId: channel, offset } = fact
  const at = { channel, epoch, offset }
  switch (fact.type) {
    case 'chat.message_posted':
      return { event: 'message:new', data: ReadyJson.extended(messageText(fact.message), { epoch, offset }) }
    case 'chat.channel_changed':
      return { event: 'channel:changed', data: { ...channelJson(channel, fact.profile, fact.isActive), ...at } }
    case 'chat.message_changed':
      return messageEvent(fact, at)
  }
}

function messageEvent(
  fact: ReturnType<typeof messageChanged.make>,
  at: Position & { readonly channel: string },
): ChannelEvent {
  const { message, change, by, emoji, isOn } = fact
  const { messageId: id } = message
  if (message.deletedAt !== null) {
    return { event: 'message:deleted', data: { ...at, id, by_moderator: change === 'moderated' } }
  }
  switch (change) {
    case 'reacted': {
      const count = message.reactions[emoji ?? ''] ?? 0
      return { event: 'reaction:changed', data: { ...at, id, emoji: emoji ?? '', count, user_id: by ?? '', on: isOn } }
    }
    case 'pinned':
    case 'unpinned':
      return { event: 'pin:changed', data: { ...at, id, pinned: change === 'pinned', message: messageJson(message) } }
    default:
      return { event: 'message:changed', data: { ...messageJson(message), ...at } }
  }
}

export function memberEvent(fact: MemberChatFact) {
  switch (fact.type) {
    case 'chat.member_mentioned': {
      const { channelId: channel, messageId: id, because, by } = fact
      return { event: 'mention', data: { channel, id, because, by: { id: by.userId, username: by.username } } } as const
    }
    case 'chat.member_silenced': {
      const until = fact.until === null ? null : new Date(fact.until).toISOString()
      return { event: 'moderation', data: { action: fact.how, until, because: fact.because } } as const
    }
    case 'chat.member_unsilenced':
      return { event: 'moderation', data: { action: 'lifted', until: null, because: null } } as const
  }
}

/** Everything `/social/ws` says to clients. Times are ISO 8601. */
import type {
  channelChanged,
  memberMentioned,
  memberSilenced,
  memberUnsilenced,
  messageChanged,
  messagePosted,
} from '../../actors/chat/facts.js'
import { type ChannelJson, channelJson, type MessageJson, messageJson } from '../chat-json.js'
import type { Position } from './stream.js'

export type ChannelFact = ReturnType<
  typeof messagePosted.make | typeof messageChanged.make | typeof channelChanged.make
>
export type MemberChatFact = ReturnType<
  typeof memberMentioned.make | typeof memberSilenced.make | typeof memberUnsilenced.make
>

/** What every event of a channel carries: the offset is one more than that of the event before (X1). */
interface InChannel extends Position {
  readonly channel: string
}

export interface ChatEvents {
  'message:new': (message: MessageJson & InChannel) => void
  /** Edited, or looked at by a moderator: the whole message. */
  'message:changed': (message: MessageJson & InChannel) => void
  'message:deleted': (deleted: InChannel & { readonly id: string; readonly by_moderator: boolean }) => void
  'reaction:changed': (
    reaction: InChannel & {
      readonly id: string
      readonly emoji: string
      readonly count: number
      readonly user_id: string
      readonly on: boolean
    },
  ) => void
  'pin:changed': (
    pin: InChannel & { readonly id: string; readonly pinned: boolean; readonly message: MessageJson },
  ) => void
  'channel:changed': (channel: ChannelJson & InChannel) => void
  /** The client is not in the channel any more. */
  'channel:closed': (closed: { readonly channel: string; readonly code: string }) => void
  /** How many members are in a channel, and some of them. */
  presence: (presence: { readonly channel: string; readonly count: number; readonly sample: readonly string[] }) => void
  typing: (typing: { readonly channel: string; readonly user_id: string; readonly username: string }) => void
  /** To the member concerned. */
  moderation: (moderation: {
    readonly action: 'muted' | 'timed_out' | 'banned' | 'lifted'
    readonly until: string | null
    readonly because: string | null
  }) => void
  mention: (mention: {
    readonly channel: string
    readonly id: string
    readonly because: 'mention' | 'reply'
    readonly by: { readonly id: string; readonly username: string }
  }) => void
}

export type ChannelEventName =
  | 'message:new'
  | 'message:changed'
  | 'message:deleted'
  | 'reaction:changed'
  | 'pin:changed'
  | 'channel:changed'

/** One thing that happened in a channel, as it is sent. */
export type ChannelEvent = {
  [Name in ChannelEventName]: { readonly event: Name; readonly data: Parameters<ChatEvents[Name]>[0] }
}[ChannelEventName]

export function channelEvent(fact: ChannelFact, epoch: string): ChannelEvent {
  const { channelId: channel, offset } = fact
  const at = { channel, epoch, offset }
  switch (fact.type) {
    case 'chat.message_posted':
      return { event: 'message:new', data: { ...messageJson(fact.message), ...at } }
    case 'chat.channel_changed':
      return { event: 'channel:changed', data: { ...channelJson(channel, fact.profile, fact.isActive), ...at } }
    case 'chat.message_changed':
      return messageEvent(fact, at)
  }
}

function messageEvent(fact: ReturnType<typeof messageChanged.make>, at: InChannel): ChannelEvent {
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

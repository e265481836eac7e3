/** What members read of the chat's state in memory. */
import { defineQuery } from '../../engine/command.js'
import type { ReadScope } from '../../engine/turn.js'
import { type ChannelContext, channel, pinsSince } from './channel.js'
import { theChannels } from './channel-list.js'
import { type ChatterContext, chatter, silenceAt, tierAt } from './chatter.js'
import { message } from './message.js'
import type { RecentMessage, RecentMessages } from './recent-messages.js'
import { chatterIn, mayRead, readableChannel } from './rights.js'
import type { ChatRules } from './rules.js'

function viewOf(scope: ReadScope, retentionMs: number, channelId: string, member: ChatterContext) {
  const ref = channel.ref(channelId)
  const known = scope.context(ref)
  const { epoch, offset, messages, profile } = known
  const pins = pinsSince(known, scope.at - retentionMs)
  const unread = messages - (member.read[channelId] ?? 0)
  return { channelId, epoch, offset, messages, pins, profile, unread, isActive: scope.value(ref) === 'open' }
}

export type ChannelView = ReturnType<typeof viewOf> & { readonly profile: NonNullable<ChannelContext['profile']> }

export interface OpenChannel {
  readonly userId: string
  readonly channelId: string
  /** Where the member's client stands. */
  readonly position: { readonly epoch: string; readonly offset: number } | null
  readonly limit: number
}

export function chatQueries({ retentionMs }: ChatRules, recent: RecentMessages) {
  /** Whether the chat knows a member. */
  const known = defineQuery({
    name: 'chat.known',
    actors: ({ userId }: { userId: string }) => [chatter.ref(userId)],
    read: (scope, { userId }) => scope.exists(chatter.ref(userId)),
  })

  /** Channels a member may read, in their order; moderators see archived ones too. */
  const channels = defineQuery({
    name: 'chat.channels',
    actors: ({ userId }: { userId: string }) => [chatter.ref(userId)],
    read: (scope, { userId }): ChannelView[] => {
      const member = chatterIn(scope, userId)
      const views = scope.context(theChannels).channelIds.map((id) => viewOf(scope, retentionMs, id, member))
      return views
        .flatMap((view) => (view.profile === null ? [] : [{ ...view, profile: view.profile }]))
        .filter(({ profile, isActive }) => member.isAdmin || (isActive && mayRead(member, profile, scope.at)))
        .sort((a, b) => a.profile.order - b.profile.order)
    },
  })

  /** One channel, to be read. Throws `channel_unknown`, `tier_too_low`. */
  const readable = defineQuery({
    name: 'chat.readable',
    actors: ({ userId }: { userId: string; channelId: string }) => [chatter.ref(userId)],
    read: (scope, { userId, channelId }): ChannelView => {
      const member = chatterIn(scope, userId)
      const { profile } = readableChannel(scope, channelId, member)
      return { ...viewOf(scope, retentionMs, channelId, member), profile }
    },
  })

  /**
   * What a member sees who opens a channel: everything since the position they have, or the last `limit` messages when
   * they have none or it is not known any more. Throws `channel_unknown`, `tier_too_low`.
   */
  const openChannel = defineQuery({
    name: 'chat.open',
    actors: ({ userId }: OpenChannel) => [chatter.ref(userId)],
    read: (scope, { userId, channelId, position, limit }: OpenChannel) => {
      const member = chatterIn(scope, userId)
      const { profile } = readableChannel(scope, channelId, member)
      const view: ChannelView = { ...viewOf(scope, retentionMs, channelId, member), profile }
      const isKnown = position !== null && position.epoch === view.epoch && position.offset <= view.offset
      const missed = isKnown ? recent.since(channelId, position.offset) : 'resync'
      const { username } = member
      // BJ-CHAT-20
      const keptOf = (messages: readonly RecentMessage[]) =>
        messages.filter(({ message }) => scope.at - message.postedAt < retentionMs)
      if (missed !== 'resync') return { view, username, messages: keptOf(missed), isResync: false }
      return { view, username, messages: keptOf(recent.latest(channelId, limit)), isResync: position !== null }
    },
  })

  /** The number of the last message at an offset of a channel; null when only Postgres knows. */
  const numberAt = defineQuery({
    name: 'chat.number_at',
    actors: () => [],
    read: (_, { channelId, offset }: { channelId: string; offset: number }) => recent.numberAt(channelId, offset),
  })

  /** The channel of a message; null when there is no such message. */
  const messageOf = defineQuery({
    name: 'chat.message',
    actors: ({ messageId }: { messageId: string }) => [message.ref(messageId)],
    read: (scope, { messageId }) => {
      const ref = message.ref(messageId)
      return scope.exists(ref) ? scope.context(ref) : null
    },
  })

  /** Messages that are pinned in a channel, newest pin first; their actors are those the caller names. */
  const messages = defineQuery({
    name: 'chat.messages',
    actors: ({ messageIds }: { messageIds: readonly string[] }) => messageIds.map((id) => message.ref(id)),
    read: (scope, { messageIds }) =>
      messageIds.flatMap((id) => (scope.exists(message.ref(id)) ? [scope.context(message.ref(id))] : [])),
  })

  /** Whether, and until when, a member may not write; and the rights they have. */
  const standing = defineQuery({
    name: 'chat.standing',
    actors: ({ userId }: { userId: string }) => [chatter.ref(userId)],
    read: (scope, { userId }) => {
      const member = chatterIn(scope, userId)
      const { username, isAdmin, memberSince } = member
      return { username, isAdmin, memberSince, tier: tierAt(member, scope.at), silence: silenceAt(member, scope.at) }
    },
  })

  const wordRules = defineQuery({
    name: 'chat.word_rules',
    actors: () => [],
    read: (scope, _: Record<string, never>) => scope.context(theChannels).wordRules,
  })

  return { known, channels, readable, openChannel, numberAt, messageOf, messages, standing, wordRules }
}

/** What was said, for those who read back: pages of a channel, and single messages. */
import { defineQuery } from '../../engine/command.js'
import type { ReadScope } from '../../engine/turn.js'
import { channel, pinsSince } from './channel.js'
import { theChannels } from './channel-list.js'
import { chatter } from './chatter.js'
import type { Message } from './facts.js'
import { message } from './message.js'
import { reactionOf } from './reaction.js'
import type { RecentMessages } from './recent-messages.js'
import { chatterIn, readableChannel } from './rights.js'
import type { ChatRules } from './rules.js'
import { livingMessage } from './writing.js'

export interface HistoryPage {
  readonly userId: string
  readonly channelId: string
  /** Messages with a lower number; null for the last ones. */
  readonly before: number | null
  readonly limit: number
}

export function historyQueries(rules: ChatRules, recent: RecentMessages) {
  /**
   * What memory has of a page, newest first. `olderThan` is where Postgres has the rest of it, null when there is none.
   * Throws `channel_unknown`, `tier_too_low`.
   */
  const page = defineQuery({
    name: 'chat.page',
    actors: ({ userId }: HistoryPage) => [chatter.ref(userId)],
    read: (scope, { userId, channelId, before, limit }: HistoryPage) => {
      const known = legible(scope, userId, channelId)
      const { epoch, offset, messages: last } = known
      const oldest = scope.at - rules.retentionMs
      const { messages, knownFrom } = recent.page(channelId, before ?? last + 1, limit)
      const kept = messages.filter(({ postedAt }) => postedAt > oldest)
      const isWhole = kept.length === limit || kept.length < messages.length || Math.min(knownFrom, last + 1) <= 1
      return {
        epoch,
        offset,
        pins: pinsSince(known, oldest),
        messages: kept,
        olderThan: isWhole ? null : Math.min(before ?? last + 1, knownFrom),
      }
    },
  })

  /** Messages that Postgres told of, as memory has them where it knows more. */
  const asKnown = defineQuery({
    name: 'chat.as_known',
    actors: () => [],
    read: (_, { messages }: { messages: readonly Message[] }) => messages.map((each) => recent.known(each) ?? each),
  })

  /** A message that is there, in a channel the member may read. Throws `message_unknown`, `tier_too_low`. */
  const readableMessage = defineQuery({
    name: 'chat.readable_message',
    actors: ({ userId, messageId }: { userId: string; messageId: string }) => [
      chatter.ref(userId),
      message.ref(messageId),
    ],
    read: (scope, { userId, messageId }) => {
      const found = livingMessage(scope, rules, messageId)
      legible(scope, userId, found.channelId)
      return found
    },
  })

  /** The emoji of a member on those of these messages that have any of theirs. */
  const ownReactions = defineQuery({
    name: 'chat.own_reactions',
    actors: ({ userId, messageIds }: { userId: string; messageIds: readonly string[] }) =>
      messageIds.map((messageId) => reactionOf(messageId, userId)),
    read: (scope, { userId, messageIds }) =>
      messageIds.flatMap((messageId) => {
        const ref = reactionOf(messageId, userId)
        const emojis = scope.exists(ref) ? scope.context(ref).emojis : []
        return emojis.length === 0 ? [] : [{ messageId, emojis }]
      }),
  })

  /** What members wrote last in all channels: everything in memory that is at most so much older than the newest. */
  const lastWritten = defineQuery({
    name: 'chat.last_written',
    actors: () => [],
    read: (scope, { withinMs }: { withinMs: number }) => {
      const { channelIds } = scope.context(theChannels)
      const all = channelIds.flatMap((id) => recent.page(id, Number.MAX_SAFE_INTEGER, recent.messagesKept).messages)
      const since = all.reduce((latest, each) => Math.max(latest, writtenAt(each)), 0) - withinMs
      return all.filter((each) => each.author !== null && writtenAt(each) >= since)
    },
  })

  return { page, asKnown, readableMessage, ownReactions, lastWritten }
}

const writtenAt = ({ postedAt, editedAt }: Message) => editedAt ?? postedAt

/** A channel a member may read; moderators read archived ones, too. Throws `channel_unknown`, `tier_too_low`. */
function legible(scope: ReadScope, userId: string, channelId: string) {
  const member = chatterIn(scope, userId)
  const known = scope.context(channel.ref(channelId))
  return member.isAdmin && known.profile !== null ? known : readableChannel(scope, channelId, member).known
}

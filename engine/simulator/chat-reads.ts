/** The last messages of every channel as a start reads them back from the simulated database. */
import type { Message } from '../../actors/chat/facts.js'
import type { RecentMessage, RecentMessages } from '../../actors/chat/recent-messages.js'
import type { AnyRow } from '../../persistence/projector/columns.js'
import type { Tables } from './tables.js'

export function restoreRecentMessages(tables: Tables, recent: RecentMessages): void {
  const all = tables.rows('social_messages').map(recentMessageOf)
  for (const channelId of new Set(all.map(({ message }) => message.channelId))) {
    const own = all.filter(({ message }) => message.channelId === channelId)
    const changed = [...own].sort((a, b) => a.offset - b.offset).slice(-recent.messagesKept)
    const latest = [...own].sort((a, b) => a.message.number - b.message.number).slice(-recent.messagesKept)
    recent.restoreChannel(channelId, changed, latest)
  }
}

function recentMessageOf(row: AnyRow): RecentMessage {
  const message = {
    ...{ messageId: row.id, channelId: row.channel_id, number: row.number, text: row.message },
    author:
      row.user_id === null
        ? null
        : { userId: row.user_id, username: row.username, tier: row.tier, isAdmin: row.is_admin },
    language: row.original_language,
    media: { type: row.media_type, url: row.media_url, code: row.media_code },
    replyTo:
      row.reply_to_id === null
        ? null
        : {
            ...{ messageId: row.reply_to_id, userId: row.reply_to_user_id },
            ...{ username: row.reply_to_username, text: row.reply_to_message },
          },
    mentions: JSON.parse(String(row.mentions)),
    ...{ clientId: row.client_id, postedAt: row.created_at, editedAt: row.edited_at, deletedAt: row.deleted_at },
    ...{ status: row.moderation_status, reactions: JSON.parse(String(row.reactions)), isPinned: row.pinned },
  } as Message
  return { offset: Number(row.changed_offset), postedOffset: Number(row.posted_offset ?? 0), message }
}

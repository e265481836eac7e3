import type { RecentMessages } from '../../actors/chat/recent-messages.js'
import { channelsWithMessages, messageColumns, recentMessageOf, type StoredMessage } from '../message-rows.js'
import type { Sql, Transaction } from '../postgres/connection.js'

/** Fills an empty view of the last messages of every channel, and of those that changed last (X1). */
export async function restoreRecentMessages(sql: Sql | Transaction, recent: RecentMessages): Promise<void> {
  const { messagesKept } = recent
  for (const channelId of await channelsWithMessages(sql)) {
    // Most are in both lists: they are read and kept once.
    const rows = await sql<StoredMessage[]>`
      select ${messageColumns(sql)} from social_messages where id in (
        (select id from social_messages where channel_id = ${channelId} order by number desc limit ${messagesKept})
        union
        (select id from social_messages where channel_id = ${channelId} order by changed_offset desc
          limit ${messagesKept}))
      order by number`
    const messages = rows.map(recentMessageOf)
    const changed = messages.toSorted((a, b) => a.offset - b.offset).slice(-messagesKept)
    recent.restoreChannel(channelId, changed, messages.slice(-messagesKept))
  }
}

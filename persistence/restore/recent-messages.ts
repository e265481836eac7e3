import type { RecentMessage, RecentMessages } from '../../actors/chat/recent-messages.js'
import { channelsWithMessages, messageColumns, recentMessageOf, type StoredMessage } from '../message-rows.js'
import type { Sql, Transaction } from '../postgres/connection.js'

/** Fills an empty view of the last messages of every channel, and of those that changed last (X1). */
export async function restoreRecentMessages(sql: Sql | Transaction, recent: RecentMessages): Promise<void> {
  const read = async (channelId: string, order: 'number' | 'changed_offset') => {
    const rows = await sql<StoredMessage[]>`
      select ${messageColumns(sql)} from social_messages where channel_id = ${channelId}
      order by ${sql(order)} desc limit ${recent.messagesKept}`
    return rows.map(recentMessageOf).reverse()
  }
  for (const channelId of await channelsWithMessages(sql)) {
    const latest = await read(channelId, 'number')
    // Most are in both lists: they are kept once.
    const known = new Map<string, RecentMessage>(latest.map((each) => [each.message.messageId, each]))
    const changed = await read(channelId, 'changed_offset')
    recent.restoreChannel(
      channelId,
      changed.map((each) => known.get(each.message.messageId) ?? each),
      latest,
    )
  }
}

/** Messages of the chat as their rows have them. */
import type { Message } from '../actors/chat/facts.js'
import type { RecentMessage } from '../actors/chat/recent-messages.js'
import type { TierName } from '../actors/user/facts.js'
import type { Sql, Transaction } from './postgres/connection.js'

export const messageColumns = (sql: Sql | Transaction) => sql`
  id, channel_id, number, posted_offset, changed_offset, user_id, username, tier, is_admin, message, original_language,
  media_type, media_url, media_code, reply_to_id, reply_to_user_id, reply_to_username, reply_to_message, mentions,
  reactions, client_id, pinned, moderation_status, created_at, edited_at, deleted_at`

export interface StoredMessage {
  readonly id: string
  readonly channel_id: string
  readonly number: bigint
  readonly posted_offset: bigint
  readonly changed_offset: bigint
  readonly user_id: string | null
  readonly username: string | null
  readonly tier: TierName | null
  readonly is_admin: boolean | null
  readonly message: string
  readonly original_language: string | null
  readonly media_type: Message['media']['type']
  readonly media_url: string | null
  readonly media_code: string | null
  readonly reply_to_id: string | null
  readonly reply_to_user_id: string | null
  readonly reply_to_username: string | null
  readonly reply_to_message: string | null
  readonly mentions: string[]
  readonly reactions: Record<string, number>
  readonly client_id: string | null
  readonly pinned: boolean
  readonly moderation_status: Message['status']
  readonly created_at: Date
  readonly edited_at: Date | null
  readonly deleted_at: Date | null
}

export function recentMessageOf(row: StoredMessage): RecentMessage {
  const message: Message = {
    messageId: row.id,
    channelId: row.channel_id,
    number: Number(row.number),
    author: authorOf(row),
    text: row.message,
    language: row.original_language,
    media: { type: row.media_type, url: row.media_url, code: row.media_code },
    replyTo: quoteOf(row),
    mentions: row.mentions,
    clientId: row.client_id,
    postedAt: row.created_at.getTime(),
    editedAt: row.edited_at?.getTime() ?? null,
    deletedAt: row.deleted_at?.getTime() ?? null,
    status: row.moderation_status,
    reactions: row.reactions,
    isPinned: row.pinned,
  }
  return { offset: Number(row.changed_offset), postedOffset: Number(row.posted_offset), message }
}

function authorOf({ user_id: userId, username, tier, is_admin: isAdmin }: StoredMessage): Message['author'] {
  if (userId === null || username === null || tier === null || isAdmin === null) return null
  return { userId, username, tier, isAdmin }
}

function quoteOf(row: StoredMessage): Message['replyTo'] {
  const { reply_to_id: messageId, reply_to_user_id: userId } = row
  if (messageId === null) return null
  return { messageId, userId, username: row.reply_to_username ?? '', text: row.reply_to_message ?? '' }
}

/** Channels that have messages, one look into the index for each of them. */
export async function channelsWithMessages(sql: Sql | Transaction): Promise<readonly string[]> {
  const rows = await sql<{ id: string }[]>`
    with recursive channels as (
      (select channel_id as id from social_messages order by channel_id limit 1)
      union all
      select (select min(channel_id) from social_messages where channel_id > channels.id)
      from channels where channels.id is not null
    )
    select id from channels where id is not null`
  return rows.map(({ id }) => id)
}

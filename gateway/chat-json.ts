/** The chat in the words of the wire, the same over REST and sockets. */
import { z } from 'zod'
import {
  type ChannelProfile,
  channelModes,
  type Message,
  mediaTypes,
  moderationStatuses,
} from '../actors/chat/facts.js'
import type { ChannelView } from '../actors/chat/queries.js'
import { tierName } from '../actors/user/facts.js'

const isoOf = (ms: number) => new Date(ms).toISOString()

export const messageSchema = z
  .object({
    id: z.string(),
    channel: z.string(),
    /** Place among the channel's messages, from 1 without gaps. */
    number: z.number(),
    /** Null for what the system says. */
    user: z.object({ id: z.string(), username: z.string(), tier: tierName, is_admin: z.boolean() }).nullable(),
    /** Empty when it was deleted. */
    text: z.string(),
    original_language: z.string().nullable(),
    media_type: z.enum(mediaTypes),
    media_url: z.string().nullable(),
    emote_code: z.string().nullable(),
    is_system_message: z.boolean(),
    /** As it read when it was replied to. */
    reply_to: z
      .object({ id: z.string(), user_id: z.string().nullable(), username: z.string(), text: z.string() })
      .nullable(),
    /** User ids. */
    mentions: z.array(z.string()),
    /** As its author sent it. */
    client_id: z.string().nullable(),
    created_at: z.string(),
    edited_at: z.string().nullable(),
    deleted_at: z.string().nullable(),
    moderation_status: z.enum(moderationStatuses),
    /** How many reacted, by emoji. */
    reactions: z.record(z.string(), z.number()),
    pinned: z.boolean(),
  })
  .meta({ id: 'ChatMessage' })
export type MessageJson = z.output<typeof messageSchema>

/** What was deleted says nothing any more, but that it was there. */
export function messageJson(message: Message): MessageJson {
  const { author, media, replyTo, deletedAt, editedAt } = message
  const isGone = deletedAt !== null
  return {
    id: message.messageId,
    channel: message.channelId,
    number: message.number,
    user:
      author === null
        ? null
        : { id: author.userId, username: author.username, tier: author.tier, is_admin: author.isAdmin },
    text: isGone ? '' : message.text,
    original_language: message.language,
    media_type: isGone ? 'none' : media.type,
    media_url: isGone ? null : media.url,
    emote_code: isGone ? null : media.code,
    is_system_message: author === null,
    reply_to:
      replyTo === null || isGone
        ? null
        : { id: replyTo.messageId, user_id: replyTo.userId, username: replyTo.username, text: replyTo.text },
    mentions: isGone ? [] : message.mentions,
    client_id: message.clientId,
    created_at: isoOf(message.postedAt),
    edited_at: editedAt === null ? null : isoOf(editedAt),
    deleted_at: isGone ? isoOf(deletedAt) : null,
    moderation_status: message.status,
    reactions: isGone ? {} : message.reactions,
    pinned: message.isPinned,
  }
}

const texts = new WeakMap<Message, string>()

/** {@link messageJson} as text. What is told to many is put into words once. */
export function messageText(message: Message): string {
  const known = texts.get(message)
  if (known !== undefined) return known
  const text = JSON.stringify(messageJson(message))
  texts.set(message, text)
  return text
}

export const modesSchema = z
  .object({
    slow_mode_seconds: channelModes.shape.slowModeSeconds,
    emote_only: z.boolean(),
    unique_messages: z.boolean(),
    member_age_seconds_min: channelModes.shape.memberAgeSecondsMin,
    /** Null: everybody may post links. */
    links_from: tierName.nullable(),
  })
  .meta({ id: 'ChannelModes' })

export const channelSchema = z
  .object({
    id: z.string(),
    name: z.string(),
    description: z.string(),
    category: z.string(),
    icon: z.string(),
    /** `all` for the lowest tier. */
    tier_restriction: z.enum(['all', 'vip', 'high_roller', 'whale']),
    is_voice: z.boolean(),
    display_order: z.number(),
    posting: z.enum(['members', 'admins']),
    modes: modesSchema,
    is_active: z.boolean(),
  })
  .meta({ id: 'Channel' })
export type ChannelJson = z.output<typeof channelSchema>

export function channelJson(channelId: string, profile: ChannelProfile, isActive: boolean): ChannelJson {
  const { modes, minimumTier, isVoice, order, name, description, category, icon, posting } = profile
  return {
    id: channelId,
    ...{ name, description, category, icon, posting },
    tier_restriction: minimumTier === 'standard' ? 'all' : minimumTier,
    is_voice: isVoice,
    display_order: order,
    modes: {
      slow_mode_seconds: modes.slowModeSeconds,
      emote_only: modes.emoteOnly,
      unique_messages: modes.uniqueMessages,
      member_age_seconds_min: modes.memberAgeSecondsMin,
      links_from: modes.linksFrom,
    },
    is_active: isActive,
  }
}

export const listedChannelSchema = channelSchema
  .extend({ unread: z.number(), epoch: z.string(), offset: z.number() })
  .meta({ id: 'ListedChannel' })

export function listedChannelJson({ channelId, profile, isActive, unread, epoch, offset }: ChannelView) {
  return { ...channelJson(channelId, profile, isActive), unread, epoch, offset }
}

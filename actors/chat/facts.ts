import { z } from 'zod'
import { defineFact } from '../../engine/fact.js'
import { tierName } from '../user/facts.js'
import { isWordPattern } from './text.js'

export const mediaTypes = ['none', 'gif', 'emote', 'image'] as const
export const moderationStatuses = ['approved', 'flagged', 'removed'] as const

const author = z.object({ userId: z.string(), username: z.string(), tier: tierName, isAdmin: z.boolean() })
/** Null for what the system itself says (BJ-CHAT-17). */
export type Author = z.output<typeof author>

export const quote = z.object({
  messageId: z.string(),
  userId: z.string().nullable(),
  username: z.string(),
  text: z.string(),
})
/** What a reply replies to, as it read then (BJ-CHAT-15). */
export type Quote = z.output<typeof quote>

export const message = z.object({
  messageId: z.string(),
  channelId: z.string(),
  /** Place among the channel's messages, from 1 without gaps; unread counts are differences of these. */
  number: z.number(),
  author: author.nullable(),
  text: z.string(),
  /** As the author said; null when he did not. */
  language: z.string().nullable(),
  media: z.object({ type: z.enum(mediaTypes), url: z.string().nullable(), code: z.string().nullable() }),
  replyTo: quote.nullable(),
  /** User ids. */
  mentions: z.array(z.string()),
  clientId: z.string().nullable(),
  postedAt: z.number(),
  editedAt: z.number().nullable(),
  deletedAt: z.number().nullable(),
  status: z.enum(moderationStatuses),
  /** How many members reacted, by emoji. */
  reactions: z.record(z.string(), z.number()),
  isPinned: z.boolean(),
})
export type Message = z.output<typeof message>

/** Every step of a channel has the next offset, without gaps (X1). */
const step = { channelId: z.string(), offset: z.number() }

export const messagePosted = defineFact('chat.message_posted', z.object({ ...step, message }))

/** The whole message as it is from now on. */
export const messageChanged = defineFact(
  'chat.message_changed',
  z.object({
    ...step,
    message,
    change: z.enum(['edited', 'deleted', 'moderated', 'pinned', 'unpinned', 'reacted']),
    /** Who did it; null for the system. */
    by: z.string().nullable(),
    /** Of a reaction. */
    emoji: z.string().nullable(),
    isOn: z.boolean(),
  }),
)

/** One row for each member, message and emoji (BJ-CHAT-05). */
export const reactionSet = defineFact(
  'chat.reaction_set',
  z.object({ messageId: z.string(), userId: z.string(), emoji: z.string(), isOn: z.boolean() }),
)

export const channelModes = z.object({
  /** Least time between two messages of one member; 0 for none. */
  slowModeSeconds: z.number().int().min(0).max(21_600),
  emoteOnly: z.boolean(),
  /** No text that was among the channel's last ones. */
  uniqueMessages: z.boolean(),
  /** Members newer than this only read. */
  memberAgeSecondsMin: z.number().int().min(0).max(31_536_000),
  /** Links from this tier up; null for everybody. */
  linksFrom: tierName.nullable(),
})
export type ChannelModes = z.output<typeof channelModes>

export const channelProfile = z.object({
  name: z.string().trim().min(1).max(100),
  description: z.string().max(1_000),
  category: z.string().trim().min(1).max(100),
  icon: z.string().max(50),
  minimumTier: tierName,
  isVoice: z.boolean(),
  order: z.number().int().min(0).max(10_000),
  posting: z.enum(['members', 'admins']),
  modes: channelModes,
})
export type ChannelProfile = z.output<typeof channelProfile>

/** It was opened, edited, archived or opened again (BJ-MOD-06). */
export const channelChanged = defineFact(
  'chat.channel_changed',
  z.object({ ...step, epoch: z.string(), profile: channelProfile, isActive: z.boolean(), by: z.string() }),
)

/** A member was mentioned, or replied to (BJ-CHAT-16). */
export const memberMentioned = defineFact(
  'chat.member_mentioned',
  z.object({
    userId: z.string(),
    channelId: z.string(),
    messageId: z.string(),
    by: author,
    because: z.enum(['mention', 'reply']),
  }),
)

/** A member may not write, from now until then; `until` is null for good (BJ-MOD-03, BJ-MOD-04, BJ-CHAT-23). */
export const memberSilenced = defineFact(
  'chat.member_silenced',
  z.object({
    userId: z.string(),
    how: z.enum(['muted', 'timed_out', 'banned']),
    until: z.number().nullable(),
    because: z.string(),
    by: z.string(),
  }),
)
export const memberUnsilenced = defineFact('chat.member_unsilenced', z.object({ userId: z.string(), by: z.string() }))

/** A message or a member was reported by a member (BJ-CHAT-06), or by the filter (BJ-MOD-01). */
export const reportFiled = defineFact(
  'chat.report_filed',
  z.object({
    reportId: z.string(),
    messageId: z.string().nullable(),
    channelId: z.string().nullable(),
    userId: z.string().nullable(),
    by: z.string(),
    because: z.string(),
  }),
)

/** Somebody looked at it (BJ-MOD-07). */
export const reportsClosed = defineFact(
  'chat.reports_closed',
  z.object({ messageId: z.string(), decision: z.enum(['kept', 'removed']), by: z.string() }),
)

/** Somebody looked at what was reported of a member, and dismissed it or did something about it. */
export const memberReportClosed = defineFact(
  'chat.member_report_closed',
  z.object({ reportId: z.string(), userId: z.string(), by: z.string() }),
)

/** How far a member has read. */
export const channelRead = defineFact(
  'chat.channel_read',
  z.object({ userId: z.string(), channelId: z.string(), number: z.number() }),
)

export const wordRule = z.object({
  id: z.string().min(1).max(64),
  /** Words in any case; `*` stands for the rest of a word. */
  pattern: z.string().trim().min(2).max(100).refine(isWordPattern, 'words, and * only at the end of one'),
  action: z.enum(['refuse', 'flag']),
  /** From this tier up it does not apply; null when it always does. */
  exemptFrom: tierName.nullable(),
})
export type WordRule = z.output<typeof wordRule>
export const wordRulesSet = defineFact('chat.word_rules_set', z.object({ rules: z.array(wordRule), by: z.string() }))

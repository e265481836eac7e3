/** What members say: post, edit, delete, react, report (BJ-CHAT-03, 05, 06, 15, 16). */
import { z } from 'zod'
import { assert } from '../../engine/assert.js'
import { defineCommand, type Refusal } from '../../engine/command.js'
import { DomainError } from '../../engine/errors.js'
import type { ReadScope, Turn } from '../../engine/turn.js'
import type { Directory } from '../members/directory.js'
import { type ChannelEvent, channel } from './channel.js'
import { type ChatterContext, chatter, tierAt } from './chatter.js'
import { checkMedia, checkModes, checkText, isFlaggedByWords, samenessOf } from './content.js'
import {
  type Author,
  type Message,
  mediaTypes,
  memberMentioned,
  messageChanged,
  messagePosted,
  type Quote,
  reactionSet,
  reportFiled,
} from './facts.js'
import { message } from './message.js'
import { muteForRepetition, refuseHurry, repeatsWith, requireSlowness, useAllowance } from './pace.js'
import { reactionOf } from './reaction.js'
import { chatterIn, readableChannel, requireVoice } from './rights.js'
import type { ChatRules } from './rules.js'
import { isEmoji, mentionsIn, startOf, withoutFullStop } from './text.js'

const QUOTE_LENGTH_MAX = 200
const id = z.string().min(1).max(64)

export const postInput = z.object({
  /** Drawn at random at the edge. */
  messageId: id,
  channelId: id,
  text: z.string(),
  language: z.string().max(5).nullable(),
  media: z.object({
    type: z.enum(mediaTypes),
    url: z.string().max(500).nullable(),
    code: z.string().max(64).nullable(),
  }),
  replyTo: id.nullable(),
  clientId: z.string().max(64).nullable(),
})

export interface Posted {
  readonly messageId: string
  readonly offset: number
  readonly number: number
}

export type Writing = ReturnType<typeof writing>

export function writing(rules: ChatRules, directory: Directory) {
  const post = defineCommand({
    name: 'chat.post',
    input: postInput,
    who: 'member',
    actors: ({ messageId, replyTo }, { userId }) => [
      chatter.ref(userId),
      message.newRef(messageId),
      ...(replyTo === null ? [] : [message.ref(replyTo)]),
    ],
    handle: (turn, input): Posted | Refusal => {
      const { channelId, text, media } = input
      const member = chatterIn(turn, turn.who.userId)
      const { known, profile } = readableChannel(turn, channelId, member)
      requireVoice(member, turn.at)
      checkText(rules, text, media)
      checkMedia(turn, rules, media)
      checkModes(turn, known.remembered, profile, member, text, media)
      const isFlagged = isFlaggedByWords(turn, member, text)
      const replyTo = input.replyTo === null ? null : quoteOf(turn, rules, input.replyTo, channelId)
      requireSlowness(profile, channelId, member, turn.at)
      const hurried = refuseHurry(turn, rules, member)
      if (hurried !== null) return hurried
      const sameness = samenessOf(text, media)
      const repeats = repeatsWith(rules, member, sameness, turn.at)
      if (repeats >= rules.repetition.messagesMax && !member.isAdmin) return muteForRepetition(turn, rules, member)
      const slowedIn = profile.modes.slowModeSeconds > 0 ? channelId : null
      turn.step(chatter.ref(member.userId), { type: 'wrote', at: turn.at, sameness, repeats, slowedIn })
      const author = authorOf(member, turn.at)
      const posted = say(turn, { ...input, author, replyTo, status: isFlagged ? 'flagged' : 'approved' })
      if (isFlagged) file(turn, posted.messageId, channelId, member.userId, 'words', 'system')
      return posted
    },
  })

  /** Puts a message into a channel that has been checked. */
  function say(
    turn: Turn,
    said: Pick<Message, 'messageId' | 'channelId' | 'text' | 'language' | 'media' | 'clientId' | 'status'> & {
      readonly author: Author | null
      readonly replyTo: Quote | null
    },
  ): Posted {
    const { messageId, channelId, text, language, media, clientId, status, author, replyTo } = said
    const ref = channel.ref(channelId)
    const systemAt = author === null ? turn.at : null
    const isUnique = turn.context(ref).profile?.modes.uniqueMessages === true
    turn.step(ref, { type: 'posted', sameness: isUnique ? samenessOf(text, media) : '', systemAt })
    const { offset, messages } = turn.context(ref)
    const mentions = author === null ? [] : mentioned(text, author.userId)
    const whole: Message = {
      ...{ messageId, channelId, number: messages, author, text, language, media, replyTo, clientId, status },
      ...{ mentions, postedAt: turn.at, editedAt: null, deletedAt: null, reactions: {}, isPinned: false },
    }
    turn.create(message.newRef(messageId), whole)
    turn.emit(messagePosted.make({ channelId, offset, message: whole }))
    notify(turn, whole)
    return { messageId, offset, number: messages }
  }

  function mentioned(text: string, by: string): string[] {
    const userIds = mentionsIn(text, rules.mentionsMax).flatMap((name) => {
      const number = directory.memberByUsername(name) ?? directory.memberByUsername(withoutFullStop(name))
      const userId = number === null ? null : directory.userIdOf(number)
      return userId === null || userId === by ? [] : [userId]
    })
    return [...new Set(userIds)]
  }

  const edit = defineCommand({
    name: 'chat.edit',
    input: z.object({ messageId: id, text: z.string() }),
    who: 'member',
    actors: ({ messageId }, { userId }) => [chatter.ref(userId), message.ref(messageId)],
    handle: (turn, { messageId, text }) => {
      const member = chatterIn(turn, turn.who.userId)
      const before = ownMessage(turn, rules, messageId, member)
      const { known, profile } = readableChannel(turn, before.channelId, member)
      requireVoice(member, turn.at)
      if (turn.at - before.postedAt > rules.editWindowMs && !member.isAdmin) {
        throw new DomainError('conflict', 'edit_too_late', 'This message is too old to be edited. You can delete it.')
      }
      checkText(rules, text, before.media)
      if (text !== before.text) {
        const own = samenessOf(before.text, before.media)
        const others = known.remembered.filter((each) => each !== own)
        checkModes(turn, others, profile, member, text, before.media)
      }
      const isFlagged = isFlaggedByWords(turn, member, text)
      useAllowance(turn, rules, member, 'edits')
      const mentions = mentioned(text, member.userId)
      turn.step(message.ref(messageId), { type: 'edited', text, mentions, at: turn.at, isFlagged })
      if (isFlagged) file(turn, messageId, before.channelId, member.userId, 'words', 'system')
      const offset = tellChange(turn, messageId, 'edited', member.userId)
      // Only the first edit: a message that is edited to and fro would ring for ever.
      if (before.editedAt === null) notifyOfEdit(turn, before, mentions)
      return { offset }
    },
  })

  const remove = defineCommand({
    name: 'chat.delete_own',
    input: z.object({ messageId: id }),
    who: 'member',
    actors: ({ messageId }, { userId }) => [chatter.ref(userId), message.ref(messageId)],
    handle: (turn, { messageId }) => {
      const member = chatterIn(turn, turn.who.userId)
      const { channelId } = ownMessage(turn, rules, messageId, member)
      readableChannel(turn, channelId, member)
      return { offset: takeAway(turn, messageId, 'deleted', member.userId) }
    },
  })

  const react = defineCommand({
    name: 'chat.react',
    input: z.object({ messageId: id, emoji: z.string().max(20), isOn: z.boolean() }),
    who: 'member',
    actors: ({ messageId }, { userId }) => [chatter.ref(userId), message.ref(messageId), reactionOf(messageId, userId)],
    handle: (turn, { messageId, emoji, isOn }) => {
      const member = chatterIn(turn, turn.who.userId)
      if (!isEmoji(emoji)) {
        throw new DomainError('unprocessable', 'emoji_invalid', 'A reaction is one emoji.', { field: 'emoji' })
      }
      const before = livingMessage(turn, rules, messageId)
      const { known } = readableChannel(turn, before.channelId, member)
      requireVoice(member, turn.at)
      const ref = reactionOf(messageId, member.userId)
      const isKnown = turn.exists(ref)
      const isAlready = isKnown && turn.context(ref).emojis.includes(emoji)
      if (isAlready === isOn) return { offset: known.offset, count: before.reactions[emoji] ?? 0 }
      if (isOn && before.reactions[emoji] === undefined && Object.keys(before.reactions).length >= rules.emojisMax) {
        throw new DomainError('unprocessable', 'too_many_emojis', 'This message has all the emoji it can have.')
      }
      if (!isKnown) turn.create(ref, undefined)
      turn.step(ref, { type: 'set', emoji, isOn })
      turn.step(message.ref(messageId), { type: 'reacted', emoji, isOn })
      turn.emit(reactionSet.make({ messageId, userId: member.userId, emoji, isOn }))
      const offset = tellChange(turn, messageId, 'reacted', member.userId, { emoji, isOn })
      return { offset, count: turn.context(message.ref(messageId)).reactions[emoji] ?? 0 }
    },
  })

  const report = defineCommand({
    name: 'chat.report',
    input: z.object({ messageId: id, because: z.string().trim().min(1).max(500) }),
    who: 'member',
    actors: ({ messageId }, { userId }) => [chatter.ref(userId), message.ref(messageId)],
    handle: (turn, { messageId, because }) => {
      const member = chatterIn(turn, turn.who.userId)
      const { channelId, author } = livingMessage(turn, rules, messageId)
      readableChannel(turn, channelId, member)
      useAllowance(turn, rules, member, 'reports')
      return { reportId: file(turn, messageId, channelId, author?.userId ?? null, because, member.userId) }
    },
  })

  const reportMember = defineCommand({
    name: 'chat.report_member',
    input: z.object({ userId: id, because: z.string().trim().min(1).max(500) }),
    who: 'member',
    actors: ({ userId }, who) => [chatter.ref(who.userId), chatter.ref(userId)],
    handle: (turn, { userId, because }) => {
      const member = chatterIn(turn, turn.who.userId)
      chatterIn(turn, userId)
      useAllowance(turn, rules, member, 'reports')
      return { reportId: file(turn, null, null, userId, because, member.userId) }
    },
  })

  return { commands: { post, edit, remove, react, report, reportMember }, say }
}

interface Told {
  readonly emoji?: string
  readonly isOn?: boolean
  /** How the channel moves on. */
  readonly step?: ChannelEvent
}

/** Tells everybody in the channel what the message is now; returns the offset of that. */
export function tellChange(
  turn: Turn,
  messageId: string,
  change: ReturnType<typeof messageChanged.make>['change'],
  by: string | null,
  { emoji, isOn = true, step = { type: 'changed' } }: Told = {},
): number {
  const whole = turn.context(message.ref(messageId))
  const ref = channel.ref(whole.channelId)
  // X1
  assert(turn.step(ref, step), `${ref.id} takes no ${step.type}`)
  const { offset } = turn.context(ref)
  const fact = { channelId: whole.channelId, offset, message: whole, change, by, emoji: emoji ?? null, isOn }
  turn.emit(messageChanged.make(fact))
  return offset
}

/** A message and its pin are gone; replies keep their quotes. */
export function takeAway(turn: Turn, messageId: string, how: 'deleted' | 'removed', by: string): number {
  const { isPinned } = turn.context(message.ref(messageId))
  turn.step(message.ref(messageId), { type: how, at: turn.at })
  const step: ChannelEvent = isPinned ? { type: 'unpinned', messageId } : { type: 'changed' }
  return tellChange(turn, messageId, how === 'deleted' ? 'deleted' : 'moderated', by, { step })
}

/** Something for moderators to look at. */
export function file(
  turn: Turn,
  messageId: string | null,
  channelId: string | null,
  userId: string | null,
  because: string,
  by: string,
): string {
  const reportId = turn.newId()
  turn.emit(reportFiled.make({ reportId, messageId, channelId, userId, because, by }))
  return reportId
}

/** Throws `message_unknown`. */
export function livingMessage(scope: ReadScope, { retentionMs }: ChatRules, messageId: string): Message {
  const ref = message.ref(messageId)
  if (scope.exists(ref) && scope.value(ref) === 'visible') {
    const found = scope.context(ref)
    if (scope.at - found.postedAt < retentionMs) return found
  }
  throw new DomainError('not_found', 'message_unknown', 'There is no such message (any more).', { field: 'id' })
}

function ownMessage(turn: Turn, rules: ChatRules, messageId: string, { userId }: ChatterContext): Message {
  const found = livingMessage(turn, rules, messageId)
  if (found.author?.userId === userId) return found
  throw new DomainError('forbidden', 'not_yours', 'This is the message of another member.', { field: 'id' })
}

function quoteOf(turn: Turn, rules: ChatRules, messageId: string, channelId: string): Quote {
  const found = livingMessage(turn, rules, messageId)
  if (found.channelId !== channelId) {
    throw new DomainError('unprocessable', 'reply_elsewhere', 'A reply is in the channel of what it replies to.', {
      field: 'reply_to',
    })
  }
  const { author, text } = found
  return {
    messageId,
    userId: author?.userId ?? null,
    username: author?.username ?? '',
    text: startOf(text, QUOTE_LENGTH_MAX),
  }
}

function authorOf(member: ChatterContext, at: number): Author {
  const { userId, username, isAdmin } = member
  return { userId, username, isAdmin, tier: tierAt(member, at) }
}

/** Everybody concerned, each once. */
function notify(turn: Turn, whole: Message): void {
  const repliedTo = whole.replyTo?.userId ?? null
  for (const userId of whole.mentions) if (userId !== repliedTo) tellMember(turn, whole, userId, 'mention')
  if (repliedTo !== null && repliedTo !== whole.author?.userId) tellMember(turn, whole, repliedTo, 'reply')
}

/** Whom it mentions now and did not concern before. */
function notifyOfEdit(turn: Turn, before: Message, mentions: readonly string[]): void {
  const told = [before.replyTo?.userId, ...before.mentions]
  for (const userId of mentions) if (!told.includes(userId)) tellMember(turn, before, userId, 'mention')
}

function tellMember(
  turn: Turn,
  { author, channelId, messageId }: Message,
  userId: string,
  because: 'mention' | 'reply',
): void {
  if (author !== null) turn.emit(memberMentioned.make({ userId, channelId, messageId, by: author, because }))
}

/** What moderators and the filters do (BJ-MOD-01…07). Every act is a fact, and so a row of the audit trail. */
import { z } from 'zod'
import { defineCommand } from '../../engine/command.js'
import { DomainError } from '../../engine/errors.js'
import type { Turn } from '../../engine/turn.js'
import { channel, pinsSince } from './channel.js'
import { theChannels } from './channel-list.js'
import { chatter } from './chatter.js'
import { memberReportClosed, reportsClosed, wordRule } from './facts.js'
import { message } from './message.js'
import { chatterIn, moderatorRefs, requireModerator } from './rights.js'
import type { ChatRules } from './rules.js'
import { file, livingMessage, takeAway, tellChange } from './writing.js'

const id = z.string().min(1).max(64)
const because = z.string().trim().min(1).max(500)
const HOUR_MS = 3_600_000
/** BJ-MOD-03 */
const timeouts = { '1h': HOUR_MS, '24h': 24 * HOUR_MS, '7d': 168 * HOUR_MS }
export const timeoutLength = z.enum(['1h', '24h', '7d'])

export function moderationCommands(rules: ChatRules) {
  const onMessage = z.object({ messageId: id })
  const messageRefs = ({ messageId }: { messageId: string }, who: { role: string; userId: string }) => [
    ...moderatorRefs(who),
    message.ref(messageId),
  ]

  const removeMessage = defineCommand({
    name: 'chat.remove_message',
    input: onMessage,
    who: 'admin',
    actors: messageRefs,
    handle: (turn, { messageId }) => {
      const by = requireModerator(turn, turn.who)
      livingMessage(turn, rules, messageId)
      const offset = takeAway(turn, messageId, 'removed', by)
      turn.emit(reportsClosed.make({ messageId, decision: 'removed', by }))
      return { offset }
    },
  })

  /** What was flagged or reported may stay. */
  const keepMessage = defineCommand({
    name: 'chat.keep_message',
    input: onMessage,
    who: 'admin',
    actors: messageRefs,
    handle: (turn, { messageId }) => {
      const by = requireModerator(turn, turn.who)
      const { status } = livingMessage(turn, rules, messageId)
      turn.emit(reportsClosed.make({ messageId, decision: 'kept', by }))
      if (status === 'approved') return null
      turn.step(message.ref(messageId), { type: 'kept' })
      tellChange(turn, messageId, 'moderated', by)
      return null
    },
  })

  /** The filter has read it (BJ-MOD-01): flagged messages go into the queue, the worst are taken away at once. */
  const judge = defineCommand({
    name: 'chat.judge',
    input: z.object({ messageId: id, verdict: z.enum(['flag', 'remove']), because }),
    who: 'system',
    actors: messageRefs,
    handle: (turn, { messageId, verdict, because: why }) => {
      const ref = message.ref(messageId)
      if (!turn.exists(ref) || turn.value(ref) !== 'visible') return null
      const { channelId, author } = turn.context(ref)
      file(turn, messageId, channelId, author?.userId ?? null, why, 'filter')
      if (verdict === 'remove') {
        takeAway(turn, messageId, 'removed', 'filter')
      } else {
        turn.step(ref, { type: 'flagged' })
        tellChange(turn, messageId, 'moderated', 'filter')
      }
      return null
    },
  })

  const pin = defineCommand({
    name: 'chat.pin',
    input: onMessage,
    who: 'admin',
    actors: messageRefs,
    handle: (turn, { messageId }) => {
      const by = requireModerator(turn, turn.who)
      const { channelId, isPinned, postedAt } = livingMessage(turn, rules, messageId)
      const known = turn.context(channel.ref(channelId))
      if (isPinned) return { offset: known.offset }
      const keptSince = turn.at - rules.retentionMs
      if (pinsSince(known, keptSince).length >= rules.pinsMax) {
        throw new DomainError('conflict', 'too_many_pins', `A channel has at most ${rules.pinsMax} pins. Unpin one.`)
      }
      turn.step(message.ref(messageId), { type: 'pinned' })
      const step = { type: 'pinned' as const, pin: { messageId, postedAt }, keptSince }
      return { offset: tellChange(turn, messageId, 'pinned', by, { step }) }
    },
  })

  const unpin = defineCommand({
    name: 'chat.unpin',
    input: onMessage,
    who: 'admin',
    actors: messageRefs,
    handle: (turn, { messageId }) => {
      const by = requireModerator(turn, turn.who)
      const { channelId, isPinned } = livingMessage(turn, rules, messageId)
      if (!isPinned) return { offset: turn.context(channel.ref(channelId)).offset }
      turn.step(message.ref(messageId), { type: 'unpinned' })
      return { offset: tellChange(turn, messageId, 'unpinned', by, { step: { type: 'unpinned', messageId } }) }
    },
  })

  const onMember = z.object({ userId: id, because })
  const memberRefs = ({ userId }: { userId: string }, who: { role: string; userId: string }) => [
    ...moderatorRefs(who),
    chatter.ref(userId),
  ]

  /** A member who may be silenced: no moderator is. */
  function silenceable(turn: Turn, userId: string) {
    if (chatterIn(turn, userId).isAdmin) {
      throw new DomainError('conflict', 'is_moderator', 'Moderators cannot be silenced.', { field: 'user_id' })
    }
    return chatter.ref(userId)
  }

  const timeOut = defineCommand({
    name: 'chat.time_out',
    input: onMember.extend({ length: timeoutLength }),
    who: 'admin',
    actors: memberRefs,
    handle: (turn, { userId, because: why, length }) => {
      const by = requireModerator(turn, turn.who)
      const until = turn.at + timeouts[length]
      const ref = silenceable(turn, userId)
      if (turn.context(ref).silence?.how === 'banned') {
        throw new DomainError('conflict', 'already_banned', 'This member is banned. Lift that first.')
      }
      turn.step(ref, { type: 'silenced', silence: { how: 'timed_out', until, because: why }, by })
      return { until }
    },
  })

  const ban = defineCommand({
    name: 'chat.ban',
    input: onMember,
    who: 'admin',
    actors: memberRefs,
    handle: (turn, { userId, because: why }) => {
      const by = requireModerator(turn, turn.who)
      const silence = { how: 'banned' as const, until: null, because: why }
      turn.step(silenceable(turn, userId), { type: 'silenced', silence, by })
      return null
    },
  })

  const unsilence = defineCommand({
    name: 'chat.unsilence',
    input: z.object({ userId: id }),
    who: 'admin',
    actors: memberRefs,
    handle: (turn, { userId }) => {
      const by = requireModerator(turn, turn.who)
      if (chatterIn(turn, userId).silence !== null) turn.step(chatter.ref(userId), { type: 'unsilenced', by })
      return null
    },
  })

  /** A report of a member, not of a message, that is open: the caller has looked. */
  const closeMemberReport = defineCommand({
    name: 'chat.close_member_report',
    input: z.object({ reportId: id, userId: id }),
    who: 'admin',
    actors: (_, who) => moderatorRefs(who),
    handle: (turn, { reportId, userId }) => {
      turn.emit(memberReportClosed.make({ reportId, userId, by: requireModerator(turn, turn.who) }))
      return null
    },
  })

  const setWordRules = defineCommand({
    name: 'chat.set_word_rules',
    input: z.object({ rules: z.array(wordRule).max(rules.wordRulesMax) }),
    who: 'admin',
    actors: (_, who) => moderatorRefs(who),
    handle: (turn, { rules: wanted }) => {
      const by = requireModerator(turn, turn.who)
      if (new Set(wanted.map(({ id: each }) => each)).size < wanted.length) {
        throw new DomainError('unprocessable', 'rule_twice', 'Two rules have the same id.', { field: 'rules' })
      }
      turn.step(theChannels, { type: 'rules.set', rules: wanted, by })
      return null
    },
  })

  /** The set that everybody has was loaded (BJ-EMO-02). */
  const setEmotes = defineCommand({
    name: 'chat.set_emotes',
    input: z.object({ codes: z.array(z.string().min(1).max(64)).max(5_000) }),
    who: 'system',
    actors: () => [],
    handle: (turn, { codes }) => {
      const { emotes } = turn.context(theChannels)
      const isSame = emotes !== null && emotes.length === codes.length && codes.every((code, i) => code === emotes[i])
      if (!isSame) turn.step(theChannels, { type: 'emotes.set', codes })
      return null
    },
  })

  return {
    ...{ removeMessage, keepMessage, judge, pin, unpin },
    ...{ timeOut, ban, unsilence, closeMemberReport, setWordRules, setEmotes },
  }
}

import {
  channelChanged,
  type Message,
  memberMentioned,
  memberReportClosed,
  memberSilenced,
  memberUnsilenced,
  messageChanged,
  messagePosted,
  reactionSet,
  reportFiled,
  reportsClosed,
  wordRulesSet,
} from '../../actors/chat/facts.js'
import type { Batch } from './batch.js'
import { type Columns, type Row, sentValue } from './columns.js'
import { type Area, onFact, type Source } from './projection.js'
import { insertInto, patchOf, upsertInto } from './target.js'

const profileColumns = {
  name: 'text',
  description: 'text',
  category: 'text',
  icon: 'text',
  tier_restriction: 'text',
  is_voice: 'boolean',
  display_order: 'int',
  is_active: 'boolean',
  posting: 'text',
  modes: 'json',
  epoch: 'text',
} as const satisfies Columns

const channels = insertInto('social_channels', {
  ...profileColumns,
  id: 'text',
  created_by: 'text',
  created_at: 'time',
})

const channelChanges = patchOf('social_channels', ['id'], {
  ...profileColumns,
  id: 'text',
  changed_by: 'text',
  changed_at: 'time',
})

const messageColumns = {
  id: 'text',
  channel_id: 'text',
  number: 'bigint',
  changed_offset: 'bigint',
  user_id: 'uuid',
  username: 'text',
  tier: 'text',
  is_admin: 'boolean',
  message: 'text',
  original_language: 'text',
  media_type: 'text',
  media_url: 'text',
  media_code: 'text',
  reply_to_id: 'text',
  reply_to_user_id: 'uuid',
  reply_to_username: 'text',
  reply_to_message: 'text',
  mentions: 'json',
  reactions: 'json',
  client_id: 'text',
  pinned: 'boolean',
  moderation_status: 'text',
  created_at: 'time',
  edited_at: 'time',
  deleted_at: 'time',
} as const satisfies Columns

/** As they were posted. */
const messages = upsertInto('social_messages', ['id'], { ...messageColumns, posted_offset: 'bigint' })

/** As they are after a change: written whole, since a message may have been deleted for its age meanwhile. */
const changedMessages = upsertInto('social_messages', ['id'], messageColumns)

/** Follows a change in the same batch, so its row is there. */
const pins = patchOf('social_messages', ['id'], { id: 'text', pinned_by_admin: 'text' })

const reactions = upsertInto('social_message_reactions', ['message_id', 'user_id', 'emoji'], {
  message_id: 'text',
  user_id: 'uuid',
  emoji: 'text',
  created_at: 'time',
})

const reportColumns = {
  id: 'text',
  seq: 'bigint',
  entry: 'int',
  message_id: 'text',
  channel_id: 'text',
  user_id: 'uuid',
  because: 'text',
  reported_by: 'text',
  reported_at: 'time',
} as const satisfies Columns

/** One that was parked may come after what decided it: nobody could close it any more. */
const reports = insertInto('chat_reports', reportColumns, (sent) => {
  const names = Object.keys(reportColumns)
  return `
    insert into chat_reports (${names.join(', ')}, decision, closed_by, closed_at)
    select ${names.map((name) => sentValue(reportColumns, name)).join(', ')}, decision, decided_by, decided_at
    from ${sent} left join lateral (
      select decision, decided_by, decided_at from chat_report_decisions decided
      where decided.message_id = sent.message_id and (decided.seq, decided.entry) > (sent.seq, sent.entry)
      order by decided.seq, decided.entry limit 1) first on true`
})

const closedReports = patchOf('chat_reports', ['id'], {
  id: 'text',
  decision: 'text',
  closed_by: 'text',
  closed_at: 'time',
})

/** Each report is closed by the first decision that follows it. */
const decisions = insertInto(
  'chat_report_decisions',
  { seq: 'bigint', entry: 'int', message_id: 'text', decision: 'text', decided_by: 'text', decided_at: 'time' },
  (sent) => `
    with decided as (
      insert into chat_report_decisions (seq, entry, message_id, decision, decided_by, decided_at)
      select seq, entry, message_id, decision, decided_by, to_timestamp(decided_at / 1000.0::float8) from ${sent}
      returning *
    )
    update chat_reports report
    set decision = decided.decision, closed_by = decided.decided_by, closed_at = decided.decided_at
    from decided
    where report.message_id = decided.message_id and report.closed_at is null
      and (report.seq, report.entry) < (decided.seq, decided.entry)
      and not exists (
        select from decided earlier
        where earlier.message_id = decided.message_id and (earlier.seq, earlier.entry) < (decided.seq, decided.entry)
          and (report.seq, report.entry) < (earlier.seq, earlier.entry))`,
)

const silences = insertInto('chat_silences', {
  seq: 'bigint',
  entry: 'int',
  user_id: 'uuid',
  how: 'text',
  until: 'time',
  because: 'text',
  changed_by: 'text',
  changed_at: 'time',
})

const auditLog = insertInto('audit_logs', {
  seq: 'bigint',
  entry: 'int',
  done_by: 'text',
  action: 'text',
  resource_type: 'text',
  resource_id: 'text',
  changes: 'json',
  created_at: 'time',
})

const notifications = insertInto('notifications', {
  seq: 'bigint',
  entry: 'int',
  user_id: 'uuid',
  type: 'text',
  title: 'text',
  body: 'text',
  data: 'json',
  created_at: 'time',
})

function messageRow(message: Message, offset: number): Row<typeof messageColumns> {
  const { author, media, replyTo } = message
  return {
    id: message.messageId,
    channel_id: message.channelId,
    number: message.number,
    changed_offset: offset,
    user_id: author?.userId ?? null,
    username: author?.username ?? null,
    tier: author?.tier ?? null,
    is_admin: author?.isAdmin ?? null,
    message: message.text,
    original_language: message.language,
    media_type: media.type,
    media_url: media.url,
    media_code: media.code,
    reply_to_id: replyTo?.messageId ?? null,
    reply_to_user_id: replyTo?.userId ?? null,
    reply_to_username: replyTo?.username ?? null,
    reply_to_message: replyTo?.text ?? null,
    mentions: JSON.stringify(message.mentions),
    reactions: JSON.stringify(message.reactions),
    client_id: message.clientId,
    pinned: message.isPinned,
    moderation_status: message.status,
    created_at: message.postedAt,
    edited_at: message.editedAt,
    deleted_at: message.deletedAt,
  }
}

interface Act {
  readonly by: string
  readonly action: string
  readonly on: readonly [type: 'message' | 'member' | 'channel' | 'chat' | 'live_event', id: string]
  readonly changes: object
}

/** BJ-MOD-07 */
export function audit({ seq, entry, at }: Source, batch: Batch, { by, action, on: [type, id], changes }: Act): void {
  batch.put(auditLog, {
    ...{ seq, entry, done_by: by, action, resource_type: type, resource_id: id },
    ...{ changes: JSON.stringify(changes), created_at: at },
  })
}

/** Deletions by authors end what was reported too: there is nothing left to decide. */
function decide(decision: string, messageId: string, by: string, { seq, entry, at }: Source, batch: Batch): void {
  batch.put(decisions, { seq, entry, message_id: messageId, decision, decided_by: by, decided_at: at })
}

const moderationOf = { approved: 'chat.message_approved', flagged: 'chat.message_flagged' } as const

function auditChange(changed: ReturnType<typeof messageChanged.make>, source: Source, batch: Batch): void {
  const { message, change, by } = changed
  if (change !== 'moderated' && change !== 'pinned' && change !== 'unpinned') return
  const { messageId, channelId, author, text, status } = message
  const action =
    change !== 'moderated'
      ? `chat.message_${change}`
      : status === 'removed'
        ? 'chat.message_removed'
        : moderationOf[status]
  const changes = { channelId, userId: author?.userId ?? null, text }
  audit(source, batch, { by: by ?? 'system', action, on: ['message', messageId], changes })
}

function profileRow({ profile, isActive, epoch }: ReturnType<typeof channelChanged.make>) {
  const { minimumTier, isVoice, order, modes, name, description, category, icon, posting } = profile
  return {
    ...{ name, description, category, icon, posting, epoch },
    // BJ-CHAT-10
    tier_restriction: minimumTier === 'standard' ? 'all' : minimumTier,
    ...{ is_voice: isVoice, display_order: order, is_active: isActive, modes: JSON.stringify(modes) },
  }
}

export const chatArea: Area = {
  targets: [
    ...[channels, channelChanges, messages, changedMessages, pins, reactions],
    ...[reports, closedReports, decisions, silences, auditLog, notifications],
  ],
  deltas: {},
  facts: {
    ...onFact(channelChanged, (changed, source, batch) => {
      const { channelId: id, offset, profile, isActive, by } = changed
      const row = { id, ...profileRow(changed) }
      // Its first step opens a channel (X1).
      if (offset === 1) batch.put(channels, { ...row, created_by: by, created_at: source.at })
      else batch.patch(channelChanges, { ...row, changed_by: by, changed_at: source.at })
      const action = offset === 1 ? 'chat.channel_opened' : 'chat.channel_changed'
      audit(source, batch, { by, action, on: ['channel', id], changes: { ...profile, isActive } })
    }),
    ...onFact(messagePosted, ({ message, offset }, _, batch) =>
      batch.put(messages, { ...messageRow(message, offset), posted_offset: offset }),
    ),
    ...onFact(messageChanged, (changed, source, batch) => {
      const { message, offset, change, by } = changed
      const { messageId, deletedAt } = message
      batch.put(changedMessages, messageRow(message, offset))
      if (change === 'pinned') batch.patch(pins, { id: messageId, pinned_by_admin: by })
      if (deletedAt !== null) {
        decide(change === 'deleted' ? 'deleted' : 'removed', messageId, by ?? 'system', source, batch)
      }
      auditChange(changed, source, batch)
    }),
    ...onFact(reactionSet, ({ messageId: message_id, userId: user_id, emoji, isOn }, { at }, batch) => {
      if (isOn) batch.put(reactions, { message_id, user_id, emoji, created_at: at })
      else batch.remove(reactions, { message_id, user_id, emoji })
    }),
    ...onFact(memberMentioned, ({ userId, channelId, messageId, by, because }, { seq, entry, at }, batch) => {
      const did = because === 'mention' ? 'mentioned you' : 'replied to you'
      const data = { channel_id: channelId, message_id: messageId, by: by.userId, because }
      batch.put(notifications, {
        ...{ seq, entry, user_id: userId, type: 'social', title: `${by.username} ${did}`, body: null },
        ...{ data: JSON.stringify(data), created_at: at },
      })
    }),
    ...onFact(memberSilenced, ({ userId, how, until, because, by }, source, batch) => {
      const { seq, entry, at } = source
      const row = { seq, entry, user_id: userId, how, until, because }
      batch.put(silences, { ...row, changed_by: by, changed_at: at })
      audit(source, batch, { by, action: `chat.member_${how}`, on: ['member', userId], changes: { until, because } })
    }),
    ...onFact(memberUnsilenced, ({ userId, by }, source, batch) => {
      const { seq, entry, at } = source
      const row = { seq, entry, user_id: userId, how: 'lifted', until: null, because: null }
      batch.put(silences, { ...row, changed_by: by, changed_at: at })
      audit(source, batch, { by, action: 'chat.member_lifted', on: ['member', userId], changes: {} })
    }),
    ...onFact(reportFiled, (report, { seq, entry, at }, batch) =>
      batch.put(reports, {
        ...{ id: report.reportId, seq, entry, message_id: report.messageId, channel_id: report.channelId },
        ...{ user_id: report.userId, because: report.because, reported_by: report.by, reported_at: at },
      }),
    ),
    ...onFact(reportsClosed, ({ messageId, decision, by }, source, batch) => {
      decide(decision, messageId, by, source, batch)
      audit(source, batch, { by, action: 'chat.reports_closed', on: ['message', messageId], changes: { decision } })
    }),
    ...onFact(memberReportClosed, ({ reportId: id, userId, by }, source, batch) => {
      batch.patch(closedReports, { id, decision: 'kept', closed_by: by, closed_at: source.at })
      audit(source, batch, { by, action: 'chat.report_closed', on: ['member', userId], changes: { reportId: id } })
    }),
    ...onFact(wordRulesSet, ({ rules, by }, source, batch) =>
      audit(source, batch, { by, action: 'chat.word_rules_set', on: ['chat', 'word_rules'], changes: { rules } }),
    ),
  },
}

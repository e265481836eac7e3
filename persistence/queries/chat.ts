/** Cold reads of the chat: what memory no longer holds, and what only moderators ask for. */
import type { RecentMessage } from '../../actors/chat/recent-messages.js'
import type { AfterFact, AuditRow, ReportRow, SilenceRow, TranslationRow } from '../../actors/chat/rows.js'
import { messageColumns, recentMessageOf, type StoredMessage } from '../message-rows.js'
import type { Sql } from '../postgres/connection.js'

interface HistoryPage {
  readonly channelId: string
  /** The page begins before this number; without it with the newest. */
  readonly beforeNumber?: number
  /** Messages that were posted before are too old to be shown. */
  readonly sinceMs: number
  readonly limit: number
}

/** Messages of a channel that are still there, newest first (BJ-CHAT-02). */
export async function history(
  sql: Sql,
  { channelId, beforeNumber = Number.MAX_SAFE_INTEGER, sinceMs, limit }: HistoryPage,
): Promise<RecentMessage[]> {
  const rows = await sql<StoredMessage[]>`
    select ${messageColumns(sql)} from social_messages
    where channel_id = ${channelId} and number < ${beforeNumber} and deleted_at is null
      and created_at > ${new Date(sinceMs)}
    order by number desc limit ${limit}`
  return rows.map(recentMessageOf)
}

/** The number of the last message that was posted up to an offset of a channel; null when that is too long ago. */
export async function numberAt(sql: Sql, channelId: string, offset: number): Promise<number | null> {
  const [found] = await sql<{ number: bigint | null }[]>`
    select coalesce(
      (select number from social_messages
        where channel_id = ${channelId} and posted_offset between 1 and ${offset}
        order by posted_offset desc limit 1),
      (select number - 1 from social_messages
        where channel_id = ${channelId} and posted_offset > 0
        order by posted_offset limit 1)) as number`
  const number = found?.number ?? null
  return number === null ? null : Number(number)
}

/** What waits for a moderator, longest waiting first. */
export async function openReports(
  sql: Sql,
  { after, limit }: { readonly after?: AfterFact; readonly limit: number },
): Promise<ReportRow[]> {
  const reports = await sql<StoredReport[]>`
    select id, seq, entry, message_id, channel_id, user_id, because, reported_by, reported_at from chat_reports
    where closed_at is null and (seq, entry) > (${after?.seq ?? 0}, ${after?.entry ?? -1})
    order by seq, entry limit ${limit}`
  const ids = reports.flatMap(({ message_id: id }) => (id === null ? [] : [id]))
  const rows = await sql<StoredMessage[]>`
    select ${messageColumns(sql)} from social_messages where id = any(${ids}::text[])`
  const messages = new Map(rows.map((row) => [row.id, recentMessageOf(row).message]))
  return reports.map((report) => ({
    reportId: report.id,
    seq: Number(report.seq),
    entry: report.entry,
    at: report.reported_at.getTime(),
    by: report.reported_by,
    because: report.because,
    channelId: report.channel_id,
    userId: report.user_id,
    message: messages.get(report.message_id ?? '') ?? null,
  }))
}

interface StoredReport {
  readonly id: string
  readonly seq: bigint
  readonly entry: number
  readonly message_id: string | null
  readonly channel_id: string | null
  readonly user_id: string | null
  readonly because: string
  readonly reported_by: string
  readonly reported_at: Date
}

/** Whom an open report of a member is about; null when there is none of this id. */
export async function openMemberReport(sql: Sql, reportId: string): Promise<string | null> {
  const [report] = await sql<{ user_id: string | null }[]>`
    select user_id from chat_reports where id = ${reportId} and message_id is null and closed_at is null`
  return report?.user_id ?? null
}

interface NewestFirst {
  /** The page begins before this fact; without it with the newest. */
  readonly before?: AfterFact
  readonly limit: number
}

const beforeFact = (sql: Sql, before: AfterFact | undefined) =>
  before === undefined ? sql`true` : sql`(seq, entry) < (${before.seq}, ${before.entry})`

/** When a member was kept from writing, and by whom, newest first. */
export async function silencesOf(sql: Sql, userId: string, { before, limit }: NewestFirst): Promise<SilenceRow[]> {
  const rows = await sql<StoredSilence[]>`
    select seq, entry, how, until, because, changed_by, changed_at from chat_silences
    where user_id = ${userId} and ${beforeFact(sql, before)} order by seq desc, entry desc limit ${limit}`
  return rows.map(({ seq, entry, how, until, because, changed_by: by, changed_at }) => ({
    ...{ seq: Number(seq), entry, at: changed_at.getTime(), how, until: until?.getTime() ?? null, because, by },
  }))
}

interface StoredSilence {
  readonly seq: bigint
  readonly entry: number
  readonly how: SilenceRow['how']
  readonly until: Date | null
  readonly because: string | null
  readonly changed_by: string
  readonly changed_at: Date
}

interface AuditFilter extends NewestFirst {
  readonly by?: string
  readonly resource?: { readonly type: string; readonly id: string }
}

/** What was done by moderators, filters and the system, newest first (BJ-MOD-07). */
export async function auditLog(sql: Sql, { by, resource, before, limit }: AuditFilter): Promise<AuditRow[]> {
  const rows = await sql<StoredAct[]>`
    select seq, entry, done_by, action, resource_type, resource_id, changes, created_at from audit_logs
    where ${beforeFact(sql, before)} ${by === undefined ? sql`` : sql`and done_by = ${by}`}
      ${resource === undefined ? sql`` : sql`and resource_type = ${resource.type} and resource_id = ${resource.id}`}
    order by seq desc, entry desc limit ${limit}`
  return rows.map((row) => ({
    seq: Number(row.seq),
    entry: row.entry,
    at: row.created_at.getTime(),
    by: row.done_by,
    action: row.action,
    resourceType: row.resource_type,
    resourceId: row.resource_id,
    changes: row.changes,
  }))
}

interface StoredAct {
  readonly seq: bigint
  readonly entry: number
  readonly done_by: string
  readonly action: string
  readonly resource_type: string
  readonly resource_id: string
  readonly changes: AuditRow['changes']
  readonly created_at: Date
}

/** Translations of messages into a language, those there are. */
export async function translations(
  sql: Sql,
  messageIds: readonly string[],
  language: string,
): Promise<TranslationRow[]> {
  const rows = await sql<StoredTranslation[]>`
    select message_id, version, translated_text, source_language, translated_at from social_message_translations
    where message_id = any(${[...messageIds]}::text[]) and language = ${language}`
  return rows.map(({ message_id: messageId, version, translated_text: text, source_language, translated_at }) => ({
    ...{ messageId, language, version: Number(version), text },
    ...{ sourceLanguage: source_language, at: translated_at.getTime() },
  }))
}

interface StoredTranslation {
  readonly message_id: string
  readonly version: bigint
  readonly translated_text: string
  readonly source_language: string
  readonly translated_at: Date
}

/** Keeps a translation in place of that of an earlier edit. It is no fact: lost, it is asked for once more. */
export async function keepTranslation(sql: Sql, translation: TranslationRow): Promise<void> {
  const { messageId, language, version, text, sourceLanguage, at } = translation
  const plain = text.replaceAll('\0', '\ufffd')
  await sql`
    insert into social_message_translations
      (message_id, language, version, translated_text, source_language, translated_at)
    values (${messageId}, ${language}, ${version}, ${plain}, ${sourceLanguage}, ${new Date(at)})
    on conflict (message_id, language) do update set version = excluded.version,
      translated_text = excluded.translated_text, source_language = excluded.source_language,
      translated_at = excluded.translated_at
    where social_message_translations.version < excluded.version`
}

/** The chat as it is read back from Postgres. Times are milliseconds. */
import type { Message } from './facts.js'

/** Where a page begins: after the row of this fact. */
export interface AfterFact {
  readonly seq: number
  readonly entry: number
}

/** Something moderators have to decide (BJ-MOD-07). */
export interface ReportRow extends AfterFact {
  readonly reportId: string
  readonly at: number
  /** A user id, `system` or `filter`. */
  readonly by: string
  readonly because: string
  readonly channelId: string | null
  /** Whose message, or who, it is about; null for the system. */
  readonly userId: string | null
  /** As it is now; null when a member was reported, and when the message is too old to be kept. */
  readonly message: Message | null
}

export interface SilenceRow extends AfterFact {
  readonly at: number
  readonly how: 'muted' | 'timed_out' | 'banned' | 'lifted'
  /** Null for good, and when it was lifted. */
  readonly until: number | null
  readonly because: string | null
  readonly by: string
}

export interface TranslationRow {
  readonly messageId: string
  /** BCP 47 */
  readonly language: string
  /** Tells the edits of a message apart: the time of the last one, or 0. */
  readonly version: number
  readonly text: string
  readonly sourceLanguage: string
  readonly at: number
}

/** One act of a moderator, a filter or the system. */
export interface AuditRow extends AfterFact {
  readonly at: number
  readonly by: string
  readonly action: string
  readonly resourceType: string
  readonly resourceId: string
  readonly changes: Readonly<Record<string, unknown>>
}

/** What the routes of the chat stand on besides the core: what only Postgres has, and services of others. */
import type { Message } from '../actors/chat/facts.js'
import type { AfterFact, AuditRow, ReportRow, SilenceRow } from '../actors/chat/rows.js'
import type { Emote } from './drivers/emotes.js'
import type { Translation } from './drivers/translation.js'
import type { TranslatableMessage } from './drivers/translation-cache.js'
import type { LiveEvents } from './live-events.js'

interface NewestFirst {
  readonly before?: AfterFact
  readonly limit: number
}

export interface SocialReads {
  /** Newest first; what was posted before `sinceMs` is too old. */
  history(page: {
    readonly channelId: string
    readonly beforeNumber: number
    readonly sinceMs: number
    readonly limit: number
  }): Promise<readonly { readonly message: Message }[]>
  /** What waits for a moderator, longest waiting first. */
  openReports(page: { readonly after?: AfterFact; readonly limit: number }): Promise<readonly ReportRow[]>
  /** Whom an open report of a member is about; null when there is none of this id. */
  openMemberReport(reportId: string): Promise<string | null>
  silencesOf(userId: string, page: NewestFirst): Promise<readonly SilenceRow[]>
  auditLog(
    filter: NewestFirst & { readonly by?: string; readonly resource?: { readonly type: string; readonly id: string } },
  ): Promise<readonly AuditRow[]>
  /** The number of the last message up to an offset; null when that is too long ago. */
  numberAt(channelId: string, offset: number): Promise<number | null>
}

export interface SocialPort {
  readonly reads: SocialReads
  readonly live: LiveEvents
  /** Null when nothing is translated here. */
  readonly translations: {
    readonly languages: readonly string[]
    /** Rejects with `translation_busy`, `translation_unavailable`, `not_running`. */
    translate(message: TranslatableMessage, language: string): Promise<Translation>
  } | null
  /** The emotes everybody has; null when they are off. */
  readonly emotes: { readonly emotes: readonly Emote[]; readonly refreshedAt: number | null } | null
}

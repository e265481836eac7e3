/** The shape of a program's chat policy: data the channels and their members' standings are decided by. */
import type { TierName } from '../user/facts.js'

/** How fast a tier may write (BJ-CHAT-21, BJ-CHAT-22). */
export interface PaceRule {
  /** Least time between two messages; 0 for none. */
  readonly intervalMs: number
  /** Whether writing faster makes the interval grow (BJ-T43). */
  readonly escalates: boolean
}

/** So many at once, and then one more with every interval. */
export interface AllowanceRule {
  readonly atOnce: number
  readonly intervalMs: number
}

/** What is counted by itself, whatever the tier. */
export type AllowedAct = 'edits' | 'reports'

export interface DefaultChannel {
  readonly id: string
  readonly category: string
  readonly name: string
  readonly description: string
  readonly icon: string
  readonly minimumTier: TierName
  /** `admins`: members read and react only (BJ-T44). */
  readonly posting: 'members' | 'admins'
}

export interface ChatRules {
  /** BJ-CHAT-12 */
  readonly textLengthMax: number
  readonly editWindowMs: number
  /** Older messages are gone (BJ-CHAT-20). */
  readonly retentionMs: number
  readonly paces: Readonly<Record<TierName, PaceRule>>
  readonly allowances: Readonly<Record<AllowedAct, AllowanceRule>>
  /** The interval doubles with each violation, up to this; it is forgotten after `calmMs` without one. */
  readonly escalation: { readonly intervalMaxMs: number; readonly calmMs: number }
  /** So many identical messages in a row, within the window, mute their author (BJ-CHAT-23). */
  readonly repetition: { readonly messagesMax: number; readonly windowMs: number; readonly muteMs: number }
  readonly mentionsMax: number
  /** Different emoji on one message. */
  readonly emojisMax: number
  readonly pinsMax: number
  readonly channelsMax: number
  readonly wordRulesMax: number
  /** Hosts media may come from, by kind (BJ-CHAT-13, BJ-EMO-01); a host stands for its subdomains too. */
  readonly mediaHosts: Readonly<Record<'gif' | 'emote' | 'image', readonly string[]>>
  /** Where milestones and rises in tier are told (BJ-CHAT-17). */
  readonly system: { readonly channel: string; readonly perMinuteMax: number; readonly tiersFrom: TierName }
  /** BJ-CHAT-09, BJ-CHAT-10, BJ-T44: they exist from the first start. */
  readonly channels: readonly DefaultChannel[]
}

/** How fast and how often the same a member may write, edit and report (BJ-CHAT-21…23, BJ-T43). */
import { Refusal } from '../../engine/command.js'
import { DomainError } from '../../engine/errors.js'
import type { Turn } from '../../engine/turn.js'
import { type ChatterContext, chatter, tierAt } from './chatter.js'
import type { ChannelProfile } from './facts.js'
import type { AllowedAct, ChatRules } from './rules.js'

/** Too fast for their tier: refused, and what is asked of them grows. Null when there is nothing against it. */
export function refuseHurry(turn: Turn, rules: ChatRules, member: ChatterContext): Refusal | null {
  if (member.isAdmin) return null
  const { intervalMs, escalates } = rules.paces[tierAt(member, turn.at)]
  const violations = violationsAt(rules, member, turn.at)
  const interval = escalates ? Math.min(intervalMs * 2 ** violations, rules.escalation.intervalMaxMs) : intervalMs
  const since = escalates && violations > 0 ? Math.max(member.lastAt, member.violatedAt) : member.lastAt
  const nextAt = since + interval
  if (turn.at >= nextAt) return null
  if (!escalates) return new Refusal(tooFast(nextAt - turn.at))
  turn.step(chatter.ref(member.userId), { type: 'hurried', at: turn.at, violations: violations + 1 })
  const longer = Math.min(intervalMs * 2 ** (violations + 1), rules.escalation.intervalMaxMs)
  return new Refusal(tooFast(longer))
}

function violationsAt({ escalation }: ChatRules, { violations, violatedAt }: ChatterContext, at: number): number {
  return at - violatedAt > escalation.calmMs ? 0 : violations
}

function tooFast(retryAfterMs: number): DomainError {
  const message = `Not so fast: you can write again in ${Math.ceil(retryAfterMs / 1_000)} s.`
  return new DomainError('too_many', 'cooldown', message, { retryAfterMs })
}

const tooOften = {
  edits: { code: 'too_many_edits', does: 'edit' },
  reports: { code: 'too_many_reports', does: 'report' },
} as const

/** Counts one of these; moderators are above it. Throws `too_many_edits`, `too_many_reports`. */
export function useAllowance(turn: Turn, { allowances }: ChatRules, member: ChatterContext, act: AllowedAct): void {
  if (member.isAdmin) return
  const { atOnce, intervalMs } = allowances[act]
  const from = Math.max(turn.at, member.usedUntil?.[act] ?? 0)
  const waitMs = from - turn.at - (atOnce - 1) * intervalMs
  if (waitMs > 0) {
    const { code, does } = tooOften[act]
    const message = `Not so many: you can ${does} again in ${Math.ceil(waitMs / 1_000)} s.`
    throw new DomainError('too_many', code, message, { retryAfterMs: waitMs })
  }
  turn.step(chatter.ref(member.userId), { type: 'used', act, until: from + intervalMs })
}

/** A channel in slow mode; moderators are above it. Throws `slow_mode`. */
export function requireSlowness(
  { modes }: ChannelProfile,
  channelId: string,
  member: ChatterContext,
  at: number,
): void {
  const waitMs = (member.slowed[channelId] ?? 0) + modes.slowModeSeconds * 1_000 - at
  if (modes.slowModeSeconds === 0 || waitMs <= 0 || member.isAdmin) return
  const message = `Slow mode: you can write here again in ${Math.ceil(waitMs / 1_000)} s.`
  throw new DomainError('too_many', 'slow_mode', message, { retryAfterMs: waitMs })
}

/** How many times in a row the member would have said this. */
export function repeatsWith({ repetition }: ChatRules, member: ChatterContext, sameness: string, at: number): number {
  const isSame = sameness !== '' && sameness === member.repeated && at - member.repeatedSince < repetition.windowMs
  return isSame ? member.repeats + 1 : 1
}

/** One time too often: muted, and told so. */
export function muteForRepetition(turn: Turn, { repetition }: ChatRules, member: ChatterContext): Refusal {
  const until = turn.at + repetition.muteMs
  const because = `${repetition.messagesMax} identical messages`
  turn.step(chatter.ref(member.userId), { type: 'silenced', silence: { how: 'muted', until, because }, by: 'system' })
  const message = `You cannot write in the chat now: ${because}.`
  return new Refusal(new DomainError('forbidden', 'muted', message, { retryAfterMs: repetition.muteMs }))
}

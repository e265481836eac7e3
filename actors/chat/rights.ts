/** Who may read, write and moderate. Every refusal has its own code and changes nothing, unless it says so. */
import { DomainError } from '../../engine/errors.js'
import type { ReadScope } from '../../engine/turn.js'
import { isAtLeast } from '../programs/tiers.js'
import { channel } from './channel.js'
import { type ChatterContext, chatter, silenceAt, tierAt } from './chatter.js'
import type { ChannelProfile } from './facts.js'

/** Throws `chat_not_entered`. */
export function chatterIn(scope: ReadScope, userId: string): ChatterContext {
  const ref = chatter.ref(userId)
  if (scope.exists(ref)) return scope.context(ref)
  throw new DomainError('conflict', 'chat_not_entered', 'The chat does not know this member yet. Connect to it first.')
}

/** Whether a member may see what is for this tier and above. */
export function mayRead(
  member: ChatterContext,
  { minimumTier }: Pick<ChannelProfile, 'minimumTier'>,
  at: number,
): boolean {
  return member.isAdmin || isAtLeast(tierAt(member, at), minimumTier)
}

/** A channel that is open and that the member may read. Throws `channel_unknown` and `tier_too_low`. */
export function readableChannel(scope: ReadScope, channelId: string, member: ChatterContext) {
  const ref = channel.ref(channelId)
  const known = scope.context(ref)
  const { profile } = known
  if (profile === null || scope.value(ref) !== 'open') throw channelUnknown()
  if (!mayRead(member, profile, scope.at)) {
    throw new DomainError('forbidden', 'tier_too_low', `This channel is for ${profile.minimumTier} and above.`, {
      field: 'channel',
    })
  }
  return { ref, known, profile }
}

export function channelUnknown(): DomainError {
  return new DomainError('not_found', 'channel_unknown', 'There is no such channel.', { field: 'channel' })
}

/** Throws `suspended`, `banned`, `timed_out`, `muted`. */
export function requireVoice(member: ChatterContext, at: number): void {
  if (member.isSuspended) throw new DomainError('forbidden', 'account_suspended', 'This account is suspended.')
  const silence = silenceAt(member, at)
  if (silence === null) return
  const { how, until, because } = silence
  const message = `You cannot write in the chat now: ${because}.`
  if (until === null) throw new DomainError('forbidden', how, message)
  throw new DomainError('forbidden', how, message, { retryAfterMs: until - at })
}

/** The id of the moderator, who is an administrator until there are other roles (BJ-T44). Throws `forbidden`. */
export function requireModerator(scope: ReadScope, who: { readonly role: string; readonly userId: string }): string {
  if (who.role === 'system') return 'system'
  if (chatterIn(scope, who.userId).isAdmin) return who.userId
  throw new DomainError('forbidden', 'forbidden', 'This needs a moderator.')
}

/** The actors a moderator's command names for its own checks. */
export const moderatorRefs = (who: { readonly role: string; readonly userId: string }) =>
  who.role === 'system' ? [] : [chatter.ref(who.userId)]

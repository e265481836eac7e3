/** What the routes of the chat share: who comes in, and why they may be refused. */
import { z } from 'zod'
import { DomainError } from '../../engine/errors.js'
import type { Services } from '../services.js'
import type { Principal } from './toolkit/principal.js'
import type { RouteError } from './toolkit/route.js'

export const channelId = z.string().regex(/^[a-z0-9-]{1,64}$/)
export const messageId = z.string().regex(/^[\w-]{1,64}$/)
export const userId = z.uuid()
export const because = z.string().trim().min(1).max(500)

/** Lets a member in who may have no socket. Throws `session_ended`. */
export async function enterChat({ shard, program, chat }: Services, who: Principal): Promise<void> {
  await shard.query(program.queries.session, who)
  await chat.ensureEntered(who.userId)
}

/** The same for a moderator. Throws `session_ended`, `forbidden`. */
export async function enterAsModerator({ shard, program, chat }: Services, who: Principal): Promise<void> {
  await shard.query(program.queries.adminSession, who)
  await chat.ensureEntered(who.userId)
}

/** Somebody whom the chat has to know because something is done to them. Throws `user_unknown`. */
export async function knownMember({ shard, program, chat }: Services, id: string) {
  const member = await shard.query(program.queries.member, { userId: id })
  if (member === null) throw new DomainError('not_found', 'user_unknown', 'There is no such member.', { field: 'id' })
  await chat.ensureEntered(id)
  return member
}

export const userUnknown: RouteError = { status: 404, code: 'user_unknown', when: 'There is no such member.' }
export const messageUnknown: RouteError = {
  status: 404,
  code: 'message_unknown',
  when: 'There is no such message, or it was deleted, or it is older than 90 days.',
}
export const channelUnknown: RouteError = { status: 404, code: 'channel_unknown', when: 'There is no such channel.' }

/** Of everything that happens in a channel. */
export const channelRefusals: readonly RouteError[] = [
  channelUnknown,
  { status: 403, code: 'tier_too_low', when: 'The channel is for higher tiers.' },
]

/** Of members who may not write now; `retry_after` says for how long. */
export const silenced: readonly RouteError[] = [
  { status: 403, code: 'muted', when: 'The member said the same thing too often.' },
  { status: 403, code: 'timed_out', when: 'A moderator has timed the member out.' },
  { status: 403, code: 'banned', when: 'A moderator has banned the member.' },
]

export const tooManyReports: RouteError = {
  status: 429,
  code: 'too_many_reports',
  when: 'More than ten reports at once, or one a minute after them.',
}

/** Of what is said. */
export const contentRefusals: readonly RouteError[] = [
  { status: 422, code: 'text_too_long', when: 'The text has more than 2,000 characters.' },
  { status: 422, code: 'message_empty', when: 'There is nothing in it.' },
  { status: 422, code: 'word_refused', when: 'It has words that are not said here.' },
  { status: 403, code: 'posting_closed', when: 'Only moderators write in this channel.' },
  { status: 403, code: 'member_too_new', when: 'The channel is for those who have been members for longer.' },
  { status: 403, code: 'emote_only', when: 'The channel is for emotes only.' },
  { status: 403, code: 'link_not_allowed', when: 'Links in this channel are for higher tiers.' },
  { status: 403, code: 'not_unique', when: 'Somebody said exactly this in the channel, where every message is new.' },
]

/** What gateways are told, and may ask by name, of the engine: everything their sockets need. */
import { z } from 'zod'
import type { LoyaltyProgram } from '../../actors/programs/loyalty.js'
import { tierName } from '../../actors/user/facts.js'
import type { Command, Query } from '../../engine/command.js'
import { rightsFacts } from '../sockets/rights-watch.js'
import type { RemoteQuery } from './engine-bus.js'

/** In one query. */
const IDS_MAX = 1_000

/** Types of facts that the sockets of a gateway are told of. */
export const factsOnBus: ReadonlySet<string> = new Set<string>([
  'chat.message_posted',
  'chat.message_changed',
  'chat.channel_changed',
  'chat.member_mentioned',
  'chat.member_silenced',
  'chat.member_unsilenced',
  ...rightsFacts,
  'live.event_changed',
  'live.reminder_due',
  'session.closed',
])

const text = z.string().max(128)
const member = z.object({ userId: text })

/** A place in the stream of a channel. */
export const placeSchema = z.object({ channelId: text, offset: z.int().nonnegative() })

/** The commands behind `/social/ws`. */
export function commandsOnBus({ chat }: LoyaltyProgram): Command[] {
  return Object.values<unknown>(chat.commands.chat) as Command[]
}

/** The queries behind `/social/ws`. */
export function queriesOnBus({ queries, chat, live }: LoyaltyProgram): RemoteQuery[] {
  const position = z.object({ epoch: text, offset: z.int().nonnegative() }).nullable()
  const opened = member.extend({ channelId: text, position, limit: z.int().nonnegative() })
  const ids = z.array(text).max(IDS_MAX)
  const remote = <Args>(query: Query<Args>, args: z.ZodType<Args>): RemoteQuery => ({ query: query as Query, args })
  return [
    remote(queries.session, member.extend({ sessionId: text })),
    remote(chat.queries.known, member),
    remote(chat.queries.channels, member),
    remote(chat.queries.readable, member.extend({ channelId: text })),
    remote(chat.queries.openChannel, opened),
    remote(chat.queries.numberAt, placeSchema),
    remote(live.queries.eventsFor, member.extend({ eventIds: ids })),
    remote(live.queries.watchable, member.extend({ eventId: text })),
    remote(live.queries.audience, z.object({ minimumTier: tierName, userIds: ids })),
  ]
}

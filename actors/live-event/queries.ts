/** What members see of live events in memory: those that are scheduled or live, and for their tier. */
import { defineQuery } from '../../engine/command.js'
import { DomainError } from '../../engine/errors.js'
import type { ReadScope } from '../../engine/turn.js'
import { chatter } from '../chat/chatter.js'
import { chatterIn, mayRead } from '../chat/rights.js'
import { eventUnknown, liveRow } from './commands.js'
import type { LiveEventRow } from './facts.js'
import { liveEvent, theProgramme } from './machine.js'

export const isOver = ({ status }: LiveEventRow) => status === 'ended' || status === 'cancelled'

function rowsOf(scope: ReadScope, eventIds: readonly string[]): LiveEventRow[] {
  return eventIds
    .map((id) => liveEvent.ref(id))
    .filter((ref) => scope.exists(ref))
    .map((ref) => liveRow(scope, ref))
    .filter((row) => !isOver(row))
}

export function liveEventQueries() {
  /** Ids of what is scheduled or live. */
  const programme = defineQuery({
    name: 'live.programme',
    actors: () => [],
    read: (scope, _: Record<string, never>) => scope.context(theProgramme).eventIds,
  })

  /** Of these events those that are not over. */
  const events = defineQuery({
    name: 'live.events',
    actors: ({ eventIds }: { eventIds: readonly string[] }) => eventIds.map((id) => liveEvent.ref(id)),
    read: (scope, { eventIds }) => rowsOf(scope, eventIds),
  })

  /** Of these events those that are not over and that a member may see. Throws `chat_not_entered`. */
  const eventsFor = defineQuery({
    name: 'live.events_for',
    actors: ({ userId, eventIds }: { userId: string; eventIds: readonly string[] }) => [
      chatter.ref(userId),
      ...eventIds.map((id) => liveEvent.ref(id)),
    ],
    read: (scope, { userId, eventIds }) => {
      const member = chatterIn(scope, userId)
      return rowsOf(scope, eventIds).filter((row) => mayRead(member, row, scope.at))
    },
  })

  /** One event, to be watched. Throws `event_unknown`, `event_over`, `tier_too_low`, `chat_not_entered`. */
  const watchable = defineQuery({
    name: 'live.watchable',
    actors: ({ userId, eventId }: { userId: string; eventId: string }) => [chatter.ref(userId), liveEvent.ref(eventId)],
    read: (scope, { userId, eventId }) => {
      const member = chatterIn(scope, userId)
      const ref = liveEvent.ref(eventId)
      if (!scope.exists(ref)) throw eventUnknown()
      const row = liveRow(scope, ref)
      if (!mayRead(member, row, scope.at)) {
        throw new DomainError('forbidden', 'tier_too_low', `This event is for ${row.minimumTier} and above.`, {
          field: 'event',
        })
      }
      if (isOver(row)) throw new DomainError('conflict', 'event_over', 'This event is over.', { field: 'event' })
      return row
    },
  })

  /** Of these members those who may see an event of this tier. */
  const audience = defineQuery({
    name: 'live.audience',
    actors: ({ userIds }: { userIds: readonly string[]; minimumTier: LiveEventRow['minimumTier'] }) =>
      userIds.map((userId) => chatter.ref(userId)),
    read: (scope, { userIds, minimumTier }) =>
      userIds.filter((userId) => {
        const ref = chatter.ref(userId)
        return scope.exists(ref) && mayRead(scope.context(ref), { minimumTier }, scope.at)
      }),
  })

  return { programme, events, eventsFor, watchable, audience }
}

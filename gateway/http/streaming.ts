/** Live events for members (BJ-LIVE-02…04). */
import { z } from 'zod'
import type { LiveEventRow } from '../../actors/live-event/facts.js'
import { liveEventSchema } from '../live-event-json.js'
import type { Services } from '../services.js'
import { afterOf, cursorInvalid, cursorOf, paging } from './payout-json.js'
import { enterChat } from './social-common.js'
import type { Principal } from './toolkit/principal.js'
import { defineRoute, type Route } from './toolkit/route.js'

const some = z.object({ events: z.array(liveEventSchema) })

export function streamingRoutes(services: Services): Route[] {
  const { social } = services

  async function listed(principal: Principal, status: LiveEventRow['status']) {
    await enterChat(services, principal)
    const rows = (await social.live.currentFor(principal.userId)).filter((row) => row.status === status)
    const sorted = rows.sort((a, b) => a.startsAt - b.startsAt)
    return { events: sorted.map((row) => social.live.json(row)) }
  }

  const live = defineRoute({
    method: 'GET',
    path: '/v1/streaming/live',
    who: 'member',
    tag: 'Live events',
    summary: 'What is live now and for my tier, with where it is played',
    response: some,
    handle: ({ principal }) => listed(principal, 'live'),
  })

  const schedule = defineRoute({
    method: 'GET',
    path: '/v1/streaming/schedule',
    who: 'member',
    tag: 'Live events',
    summary: 'What is to come and for my tier, the next first',
    response: some,
    handle: ({ principal }) => listed(principal, 'scheduled'),
  })

  const archive = defineRoute({
    method: 'GET',
    path: '/v1/streaming/archive',
    who: 'member',
    tag: 'Live events',
    summary: 'What was live and for my tier, the last first; it may lag behind by some milliseconds',
    query: z.object(paging),
    response: some.extend({ next_cursor: z.string().nullable() }),
    errors: [cursorInvalid],
    handle: async ({ query: { limit, cursor }, principal }) => {
      await enterChat(services, principal)
      const { after } = afterOf(cursor)
      const before = after === undefined ? {} : { before: { endedAt: after.seq, eventId: after.id } }
      const rows = await social.live.archive(principal.userId, { limit, ...before })
      const places = rows.map(({ endedAt, eventId }) => ({ seq: endedAt ?? 0, id: eventId }))
      return { events: rows.map((row) => social.live.json(row)), next_cursor: cursorOf(places, limit) }
    },
  })

  return [live, schedule, archive]
}

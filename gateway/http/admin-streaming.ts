/** Live events for administrators (BJ-LIVE-05, BJ-LIVE-08). The stream itself comes by RTMP to an ingest elsewhere. */
import { z } from 'zod'
import { type LiveEventProfile, type LiveEventRow, liveEventProfile } from '../../actors/live-event/facts.js'
import type { Command } from '../../engine/command.js'
import { adminLiveEventSchema } from '../live-event-json.js'
import type { Services } from '../services.js'
import { fingerprint, idempotencyConflict } from './auth.js'
import { channelUnknown, enterAsModerator } from './social-common.js'
import type { Principal } from './toolkit/principal.js'
import { defineRoute, type Route } from './toolkit/route.js'

/** Where an event is talked about unless it is said otherwise. */
const CHANNEL_DEFAULT = 'live-events'

const { title, description, hostName, channelId } = liveEventProfile.shape
const profileBody = z.object({
  title,
  description: description.optional(),
  host_name: hostName,
  tier_restriction: z.enum(['all', 'vip', 'high_roller', 'whale']).optional(),
  channel: channelId.optional(),
})
const changeBody = profileBody.partial()
const time = z.iso.datetime({ offset: true })
const params = z.object({ id: z.uuid() })
const eventUnknown = { status: 404, code: 'event_unknown', when: 'There is no such event.' }
const eventState = { status: 409, code: 'event_state', when: 'The event is in a state that does not allow this.' }
const startPast = { status: 422, code: 'start_past', when: 'It would start in the past.' }

export function adminStreamingRoutes(services: Services): Route[] {
  const { shard, program, newId, social } = services
  const { commands } = program.live

  async function changed(command: Command<{ eventId: string }, LiveEventRow>, eventId: string, who: Principal) {
    await enterAsModerator(services, who)
    return social.live.adminJson(await shard.execute(command, { args: { eventId }, who }))
  }

  const list = defineRoute({
    method: 'GET',
    path: '/v1/admin/streaming/events',
    who: 'admin',
    tag: 'Live event administration',
    summary: 'All events that are scheduled or live, with the keys of their streams',
    response: z.object({ events: z.array(adminLiveEventSchema) }),
    handle: async ({ principal }) => {
      await enterAsModerator(services, principal)
      return { events: (await social.live.current()).map((row) => social.live.adminJson(row)) }
    },
  })

  const schedule = defineRoute({
    method: 'POST',
    path: '/v1/admin/streaming/events',
    who: 'admin',
    tag: 'Live event administration',
    summary: 'Schedule an event; without a time it is due now',
    body: profileBody.extend({ scheduled_at: time.optional() }),
    status: 201,
    response: adminLiveEventSchema,
    errors: [
      startPast,
      channelUnknown,
      { status: 409, code: 'too_many_events', when: 'There are as many scheduled and live events as there may be.' },
      idempotencyConflict,
    ],
    handle: async ({ body, principal: who, idempotencyKey }) => {
      await enterAsModerator(services, who)
      const profile: LiveEventProfile = {
        ...{ description: '', minimumTier: 'standard', channelId: CHANNEL_DEFAULT },
        ...{ title: body.title, hostName: body.host_name, ...profileOf(body) },
      }
      const scheduled = await shard.execute(commands.schedule, {
        args: {
          ...{ eventId: newId(), streamKey: newId().replaceAll('-', ''), profile },
          startsAt: body.scheduled_at === undefined ? null : Date.parse(body.scheduled_at),
        },
        who,
        key: idempotencyKey,
        fingerprint: idempotencyKey && fingerprint(services, body),
      })
      return social.live.adminJson(scheduled)
    },
  })

  const edit = defineRoute({
    method: 'PUT',
    path: '/v1/admin/streaming/events/:id',
    who: 'admin',
    tag: 'Live event administration',
    summary: 'Change an event that is not over; what is left out stays. One that is live cannot be moved',
    params,
    body: changeBody.extend({ scheduled_at: time.optional() }),
    response: adminLiveEventSchema,
    errors: [eventUnknown, eventState, startPast, channelUnknown],
    handle: async ({ params: { id: eventId }, body, principal: who }) => {
      await enterAsModerator(services, who)
      const startsAt = body.scheduled_at === undefined ? null : Date.parse(body.scheduled_at)
      const args = { eventId, edit: profileOf(body), startsAt }
      return social.live.adminJson(await shard.execute(commands.edit, { args, who }))
    },
  })

  const start = defineRoute({
    method: 'POST',
    path: '/v1/admin/streaming/events/:id/start',
    who: 'admin',
    tag: 'Live event administration',
    summary: 'Go live; the encoder sends to the ingest with the key of the stream',
    params,
    response: adminLiveEventSchema,
    errors: [eventUnknown, eventState],
    handle: ({ params: { id }, principal }) => changed(commands.start, id, principal),
  })

  const stop = defineRoute({
    method: 'POST',
    path: '/v1/admin/streaming/events/:id/stop',
    who: 'admin',
    tag: 'Live event administration',
    summary: 'End an event that is live; it goes into the archive',
    params,
    response: adminLiveEventSchema,
    errors: [eventUnknown, eventState],
    handle: ({ params: { id }, principal }) => changed(commands.stop, id, principal),
  })

  const cancel = defineRoute({
    method: 'POST',
    path: '/v1/admin/streaming/events/:id/cancel',
    who: 'admin',
    tag: 'Live event administration',
    summary: 'Call an event off, also while it is live; it will not be in the archive',
    params,
    response: adminLiveEventSchema,
    errors: [eventUnknown, eventState],
    handle: ({ params: { id }, principal }) => changed(commands.cancel, id, principal),
  })

  const pinOverlay = defineRoute({
    method: 'POST',
    path: '/v1/admin/streaming/events/:id/overlay',
    who: 'admin',
    tag: 'Live event administration',
    summary: 'Pin an announcement over the picture, in place of the one before',
    params,
    body: z.object({ text: z.string().trim().min(1).max(500) }),
    response: adminLiveEventSchema,
    errors: [eventUnknown, eventState],
    handle: ({ params, body: { text }, principal }) => setOverlay(params.id, text, principal),
  })

  const clearOverlay = defineRoute({
    method: 'DELETE',
    path: '/v1/admin/streaming/events/:id/overlay',
    who: 'admin',
    tag: 'Live event administration',
    summary: 'Take the announcement off',
    params,
    response: adminLiveEventSchema,
    errors: [eventUnknown, eventState],
    handle: ({ params, principal }) => setOverlay(params.id, null, principal),
  })

  async function setOverlay(eventId: string, text: string | null, who: Principal) {
    await enterAsModerator(services, who)
    return social.live.adminJson(await shard.execute(commands.overlay, { args: { eventId, text }, who }))
  }

  const setVod = defineRoute({
    method: 'PUT',
    path: '/v1/admin/streaming/events/:id/vod',
    who: 'admin',
    tag: 'Live event administration',
    summary: 'Say where an event that has ended can be seen again; null for nowhere',
    params,
    body: z.object({
      url: z
        .url({ protocol: /^https$/ })
        .max(500)
        .nullable(),
    }),
    response: adminLiveEventSchema,
    errors: [eventUnknown, eventState],
    handle: async ({ params: { id: eventId }, body: { url }, principal: who }) => {
      await enterAsModerator(services, who)
      return social.live.adminJson(await shard.execute(commands.setVod, { args: { eventId, url }, who }))
    },
  })

  return [list, schedule, edit, start, stop, cancel, pinOverlay, clearOverlay, setVod]
}

/** What was sent, in the words of the core. */
function profileOf(body: z.output<typeof changeBody>): Partial<LiveEventProfile> {
  const { title: name, description: text, host_name: host, tier_restriction: tier, channel } = body
  return {
    ...(name === undefined ? {} : { title: name }),
    ...(text === undefined ? {} : { description: text }),
    ...(host === undefined ? {} : { hostName: host }),
    ...(tier === undefined ? {} : { minimumTier: tier === 'all' ? ('standard' as const) : tier }),
    ...(channel === undefined ? {} : { channelId: channel }),
  }
}

import { type LiveEventRow, liveEventChanged } from '../../actors/live-event/facts.js'
import { audit } from './chat.js'
import type { Row } from './columns.js'
import { type Area, onFact } from './projection.js'
import { upsertInto } from './target.js'

/** Written whole, as every fact has it. */
const streams = upsertInto('live_streams', ['id'], {
  id: 'text',
  version: 'bigint',
  title: 'text',
  description: 'text',
  stream_key: 'text',
  status: 'text',
  scheduled_at: 'time',
  started_at: 'time',
  ended_at: 'time',
  viewer_count: 'int',
  peak_viewers: 'int',
  host_name: 'text',
  vod_url: 'text',
  overlay: 'text',
  overlay_pinned_at: 'time',
  tier_restriction: 'text',
  channel_id: 'text',
  created_by_admin: 'text',
  created_at: 'time',
})

function streamRow(event: LiveEventRow): Row<typeof streams.columns> {
  const { eventId: id, version, title, description, status, overlay, minimumTier } = event
  return {
    ...{ id, version, title, description, status },
    stream_key: event.streamKey,
    scheduled_at: event.startsAt,
    started_at: event.startedAt,
    ended_at: event.endedAt,
    viewer_count: event.viewers,
    peak_viewers: event.peakViewers,
    host_name: event.hostName,
    vod_url: event.vodUrl,
    overlay: overlay?.text ?? null,
    overlay_pinned_at: overlay?.pinnedAt ?? null,
    tier_restriction: minimumTier === 'standard' ? 'all' : minimumTier,
    channel_id: event.channelId,
    created_by_admin: event.createdBy,
    created_at: event.createdAt,
  }
}

export const liveEventArea: Area = {
  targets: [streams],
  deltas: {},
  facts: {
    ...onFact(liveEventChanged, ({ event, change, by }, source, batch) => {
      batch.put(streams, streamRow(event))
      if (change === 'viewers_counted') return
      const { eventId, title, startsAt, overlay, vodUrl } = event
      const changes = { title, startsAt, overlay: overlay?.text ?? null, vodUrl }
      audit(source, batch, { by, action: `live.event_${change}`, on: ['live_event', eventId], changes })
    }),
  },
}

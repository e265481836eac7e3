/** Live events in the words of the wire, the same over REST and sockets. */
import { z } from 'zod'
import { type LiveEventRow, liveEventStatuses } from '../actors/live-event/facts.js'

const isoOf = (ms: number) => new Date(ms).toISOString()
const isoOrNull = (ms: number | null) => (ms === null ? null : isoOf(ms))

export const liveEventSchema = z
  .object({
    id: z.string(),
    /** Goes up with every change: of two states the higher is the later. */
    version: z.number(),
    title: z.string(),
    description: z.string(),
    host_name: z.string(),
    status: z.enum(liveEventStatuses),
    scheduled_at: z.string(),
    started_at: z.string().nullable(),
    ended_at: z.string().nullable(),
    /** `all` for the lowest tier. */
    tier_restriction: z.enum(['all', 'vip', 'high_roller', 'whale']),
    /** The channel of the chat where it is talked about. */
    channel: z.string(),
    /** An announcement over the picture. */
    overlay: z.object({ text: z.string(), pinned_at: z.string() }).nullable(),
    /** Members who watch; some seconds old. */
    viewer_count: z.number(),
    peak_viewers: z.number(),
    /** HLS, while it is live. */
    playback_url: z.string().nullable(),
    /** Where it can be seen again. */
    vod_url: z.string().nullable(),
  })
  .meta({ id: 'LiveEvent' })
export type LiveEventJson = z.output<typeof liveEventSchema>

/** With what only administrators are told. */
export const adminLiveEventSchema = liveEventSchema
  .extend({
    /** What the encoder sends to the ingest with. */
    stream_key: z.string(),
    created_by: z.string(),
    created_at: z.string(),
  })
  .meta({ id: 'AdminLiveEvent' })

export function liveEventJson(row: LiveEventRow, playbackUrl: (streamKey: string) => string): LiveEventJson {
  const { eventId: id, version, title, description, status, minimumTier, overlay } = row
  return {
    ...{ id, version, title, description, status },
    host_name: row.hostName,
    scheduled_at: isoOf(row.startsAt),
    started_at: isoOrNull(row.startedAt),
    ended_at: isoOrNull(row.endedAt),
    tier_restriction: minimumTier === 'standard' ? 'all' : minimumTier,
    channel: row.channelId,
    overlay: overlay === null ? null : { text: overlay.text, pinned_at: isoOf(overlay.pinnedAt) },
    viewer_count: row.viewers,
    peak_viewers: row.peakViewers,
    playback_url: status === 'live' ? playbackUrl(row.streamKey) : null,
    vod_url: row.vodUrl,
  }
}

export function adminLiveEventJson(row: LiveEventRow, playbackUrl: (streamKey: string) => string) {
  const { streamKey: stream_key, createdBy: created_by, createdAt } = row
  return { ...liveEventJson(row, playbackUrl), stream_key, created_by, created_at: isoOf(createdAt) }
}

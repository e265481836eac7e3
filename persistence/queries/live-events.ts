/** Cold reads of live events: those that have ended (BJ-LIVE-04). */
import type { LiveEventRow } from '../../actors/live-event/facts.js'
import type { TierName } from '../../actors/user/facts.js'
import type { Sql } from '../postgres/connection.js'

interface ArchivePage {
  /** Tiers whose events may be seen. */
  readonly tiers: readonly TierName[]
  /** The page begins before this event; without it with the one that ended last. */
  readonly before?: { readonly endedAt: number; readonly eventId: string }
  readonly limit: number
}

/** Events that have ended, the last first. */
export async function endedEvents(sql: Sql, { tiers, before, limit }: ArchivePage): Promise<LiveEventRow[]> {
  const restrictions = tiers.map((tier) => (tier === 'standard' ? 'all' : tier))
  const rows = await sql<StoredEvent[]>`
    select * from live_streams
    where status = 'ended' and tier_restriction = any(${restrictions}::text[])
      ${before === undefined ? sql`` : sql`and (ended_at, id) < (${new Date(before.endedAt)}, ${before.eventId})`}
    order by ended_at desc, id desc limit ${limit}`
  return rows.map(eventOf)
}

interface StoredEvent {
  readonly id: string
  readonly version: bigint
  readonly title: string
  readonly description: string
  readonly stream_key: string
  readonly status: LiveEventRow['status']
  readonly scheduled_at: Date
  readonly started_at: Date | null
  readonly ended_at: Date | null
  readonly viewer_count: number
  readonly peak_viewers: number
  readonly host_name: string
  readonly vod_url: string | null
  readonly overlay: string | null
  readonly overlay_pinned_at: Date | null
  readonly tier_restriction: 'all' | Exclude<TierName, 'standard'>
  readonly channel_id: string
  readonly created_by_admin: string
  readonly created_at: Date
}

function eventOf(row: StoredEvent): LiveEventRow {
  const { overlay: text, overlay_pinned_at: pinnedAt, tier_restriction: tier } = row
  return {
    ...{ eventId: row.id, version: Number(row.version), status: row.status, streamKey: row.stream_key },
    ...{ title: row.title, description: row.description, hostName: row.host_name, channelId: row.channel_id },
    minimumTier: tier === 'all' ? 'standard' : tier,
    startsAt: row.scheduled_at.getTime(),
    startedAt: row.started_at?.getTime() ?? null,
    endedAt: row.ended_at?.getTime() ?? null,
    ...{ viewers: row.viewer_count, peakViewers: row.peak_viewers, vodUrl: row.vod_url },
    overlay: text === null || pinnedAt === null ? null : { text, pinnedAt: pinnedAt.getTime() },
    ...{ createdBy: row.created_by_admin, createdAt: row.created_at.getTime() },
  }
}

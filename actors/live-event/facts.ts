import { z } from 'zod'
import { defineFact } from '../../engine/fact.js'
import { tierName } from '../user/facts.js'

export const liveEventStatuses = ['scheduled', 'live', 'ended', 'cancelled'] as const
export type LiveEventStatus = (typeof liveEventStatuses)[number]

/** What administrators say of an event. */
export const liveEventProfile = z.object({
  title: z.string().trim().min(1).max(255),
  description: z.string().max(5_000),
  hostName: z.string().trim().min(1).max(100),
  /** Who may see it: this tier and above. */
  minimumTier: tierName,
  /** Where it is talked about. */
  channelId: z.string().min(1).max(64),
})
export type LiveEventProfile = z.output<typeof liveEventProfile>

/** An announcement over the picture. */
const overlay = z.object({ text: z.string(), pinnedAt: z.number() })
export type Overlay = z.output<typeof overlay>

export const liveEventRow = liveEventProfile.extend({
  eventId: z.string(),
  /** Goes up with every step: of two rows the higher is the later. */
  version: z.number(),
  status: z.enum(liveEventStatuses),
  streamKey: z.string(),
  /** As planned; times are milliseconds. */
  startsAt: z.number(),
  startedAt: z.number().nullable(),
  endedAt: z.number().nullable(),
  /** Members who watch, as counted last; 0 unless it is live. */
  viewers: z.number(),
  /** The most there were at one time. */
  peakViewers: z.number(),
  overlay: overlay.nullable(),
  vodUrl: z.string().nullable(),
  createdBy: z.string(),
  createdAt: z.number(),
})
/** A live event, whole (BJ-DATA-24). */
export type LiveEventRow = Readonly<z.output<typeof liveEventRow>>

export const liveEventChanges = [
  'scheduled',
  'edited',
  'started',
  'stopped',
  'cancelled',
  'overlay_pinned',
  'overlay_cleared',
  'vod_set',
  'viewers_counted',
] as const
export type LiveEventChange = (typeof liveEventChanges)[number]

/** The event as it is from now on. */
export const liveEventChanged = defineFact(
  'live.event_changed',
  z.object({
    event: liveEventRow,
    change: z.enum(liveEventChanges),
    /** A user id, or `system`. */
    by: z.string(),
  }),
)

/** It begins in an hour (BJ-LIVE-07, BJ-JOB-10). */
export const liveReminderDue = defineFact('live.reminder_due', z.object({ event: liveEventRow }))

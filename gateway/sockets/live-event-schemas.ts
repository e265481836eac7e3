/** The events of live events on `/social/ws`, both ways, as they are on the wire. */
import { z } from 'zod'
import { liveEventChanges } from '../../actors/live-event/facts.js'
import { liveEventSchema } from '../live-event-json.js'

export const onEvent = z.object({ event: z.string().min(1).max(64) })

/** Latest wins (X3). */
const viewers = { event: z.string(), count: z.number(), peak: z.number() }

/** What the server says. */
export const liveEventSchemas = {
  /** To those who watch it: the event as it is now. After its end nothing more is told. */
  'event:changed': liveEventSchema.extend({ change: z.enum(liveEventChanges).exclude(['viewers_counted']) }),
  /** How many members watch, at most once a second. */
  viewers: z.object(viewers),
  /** It begins in an hour. To all who are online and may see it. */
  'event:reminder': liveEventSchema,
  /** The client does not watch it any more. */
  'event:closed': z.object({ event: z.string(), code: z.string() }),
}

/** What clients may say. */
export const liveCommandSchemas = {
  'event:watch': { input: onEvent, ack: z.object({ ...viewers, state: liveEventSchema }) },
  'event:unwatch': { input: onEvent, ack: onEvent },
}

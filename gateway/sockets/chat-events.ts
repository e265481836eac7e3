/** The events of `/social/ws`, both ways, as they are on the wire: what is sent, and what clients may read it by. */
import { z } from 'zod'
import { channelSchema, messageSchema } from '../chat-json.js'
import { editInput, inChannel, joinInput, onMessage, reactInput, readInput, sendInput } from './chat-in.js'
import { liveCommandSchemas, liveEventSchemas } from './live-event-schemas.js'

/** What every event of a channel carries: the offset is one more than that of the event before (X1). */
const position = { channel: z.string(), epoch: z.string(), offset: z.number() }

/** What the server says. */
export const chatEventSchemas = {
  'message:new': messageSchema.extend(position),
  /** Edited, or looked at by a moderator: the whole message. */
  'message:changed': messageSchema.extend(position),
  'message:deleted': z.object({ ...position, id: z.string(), by_moderator: z.boolean() }),
  'reaction:changed': z.object({
    ...position,
    id: z.string(),
    emoji: z.string(),
    count: z.number(),
    user_id: z.string(),
    on: z.boolean(),
  }),
  'pin:changed': z.object({ ...position, id: z.string(), pinned: z.boolean(), message: messageSchema }),
  'channel:changed': channelSchema.extend(position),
  /** The client is not in the channel any more. */
  'channel:closed': z.object({ channel: z.string(), code: z.string() }),
  /** How many members are in a channel, and some of them. */
  presence: z.object({ channel: z.string(), count: z.number(), sample: z.array(z.string()) }),
  typing: z.object({ channel: z.string(), user_id: z.string(), username: z.string() }),
  /** To the member concerned. */
  moderation: z.object({
    action: z.enum(['muted', 'timed_out', 'banned', 'lifted']),
    until: z.string().nullable(),
    because: z.string().nullable(),
  }),
  /** To the member who was mentioned or replied to. */
  mention: z.object({
    channel: z.string(),
    id: z.string(),
    because: z.enum(['mention', 'reply']),
    by: z.object({ id: z.string(), username: z.string() }),
  }),
  /** The session is over; the server closes the socket. */
  'session:ended': z.object({ code: z.string() }),
  ...liveEventSchemas,
}

export type ChatEventName = keyof typeof chatEventSchemas
export type ChatEventData<Name extends ChatEventName> = Readonly<z.output<(typeof chatEventSchemas)[Name]>>
export type ChatEvents = { [Name in ChatEventName]: (data: ChatEventData<Name>) => void }

export type ChannelEventName =
  | 'message:new'
  | 'message:changed'
  | 'message:deleted'
  | 'reaction:changed'
  | 'pin:changed'
  | 'channel:changed'

/** One thing that happened in a channel, as it is sent. */
export type ChannelEvent = {
  [Name in ChannelEventName]: { readonly event: Name; readonly data: ChatEventData<Name> }
}[ChannelEventName]

const moved = z.object({ offset: z.number() })

/** What clients may say, and how it is answered when it is not refused. */
export const chatCommandSchemas = {
  join: {
    input: joinInput,
    ack: z.object({
      ...position,
      unread: z.number(),
      /** Ids, newest pin first. */
      pins: z.array(z.string()),
      /** As they are now; `offset` is of the last thing that happened to each. */
      messages: z.array(messageSchema.extend({ offset: z.number() })),
      /** The position is not known any more: forget what you have, and begin with this. */
      resync: z.literal(true).optional(),
    }),
  },
  leave: { input: inChannel, ack: z.object({ channel: z.string() }) },
  'message:send': { input: sendInput, ack: z.object({ id: z.string(), offset: z.number(), number: z.number() }) },
  'message:edit': { input: editInput, ack: moved },
  'message:delete': { input: onMessage, ack: moved },
  'message:react': { input: reactInput, ack: moved.extend({ count: z.number() }) },
  read: { input: readInput, ack: z.object({ unread: z.number() }) },
  typing: { input: inChannel, ack: z.object({}) },
  ...liveCommandSchemas,
}

/** Instead of any of these answers. */
export const refusalSchema = z.object({
  error: z.object({
    code: z.string(),
    message: z.string(),
    field: z.string().optional(),
    /** Seconds after which trying again can succeed. */
    retry_after: z.number().optional(),
  }),
})

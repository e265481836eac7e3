/** What the server says, as it says it: only types, so none of its code comes along. */
export type { ChannelEvent, ChannelEventName, ChatEvents } from '../sockets/chat-events.js'

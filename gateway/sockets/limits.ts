/** The named limits of the sockets (B1); what fills up has a gauge beside it. */
export interface SocketLimits {
  /** Connections of everybody together. */
  readonly connectionsMax: number
  /** Connections of one address (an IPv6 /64 counts as one); loopback is exempt unless it is counted on request. */
  readonly connectionsPerAddressMax: number
  /** Sockets of one member, over all connections and namespaces. */
  readonly socketsPerMemberMax: number
  /** Bytes a WebSocket may be behind before it is closed. */
  readonly backpressureBytesMax: number
  /** Characters waiting for the next poll of a client before it is closed. */
  readonly pollBufferMax: number
  /** Largest message a client may send, in bytes. */
  readonly messageBytesMax: number
  /** How long a connection may take to join a namespace. */
  readonly connectTimeoutMs: number
  /** Events one socket may send at once, and gains per second. */
  readonly eventBurst: number
  readonly eventsPerSecond: number
  /** Commands of one socket that wait for their outcome. */
  readonly commandsInFlightMax: number
  /** Events kept for a member to catch up with. */
  readonly personalEventsKept: number
  /** Members who left and whose events are still kept. */
  readonly absentMembersMax: number
  /** Feed items kept to catch up with. */
  readonly feedItemsKept: number
}

export const defaultSocketLimits: SocketLimits = {
  connectionsMax: 50_000,
  connectionsPerAddressMax: 200,
  socketsPerMemberMax: 20,
  backpressureBytesMax: 512 * 1024,
  pollBufferMax: 256 * 1024,
  messageBytesMax: 16 * 1024,
  connectTimeoutMs: 5_000,
  eventBurst: 40,
  eventsPerSecond: 20,
  commandsInFlightMax: 16,
  personalEventsKept: 64,
  absentMembersMax: 100_000,
  feedItemsKept: 200,
}

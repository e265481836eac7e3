/**
 * `/social/ws`: channels as numbered streams (BJ-CHAT-08, BJ-WS-06).
 *
 * G1 Facts are published in record order, once durable. X1 `join` answers with everything up to an offset and joins the
 *    room in the same step, so that what is sent from then on begins right after it. X2 Slow clients are closed by the
 *    app. X3 Presence and typing are hints: coalesced or dropped, never journaled. B1 See `ChatSocketLimits`.
 *    What happens in a channel is published by every process to its own sockets; peers only tell hints.
 */

import type { Message } from '../../actors/chat/facts.js'
import { assert } from '../../engine/assert.js'
import { DomainError } from '../../engine/errors.js'
import type { TurnRecord } from '../../engine/record.js'
import type { Environment } from '../../engine/store.js'
import type { Chat } from '../chat.js'
import type { Principal } from '../http/toolkit/principal.js'
import { type Attendance, nobodyElsewhere } from './attendance.js'
import { ChannelFeeds } from './channel-feeds.js'
import type { ChatEventData } from './chat-events.js'
import { editInput, inChannel, joinInput, onMessage, reactInput, readInput, sendInput } from './chat-in.js'
import { type ChannelFact, channelEvent, type MemberChatFact, memberEvent } from './chat-out.js'
import { type Command, type Commands, parse } from './client-in.js'
import type { ServerSocket, SocketNamespace } from './client-out.js'
import { byNumber, concernsPins, fitting, joinAnswer, missedSince, postedAfter } from './join-answer.js'
import type { SocketLog, SocketMetrics } from './metrics.js'
import { Peers } from './peers.js'
import { Presence } from './presence.js'
import { type RightsFact, RightsWatch } from './rights-watch.js'
import type { Position } from './stream.js'
import { TokenBucket } from './token-bucket.js'

export interface ChatSocketLimits {
  /** Channels one socket may be in. */
  readonly channelsPerSocketMax: number
  /** Events kept of each channel, to close the gap between an answer of the engine and the room. */
  readonly channelEventsKept: number
  /** Bytes of text in one answer to `join`; what is more is a resync. */
  readonly joinBytesMax: number
  /** Typing hints of one channel, a second. */
  readonly typingPerSecond: number
}

export const defaultChatSocketLimits: ChatSocketLimits = {
  channelsPerSocketMax: 50,
  channelEventsKept: 512,
  joinBytesMax: 200_000,
  typingPerSecond: 5,
}

const JOIN_ATTEMPTS_MAX = 5

export interface ChatSocketsOptions {
  readonly namespace: SocketNamespace
  /** Other processes serve the same channels, and the adapter of the namespace reaches them. */
  readonly isShared: boolean
  /** Who is in the channels in other processes. */
  readonly attendance?: Attendance
  readonly chat: Chat
  readonly environment: Pick<Environment, 'now' | 'wakeAt'>
  readonly metrics: SocketMetrics
  readonly log: SocketLog
  readonly limits?: ChatSocketLimits
}

/** What is known of a socket that is connected. */
interface Joined {
  readonly channels: Set<string>
  username: string
}

type Told = ChannelFact | MemberChatFact | RightsFact

const roomOf = (channelId: string) => `channel:${channelId}`
const roomOfMember = (userId: string) => `member:${userId}`

export class ChatSockets {
  readonly #options: ChatSocketsOptions
  readonly #limits: ChatSocketLimits
  readonly #feeds: ChannelFeeds
  readonly #presence: Presence
  readonly #peers: Peers | null
  /** By channel: the epoch of its stream. */
  readonly #epochs = new Map<string, string>()
  readonly #typing = new Map<string, TokenBucket>()
  readonly #joined = new Map<string, Joined>()
  readonly #rights: RightsWatch

  constructor(options: ChatSocketsOptions) {
    this.#options = options
    this.#limits = options.limits ?? defaultChatSocketLimits
    this.#feeds = new ChannelFeeds(this.#limits.channelEventsKept)
    const { environment, attendance = nobodyElsewhere } = options
    this.#presence = new Presence({
      ...{ environment, attendance },
      tell: (channel) => options.namespace.to(roomOf(channel)).emit('presence', this.#presenceIn(channel)),
    })
    const onTyping = (typing: TypingHint) => {
      if (this.#presence.here(typing.channel) > 0) this.#tellTypingHere(typing)
    }
    this.#peers = options.isShared ? new Peers({ ...options, onTyping }) : null
    this.#rights = new RightsWatch({
      environment: options.environment,
      present: () => membersOf(options.namespace.sockets.values()),
      recheck: (userId) => this.#recheck(userId),
    })
  }

  gauges() {
    return { chat_sockets: this.#joined.size, chat_channels: this.#feeds.size }
  }

  stop(): void {
    this.#rights.stop()
    this.#presence.stop()
  }

  #presenceIn(channel: string): ChatEventData<'presence'> {
    return { channel, count: this.#presence.count(channel), sample: this.#presence.sample(channel) }
  }

  /** Tells everybody concerned of a durable record. */
  publish({ facts }: Pick<TurnRecord, 'facts'>): void {
    for (const fact of facts as readonly Told[]) {
      switch (fact.type) {
        case 'chat.message_posted':
        case 'chat.message_changed':
          this.#tellChannel(fact, fact.message)
          break
        case 'chat.channel_changed':
          this.#epochs.set(fact.channelId, fact.epoch)
          this.#tellChannel(fact, null)
          this.#recheckRoom(fact.channelId)
          break
        case 'chat.member_mentioned':
        case 'chat.member_silenced':
        case 'chat.member_unsilenced':
          this.#tellMember(fact)
          break
        case 'tier.changed':
        case 'user.administrator_changed':
          this.#rights.hear(fact)
          break
      }
    }
  }

  #tellChannel(fact: ChannelFact, message: Message | null): void {
    const { namespace, metrics } = this.#options
    const { channelId, offset } = fact
    this.#feeds.take(channelId, offset, message)
    const epoch = this.#epochs.get(channelId)
    // Nobody has joined it yet, or its epoch would be known.
    if (epoch === undefined) return
    const { event, data } = channelEvent(fact, epoch)
    namespace.to(roomOf(channelId)).emit(event, data as never)
    metrics.published(event)
  }

  #tellMember(fact: MemberChatFact): void {
    const { namespace, metrics, chat } = this.#options
    const { userId } = fact
    if (!namespace.adapter.rooms.has(roomOfMember(userId))) return
    const tell = () => {
      const { event, data } = memberEvent(fact)
      namespace.to(roomOfMember(userId)).emit(event, data as never)
      metrics.published(event)
    }
    if (fact.type !== 'chat.member_mentioned') tell()
    else void chat.mayRead(userId, fact.channelId).then((mayRead) => mayRead && tell())
  }

  welcome(socket: ServerSocket): Commands {
    const { member } = socket.data
    assert(member !== undefined, 'only members enter the chat')
    const { principal } = member
    this.#joined.set(socket.id, { channels: new Set(), username: '' })
    this.#rights.start()
    void socket.join(roomOfMember(principal.userId))
    socket.once('disconnect', () => {
      for (const channelId of this.#joined.get(socket.id)?.channels ?? [])
        this.#presence.leave(channelId, principal.userId)
      this.#joined.delete(socket.id)
      if (this.#joined.size === 0) this.#rights.stop()
    })
    return this.#commands(socket, principal)
  }

  #commands(socket: ServerSocket, who: Principal): Commands {
    const { chat } = this.#options
    const join: Command = (payload) => this.#join(socket, who, parse(joinInput, payload))
    const leave: Command = (payload) => this.#leave(socket, who.userId, parse(inChannel, payload).channel)
    const send: Command = async (payload) => {
      const { channel, ...body } = parse(sendInput, payload)
      const { messageId: id, offset, number } = await chat.post(who, channel, body)
      return { id, offset, number }
    }
    const edit: Command = (payload) => {
      const { id, text } = parse(editInput, payload)
      return chat.edit(who, id, text)
    }
    const remove: Command = (payload) => chat.remove(who, parse(onMessage, payload).id)
    const react: Command = (payload) => {
      const { id, emoji, on } = parse(reactInput, payload)
      return chat.react(who, id, emoji, on)
    }
    const read: Command = (payload) => {
      const { channel, offset } = parse(readInput, payload)
      return chat.read(who, channel, offset)
    }
    const typing: Command = (payload) => this.#tellTyping(socket, who, parse(inChannel, payload).channel)
    return new Map([
      ['join', join],
      ['leave', leave],
      ['message:send', send],
      ['message:edit', edit],
      ['message:delete', remove],
      ['message:react', react],
      ['read', read],
      ['typing', typing],
    ])
  }

  /** X1 Nothing happens between reading the feed and joining the room. */
  async #join(socket: ServerSocket, { userId }: Principal, { channel, epoch, offset, limit }: JoinInput) {
    const channels = this.#joined.get(socket.id)?.channels
    if (channels !== undefined && !channels.has(channel) && channels.size >= this.#limits.channelsPerSocketMax) {
      throw new DomainError('too_many', 'too_many_channels', 'This connection is in too many channels. Leave one.')
    }
    let position = epoch === undefined || offset === undefined ? null : { epoch, offset }
    let isResync = false
    for (let attempt = 0; attempt < JOIN_ATTEMPTS_MAX; attempt++) {
      const asked = this.#beyondFeed(channel, position)
      const opened = await this.#options.chat.open({ userId, channelId: channel, position: asked, limit })
      const { view, username } = opened
      const later = this.#feeds.since(channel, view.offset)
      // What pins there are is known of the view alone: where one of them changed since, it is asked for again.
      if (later === null || later.some(({ message }) => concernsPins(message, view.pins))) continue
      const whole =
        position === null || asked === null || opened.isResync
          ? byNumber(opened.messages, later)
          : missedSince(this.#feeds, position.offset, { ...opened, channel, after: asked.offset, upTo: view.offset })
      if (whole === null) continue
      const oldest = this.#options.environment.now() - this.#options.chat.retentionMs // BJ-CHAT-20
      const kept = postedAfter(oldest, whole)
      const messages = fitting(kept, this.#limits.joinBytesMax)
      const isCut = messages.length < kept.length
      isResync ||= opened.isResync || (isCut && position !== null)
      // What changed is not what came last: half of it would have holes.
      if (isCut && position !== null) {
        position = null
        continue
      }
      this.#epochs.set(channel, view.epoch)
      this.#admit(socket, channel, userId, username)
      const now = Math.max(view.offset, this.#feeds.offsetOf(channel) ?? 0)
      const unread = view.unread + later.filter(({ message }) => message.number > view.messages).length
      return joinAnswer({ ...view, channel, offset: now, unread, messages, isResync }, socket)
    }
    throw new DomainError('unavailable', 'busy', 'So much happens in this channel that it cannot be joined now.', {
      retryAfterMs: 1_000,
    })
  }

  /** Where to ask the engine from: what was published here need not be asked for. */
  #beyondFeed(channel: string, position: Position | null): Position | null {
    if (position === null || !this.#feeds.covers(channel, position.offset)) return position
    return { ...position, offset: this.#feeds.offsetOf(channel) ?? position.offset }
  }

  #admit(socket: ServerSocket, channelId: string, userId: string, username: string): void {
    const joined = this.#joined.get(socket.id)
    // Gone while the engine was asked.
    if (joined === undefined || !socket.connected) return
    joined.username = username
    void socket.join(roomOf(channelId))
    if (joined.channels.has(channelId)) return
    joined.channels.add(channelId)
    const isNews = this.#presence.enter(channelId, userId, username)
    if (!isNews) socket.emit('presence', this.#presenceIn(channelId))
  }

  #leave(socket: ServerSocket, userId: string, channelId: string) {
    void socket.leave(roomOf(channelId))
    if (this.#joined.get(socket.id)?.channels.delete(channelId) === true) this.#presence.leave(channelId, userId)
    return { channel: channelId }
  }

  #tellTyping(socket: ServerSocket, { userId }: Principal, channelId: string) {
    const joined = this.#joined.get(socket.id)
    if (joined?.channels.has(channelId) !== true) {
      throw new DomainError('conflict', 'not_joined', 'Join the channel first.', { field: 'channel' })
    }
    const typing = { channel: channelId, user_id: userId, username: joined.username }
    if (this.#tellTypingHere(typing)) this.#peers?.tellTyping(typing)
    return {}
  }

  #tellTypingHere(typing: TypingHint): boolean {
    const { namespace, environment } = this.#options
    const { typingPerSecond } = this.#limits
    let bucket = this.#typing.get(typing.channel)
    if (bucket === undefined) {
      bucket = new TokenBucket(typingPerSecond, typingPerSecond, () => environment.now())
      this.#typing.set(typing.channel, bucket)
    }
    if (bucket.take() > 0) return false
    namespace.to(roomOf(typing.channel)).emit('typing', typing)
    return true
  }

  /** A channel has changed: who may not read it any more leaves it. */
  #recheckRoom(channelId: string): void {
    const { namespace } = this.#options
    const ids = namespace.adapter.rooms.get(roomOf(channelId)) ?? new Set()
    void this.#rights.recheckAll(membersOf([...ids].flatMap((id) => namespace.sockets.get(id) ?? [])))
  }

  /** Takes a member's sockets out of channels that are not theirs any more. Whom the engine cannot tell of, leaves all. */
  async #recheck(userId: string): Promise<void> {
    const { namespace, chat, log } = this.#options
    const present = () => [...(namespace.adapter.rooms.get(roomOfMember(userId)) ?? [])]
    if (present().length === 0) return
    const readable = await chat.channels(userId).then(
      (views) => new Set(views.flatMap(({ channelId, isActive }) => (isActive ? [channelId] : []))),
      (error: unknown) => {
        log.error({ err: error, userId }, 'what a member may read is not known; they are taken out of every channel')
        return new Set<string>()
      },
    )
    for (const id of present()) {
      const socket = namespace.sockets.get(id)
      for (const channelId of this.#joined.get(id)?.channels ?? []) {
        if (socket === undefined || readable.has(channelId)) continue
        this.#leave(socket, userId, channelId)
        socket.emit('channel:closed', { channel: channelId, code: 'not_readable' })
      }
    }
  }
}

/** Each once. */
const membersOf = (sockets: Iterable<ServerSocket>): readonly string[] => [
  ...new Set([...sockets].flatMap(({ data }) => data.member?.principal.userId ?? [])),
]

type JoinInput = ReturnType<typeof joinInput.parse>
type TypingHint = ChatEventData<'typing'>

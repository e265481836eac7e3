/**
 * A channel as it is now, and what can be done in it.
 *
 * X1 Events are applied one after the other by offset. Whatever else comes (a gap, another epoch, a new connection) is
 *    answered by joining again with our position; events that come meanwhile are held. What was not heard of is caught
 *    up with, or the state is replaced. B1 See `HeldEvents`, `Outbox`, `MESSAGES_MAX`.
 */

import { ChannelState, type ChatMessage, type JoinAnswer, type Position } from './channel-state.js'
import type { Commands } from './commands.js'
import { Emitter } from './emitter.js'
import { asChatError, ChatError, isPassing, isUnheard } from './errors.js'
import type { ChannelEvent, ChatEvents } from './events.js'
import { HeldEvents } from './held-events.js'
import { type Draft, Outbox, type PendingMessage, type Sent } from './outbox.js'
import { OwnReactions, type OwnReactionsAnswer } from './own-reactions.js'
import type { Timers } from './timers.js'
import { Typists } from './typists.js'

export interface ChannelOptions {
  readonly timers: Timers
  readonly newId: () => string
  /** Asks the server over HTTP. */
  readonly request: (method: string, path: string, body?: object) => Promise<unknown>
  /** Who we are; null when that is not known. */
  readonly userId: string | null
}

/** `away`: there is no connection. `closed`: the member may not be in it, or left. */
export type ChannelStatus = 'away' | 'joining' | 'live' | 'closed'
type Presence = Omit<Parameters<ChatEvents['presence']>[0], 'channel'>

export interface ChannelEvents {
  /** Anything there is to see here is different now. */
  changed: () => void
  /** After an absence: so many messages were posted meanwhile. */
  back: (missed: number) => void
  closed: (why: ChatError) => void
}

interface HistoryPage {
  readonly messages: readonly ChatMessage[]
  readonly next_before: number | null
}

const MESSAGES_AT_FIRST = 50
const MESSAGES_MAX = 1_000
const TYPING_EVERY_MS = 3_000
const JOIN_AGAIN_MS = 1_000
const JOIN_AGAIN_MS_MAX = 30_000

export class Channel extends Emitter<ChannelEvents> {
  readonly #state = new ChannelState(MESSAGES_MAX)
  readonly #held = new HeldEvents()
  readonly #outbox: Outbox
  readonly #typists: Typists
  readonly #ownReactions: OwnReactions
  /** While messages are read over HTTP: what happened meanwhile. */
  readonly #replays = new Set<(() => void)[]>()
  #status: ChannelStatus = 'away'
  #closedBecause: ChatError | null = null
  #commands: Commands | null = null
  #failures = 0
  /** The highest number we had when the connection was lost; null when none was. */
  #leftAt: number | null = null
  #presence: Presence = { count: 0, sample: [] }
  #isReading = false
  #typedAt = Number.NEGATIVE_INFINITY
  #newSinceRead = 0

  constructor(
    readonly id: string,
    readonly options: ChannelOptions,
  ) {
    super()
    const { timers, newId, request } = options
    const changed = () => this.fire('changed')
    this.#typists = new Typists(timers, changed)
    const post = (draft: Draft & { readonly client_id: string }) =>
      this.#ask<Sent>('message:send', { channel: id, ...draft })
    this.#outbox = new Outbox({ timers, newId, changed, post })
    this.#ownReactions = new OwnReactions(
      MESSAGES_MAX,
      (ids) => request('POST', '/v1/social/reactions/mine', { ids }) as Promise<OwnReactionsAnswer>,
    )
  }

  get status(): ChannelStatus {
    return this.#status
  }
  get closedBecause(): ChatError | null {
    return this.#closedBecause
  }
  /** Oldest first, each once; those that were deleted are not there. */
  get messages(): readonly ChatMessage[] {
    return this.#state.messages
  }
  /** One of `messages`, by its id. */
  message(id: string): ChatMessage | undefined {
    return this.#state.messages.find((message) => message.id === id)
  }
  /** What we said and the channel does not have yet. */
  get pending(): readonly PendingMessage[] {
    return this.#outbox.pending
  }
  /** The newest pin first; those that were pinned long ago are there after `loadPins`. */
  get pinned(): readonly ChatMessage[] {
    return this.#state.pins.flatMap((id) => this.#state.message(id) ?? [])
  }
  get pinCount(): number {
    return this.#state.pins.length
  }
  get position(): Position | null {
    return this.#state.position
  }
  get unread(): number {
    return this.#state.unread
  }
  get presence(): Presence {
    return this.#presence
  }
  get typing(): readonly { readonly user_id: string; readonly username: string }[] {
    return this.#typists.all
  }
  /** Whether there may be messages before the first of `messages`. */
  get hasOlder(): boolean {
    return this.#state.from !== 1 && this.messages.length < MESSAGES_MAX
  }

  /** Emoji of ours; those we put before this connection are there after `loadReactions`. */
  reactedWith(messageId: string): ReadonlySet<string> {
    return this.#ownReactions.of(messageId)
  }

  /** Resolves once it is posted, however many connections that takes; rejects with the server's refusal. */
  send(draft: Draft): Promise<Sent> {
    if (this.#closedBecause !== null) return Promise.reject(this.#closedBecause)
    return this.#outbox.send(draft)
  }
  retry(clientId: string): void {
    this.#outbox.retry(clientId)
  }
  discard(clientId: string): void {
    this.#outbox.discard(clientId)
  }

  async edit(id: string, text: string): Promise<void> {
    await this.#ask('message:edit', { id, text })
  }
  async remove(id: string): Promise<void> {
    await this.#ask('message:delete', { id })
  }
  async react(id: string, emoji: string, on = true): Promise<void> {
    await this.#ask('message:react', { id, emoji, on })
    this.#ownReactions.set({ id, emoji, on })
    this.fire('changed')
  }

  /** Everything that is here has been read. */
  async markRead(): Promise<void> {
    const { position } = this.#state
    if (position === null || this.#state.unread === 0 || this.#isReading) return
    this.#newSinceRead = 0
    this.#isReading = true
    try {
      await this.#ask('read', { channel: this.id, offset: position.offset })
      this.#state.setUnread(this.#newSinceRead)
    } finally {
      this.#isReading = false
    }
    this.fire('changed')
  }

  /** Tells the others that we are writing, now and then; a hint that may get lost. */
  tellTyping(): void {
    const { timers } = this.options
    if (this.#status !== 'live' || timers.now() - this.#typedAt < TYPING_EVERY_MS) return
    this.#typedAt = timers.now()
    this.#ask('typing', { channel: this.id }).catch(() => {})
  }

  /** Reads the messages before those that are here. */
  async loadOlder(): Promise<void> {
    if (!this.hasOlder || this.#state.position === null) return
    const { from } = this.#state
    const path = `/v1/social/channels/${this.id}/messages`
    await this.#read<HistoryPage>(from === null ? path : `${path}?before=${from}`, ({ messages, next_before }) => {
      if (this.#state.from === from) this.#state.prepend(messages, next_before ?? 1)
      this.#ownReactions.meet(messages)
    })
  }

  /** Reads what is pinned but not among the messages here. */
  async loadPins(): Promise<void> {
    if (this.pinned.length === this.pinCount) return
    await this.#read<Omit<HistoryPage, 'next_before'>>(`/v1/social/channels/${this.id}/pins`, ({ messages }) => {
      for (const message of messages) if (this.#state.message(message.id) === undefined) this.#state.touch(message)
    })
  }

  /** Asks which reactions are ours, where that is not known. */
  async loadReactions(): Promise<void> {
    if (await this.#ownReactions.load()) this.fire('changed')
  }

  /** What was read is older than what happened meanwhile: that is said again. X1 */
  async #read<Answer>(path: string, take: (answer: Answer) => void): Promise<void> {
    const meanwhile: (() => void)[] = []
    this.#replays.add(meanwhile)
    try {
      const answer = (await this.options.request('GET', path)) as Answer
      // Since then there was a new beginning.
      if (!this.#replays.has(meanwhile)) return
      take(answer)
      for (const again of meanwhile) again()
      this.fire('changed')
    } finally {
      this.#replays.delete(meanwhile)
    }
  }

  async #ask<Answer>(event: string, payload: object): Promise<Answer> {
    if (this.#commands === null) throw new ChatError('connection_lost', 'There is no connection.')
    return this.#commands.ask<Answer>(event, payload)
  }

  /** For the client: there is a connection. */
  connected(commands: Commands): void {
    if (this.#status === 'closed') return
    this.#commands = commands
    void this.#join(commands)
  }

  /** For the client: it is gone. */
  disconnected(): void {
    if (this.#status === 'closed') return
    if (this.#state.position !== null) this.#leftAt ??= this.#state.newest
    this.#stand('away')
  }

  /** For the client: the member is not in the channel any more. */
  close(why: ChatError): void {
    if (this.#status === 'closed') return
    this.#closedBecause = why
    this.#outbox.refuseAll(why)
    this.#stand('closed')
    this.fire('closed', why)
  }

  /** For the client: a hint about who is here. */
  hint(event: 'presence' | 'typing', data: unknown): void {
    if (event === 'presence') this.#presence = data as Presence
    else this.#typists.began(data as Parameters<ChatEvents['typing']>[0])
    this.fire('changed')
  }

  #stand(status: 'away' | 'closed'): void {
    this.#status = status
    this.#commands = null
    this.#held.takeAll()
    this.#typists.clear()
    this.#outbox.close()
    this.fire('changed')
  }

  /** For the client: something happened in the channel. */
  receive(event: ChannelEvent): void {
    if (this.#status !== 'live' || this.#commands === null) {
      if (this.#status === 'joining') this.#held.hold(event)
    } else if (this.#apply(event)) {
      this.fire('changed')
    } else {
      this.#held.hold(event)
      void this.#join(this.#commands)
    }
  }

  /** X1 Returns false when something is missing between the state and the event. */
  #apply(event: ChannelEvent): boolean {
    const at = this.#state.position
    const { epoch, offset } = event.data
    if (at?.epoch !== epoch || offset > at.offset + 1) return false
    if (offset <= at.offset) return true
    this.#state.apply(event)
    for (const meanwhile of this.#replays) meanwhile.push(() => this.#state.replay(event))
    if (event.event === 'message:new') this.#posted(event.data, event.data.offset)
    else if (event.event === 'reaction:changed' && event.data.user_id === this.options.userId) {
      this.#ownReactions.set(event.data)
    }
    this.#outbox.reached(offset)
    return true
  }

  #posted(message: ChatMessage, offset: number): void {
    const { id, number, client_id: clientId, user } = message
    if (clientId !== null) this.#outbox.seen(clientId, { id, number, offset })
    if (user !== null) this.#typists.ended(user.id)
    this.#newSinceRead += 1
  }

  /** X1 Events are held until the answer is there. */
  async #join(commands: Commands): Promise<void> {
    this.#status = 'joining'
    this.fire('changed')
    const { position } = this.#state
    const join = (from: Position | null) =>
      commands.ask<JoinAnswer>('join', { channel: this.id, limit: MESSAGES_AT_FIRST, ...from })
    try {
      const answer = await join(position)
      const isNext = position !== null && isAfter(answer, position)
      // What comes with a resync may have holes; without a position the answer is the last messages, all of them.
      const whole = isNext || position === null ? answer : await join(null)
      if (this.#commands !== commands) return
      this.#failures = 0
      if (isNext) this.#catchUp(whole)
      else this.#begin(whole)
      this.#joined(commands)
    } catch (cause) {
      if (this.#commands === commands) this.#joinRefused(commands, asChatError(cause))
    }
  }

  #begin(answer: JoinAnswer): void {
    this.#state.begin(answer)
    this.#replays.clear()
    for (const message of answer.messages) this.#mine(message)
    this.#ownReactions.meet(answer.messages)
    this.#outbox.reached(Number.POSITIVE_INFINITY)
  }

  #catchUp(answer: JoinAnswer): void {
    this.#state.catchUp(answer)
    for (const { offset: _, ...message } of answer.messages) {
      for (const meanwhile of this.#replays) meanwhile.push(() => this.#state.touch(message))
    }
    for (const message of answer.messages) this.#mine(message)
    this.#ownReactions.meet(answer.messages)
    this.#outbox.reached(answer.offset)
  }

  #mine({ id, number, offset, client_id: clientId }: JoinAnswer['messages'][number]): void {
    if (clientId !== null) this.#outbox.seen(clientId, { id, number, offset })
  }

  /** Of the events held, those that follow are applied; where one is missing, we join again. */
  #joined(commands: Commands): void {
    this.#status = 'live'
    const isWhole = this.#held
      .takeAll()
      .map((event) => this.#apply(event))
      .every(Boolean)
    if (!isWhole) {
      void this.#join(commands)
      return
    }
    const leftAt = this.#leftAt
    this.#leftAt = null
    if (leftAt !== null) this.fire('back', this.#postedSince(leftAt))
    this.fire('changed')
    this.#outbox.open()
  }

  /** Where they are not all here, those that were deleted since are counted too. */
  #postedSince(number: number): number {
    const { from, newest, messages } = this.#state
    if (from !== null && from > number + 1) return newest - number
    return messages.filter((message) => message.number > number).length
  }

  #joinRefused(commands: Commands, error: ChatError): void {
    if (error.code === 'connection_lost' && commands.isOver) return
    if (!isPassing(error) && !isUnheard(error) && error.retryAfterMs === null) {
      this.close(error)
      return
    }
    const waitMs = error.retryAfterMs ?? Math.min(JOIN_AGAIN_MS_MAX, JOIN_AGAIN_MS * 2 ** this.#failures)
    this.#failures += 1
    this.options.timers.after(waitMs, () => {
      if (this.#commands === commands) void this.#join(commands)
    })
  }
}

function isAfter(answer: JoinAnswer, position: Position): boolean {
  return answer.resync !== true && answer.epoch === position.epoch && answer.offset >= position.offset
}

/**
 * What is known of a channel: a window of its last messages without holes, those that are pinned, and the position this
 * is the state of.
 *
 * X1 The state moves by one event at a time, or to the state an answer of `join` gives; each message is there once, as it
 *    is at the position. B1 `messagesMax` are kept.
 */
import type { MessageJson } from '../chat-json.js'
import type { ChannelEvent } from './events.js'

export interface Position {
  readonly epoch: string
  readonly offset: number
}

export type ChatMessage = Readonly<MessageJson>

/** What `join` answers. */
export interface JoinAnswer extends Position {
  readonly channel: string
  /** Each as it is now, with the offset of what happened to it last. */
  readonly messages: readonly (ChatMessage & { readonly offset: number })[]
  /** Ids, the newest pin first. */
  readonly pins: readonly string[]
  readonly unread: number
  /** What is missing cannot be told: this is a new beginning. */
  readonly resync?: true
}

export class ChannelState {
  #position: Position | null = null
  /** By id: the window, and what is pinned. */
  readonly #known = new Map<string, ChatMessage>()
  /** Messages from this number on are in the window; null while none is. */
  #from: number | null = null
  /** The highest number there was. */
  #newest = 0
  #pins: readonly string[] = []
  #unread = 0
  #listed: readonly ChatMessage[] | null = null

  constructor(readonly messagesMax: number) {}

  get position(): Position | null {
    return this.#position
  }

  get unread(): number {
    return this.#unread
  }

  get pins(): readonly string[] {
    return this.#pins
  }

  /** Numbers from this one on are in the window; null while none is. */
  get from(): number | null {
    return this.#from
  }

  /** The highest number any message had. */
  get newest(): number {
    return this.#newest
  }

  /** The window, oldest first. */
  get messages(): readonly ChatMessage[] {
    this.#listed ??= [...this.#known.values()]
      .filter(({ number }) => this.#isWithin(number))
      .sort((one, other) => one.number - other.number)
    return this.#listed
  }

  message(id: string): ChatMessage | undefined {
    return this.#known.get(id)
  }

  setUnread(unread: number): void {
    this.#unread = unread
  }

  /** X1 Everything is as the answer says, and nothing else is known. */
  begin(answer: JoinAnswer): void {
    this.#known.clear()
    this.#listed = null
    this.#newest = 0
    // They come in order; of what changed meanwhile and comes after them, older messages are left out.
    this.#from = answer.messages[0]?.number ?? null
    this.#take(answer)
  }

  /** X1 The answer has every message that changed since our position. */
  catchUp(answer: JoinAnswer): void {
    // Where there was nothing, all of it is new; it comes in the order it changed.
    if (this.#from === null && answer.messages.length > 0) {
      this.#from = Math.min(...answer.messages.map(({ number }) => number))
    }
    this.#take(answer)
  }

  #take({ epoch, offset, messages, pins, unread }: JoinAnswer): void {
    this.#pins = pins
    for (const { offset: _, ...message } of messages) this.touch(message)
    this.#position = { epoch, offset }
    this.#unread = unread
    this.#trim()
  }

  /** X1 The event is the one after our position. */
  apply(event: ChannelEvent): void {
    const { epoch, offset } = event.data
    this.#position = { epoch, offset }
    if (event.event === 'message:new') this.#unread += 1
    this.replay(event)
    this.#trim()
  }

  /** What an event says of messages. It says what is, not what is added, so it may be said again. */
  replay({ event, data }: ChannelEvent): void {
    switch (event) {
      case 'message:new':
      case 'message:changed': {
        const { epoch: _, offset: __, ...message } = data
        this.touch(message)
        break
      }
      case 'message:deleted':
        this.#drop(data.id)
        break
      case 'reaction:changed':
        this.#react(data.id, data.emoji, data.count)
        break
      case 'pin:changed':
        this.#pin(data.id, data.pinned, data.message)
        break
      case 'channel:changed':
        break
    }
  }

  /** A message as it is now. */
  touch(message: ChatMessage): void {
    this.#newest = Math.max(this.#newest, message.number)
    if (message.deleted_at !== null) {
      this.#drop(message.id)
      return
    }
    this.#from ??= message.number
    if (!this.#isWithin(message.number) && !this.#pins.includes(message.id)) return
    this.#known.set(message.id, message)
    this.#listed = null
  }

  /** Messages right before the window, as somebody has read them for us; what we know already we know better. */
  prepend(messages: readonly ChatMessage[], from: number): void {
    this.#from = Math.min(this.#from ?? from, from)
    for (const message of messages) if (!this.#known.has(message.id)) this.touch(message)
    this.#listed = null
  }

  #drop(id: string): void {
    this.#pins = this.#pins.filter((each) => each !== id)
    if (this.#known.delete(id)) this.#listed = null
  }

  #react(id: string, emoji: string, count: number): void {
    const message = this.#known.get(id)
    if (message === undefined) return
    const { [emoji]: _, ...others } = message.reactions
    const reactions = count === 0 ? others : { ...message.reactions, [emoji]: count }
    this.touch({ ...message, reactions })
  }

  #pin(id: string, pinned: boolean, message: ChatMessage): void {
    const others = this.#pins.filter((each) => each !== id)
    this.#pins = pinned ? [id, ...others] : others
    this.touch(message)
  }

  /** B1 */
  #trim(): void {
    const { messages } = this
    const tooMany = messages.length - this.messagesMax
    if (tooMany > 0) this.#from = messages[tooMany]?.number ?? this.#from
    for (const { id, number } of this.#known.values()) {
      if (!this.#isWithin(number) && !this.#pins.includes(id)) this.#known.delete(id)
    }
    if (tooMany > 0) this.#listed = null
  }

  #isWithin(number: number): boolean {
    return this.#from !== null && number >= this.#from
  }
}

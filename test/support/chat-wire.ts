// A channel as the server keeps it, and a wire to it that does what it is told: late, twice, out of order, or never.
import type { ChatMessage, JoinAnswer } from '../../gateway/client/channel-state.js'
import { type ChatError, connectionLost, noAnswer } from '../../gateway/client/errors.js'
import type { ChannelEvent } from '../../gateway/client/events.js'
import type { Timers } from '../../gateway/client/timers.js'
import type { Connection, Wire, WireListener } from '../../gateway/client/wire.js'

/** Time that passes when it is told to. */
export class HandTimers implements Timers {
  #now = 0
  #pending: { at: number; run: () => void }[] = []

  now(): number {
    return this.#now
  }

  random(): number {
    return 0.5
  }

  after(ms: number, run: () => void): () => void {
    const timer = { at: this.#now + ms, run }
    this.#pending.push(timer)
    return () => {
      this.#pending = this.#pending.filter((each) => each !== timer)
    }
  }

  advance(ms: number): void {
    this.#now += ms
    const due = this.#pending.filter(({ at }) => at <= this.#now)
    this.#pending = this.#pending.filter(({ at }) => at > this.#now)
    for (const { run } of due) run()
  }
}

type Change = 'post' | 'edit' | 'delete' | 'react' | 'pin' | 'profile'
export const changes: readonly Change[] = ['post', 'edit', 'delete', 'react', 'pin', 'profile']

/** One channel, with what a member sees of it. */
export class ScriptedChannel {
  readonly id = 'general'
  readonly epoch = 'e1'
  offset = 0
  number = 0
  pins: string[] = []
  /** Positions before it are not known any more. */
  knownAfter = 0
  readonly messages = new Map<string, { message: ChatMessage; offset: number }>()
  readonly #sent = new Map<string, { id: string; offset: number; number: number }>()

  constructor(readonly tell: (event: ChannelEvent) => void) {}

  get living(): ChatMessage[] {
    return [...this.messages.values()].map(({ message }) => message).filter(({ deleted_at }) => deleted_at === null)
  }

  /** Does something to the message at `index`, as far as that can be done. */
  change(what: Change, index: number): void {
    const { living } = this
    const message = living[index % Math.max(1, living.length)]
    if (what === 'post' || message === undefined) this.post(null, `text ${this.number}`)
    else if (what === 'edit') this.#put({ ...message, text: `edited at ${this.offset}` }, 'message:changed')
    else if (what === 'delete') this.#delete(message)
    else if (what === 'react') this.#react(message, this.offset % 2 === 0 ? '🎉' : '👍')
    else if (what === 'pin') this.#pin(message)
    else this.#step({ event: 'channel:changed', data: {} })
  }

  post(clientId: string | null, text: string): { id: string; offset: number; number: number } {
    const known = clientId === null ? undefined : this.#sent.get(clientId)
    if (known !== undefined) return known
    this.number += 1
    const message = messageOf(this.number, clientId, text)
    this.#put(message, 'message:new')
    const sent = { id: message.id, offset: this.offset, number: this.number }
    if (clientId !== null) this.#sent.set(clientId, sent)
    return sent
  }

  join(position: { epoch?: string; offset?: number }, limit: number): JoinAnswer {
    const { epoch, offset, pins } = this
    const answer = { channel: this.id, epoch, offset, pins: [...pins], unread: this.number }
    const from = position.offset
    if (position.epoch === epoch && from !== undefined && from <= offset && from >= this.knownAfter) {
      const changed = [...this.messages.values()].filter((each) => each.offset > from)
      return { ...answer, messages: changed.sort((a, b) => a.offset - b.offset).map(whole) }
    }
    const latest = [...this.messages.values()].filter(({ message }) => message.deleted_at === null).slice(-limit)
    return { ...answer, messages: latest.map(whole), ...(from === undefined ? {} : { resync: true as const }) }
  }

  #put(message: ChatMessage, event: 'message:new' | 'message:changed'): void {
    this.#step({ event, data: message }, message)
  }

  #delete(message: ChatMessage): void {
    this.pins = this.pins.filter((id) => id !== message.id)
    const gone = { ...message, text: '', reactions: {}, deleted_at: 'now' }
    this.#step({ event: 'message:deleted', data: { id: message.id, by_moderator: false } }, gone)
  }

  #react(message: ChatMessage, emoji: string): void {
    const { [emoji]: count = 0, ...others } = message.reactions
    const next = count === 2 ? 0 : count + 1
    const reactions = next === 0 ? others : { ...message.reactions, [emoji]: next }
    const data = { id: message.id, emoji, count: next, user_id: 'u', on: next > count }
    this.#step({ event: 'reaction:changed', data }, { ...message, reactions })
  }

  #pin(message: ChatMessage): void {
    const pinned = !this.pins.includes(message.id)
    const others = this.pins.filter((id) => id !== message.id)
    this.pins = pinned ? [message.id, ...others] : others
    const next = { ...message, pinned }
    this.#step({ event: 'pin:changed', data: { id: message.id, pinned, message: next } }, next)
  }

  #step({ event, data }: { event: ChannelEvent['event']; data: object }, message?: ChatMessage): void {
    this.offset += 1
    if (message !== undefined) this.messages.set(message.id, { message, offset: this.offset })
    const { epoch, offset, id: channel } = this
    this.tell({ event, data: { ...data, channel, epoch, offset } } as ChannelEvent)
  }
}

const whole = ({ message, offset }: { message: ChatMessage; offset: number }) => ({ ...message, offset })

function messageOf(number: number, clientId: string | null, text: string): ChatMessage {
  return {
    ...{ id: `m${number}`, channel: 'general', number, text, client_id: clientId, reactions: {}, pinned: false },
    ...{ user: null, original_language: null, media_type: 'none', media_url: null, emote_code: null, reply_to: null },
    ...{ is_system_message: false, mentions: [], created_at: 'then', edited_at: null, deleted_at: null },
    moderation_status: 'approved',
  }
}

/** Something on its way over the wire. */
interface Parcel {
  readonly arrive: () => void
  readonly lose: () => void
}

/** The wire to a scripted channel: nothing arrives before it is told to. */
export class ScriptedWire {
  readonly channel = new ScriptedChannel((event) => {
    for (const { listener, isIn } of this.#open) {
      const arrive = () => listener.said(event.event, structuredClone(event.data))
      if (isIn()) this.parcels.push({ arrive, lose: () => {} })
    }
  })
  /** In the order they were sent. */
  parcels: Parcel[] = []
  /** The tokens of all connections so far. */
  readonly tokens: string[] = []
  /** Every message that reached the server, by `client_id`. */
  readonly received: string[] = []
  /** What the server answers to messages instead of posting them, first come first served. */
  readonly refusals: ChatError[] = []
  #open: { listener: WireListener; isIn: () => boolean; fail: () => void }[] = []

  readonly wire: Wire = (token, listener) => {
    this.tokens.push(token)
    let isIn = false
    const asked = new Set<(error: ChatError) => void>()
    const ask: Connection['ask'] = (event, payload) =>
      new Promise((resolve, reject) => {
        asked.add(reject)
        const lose = () => reject(noAnswer())
        const answer = () => {
          if (event === 'join') isIn = true
          try {
            const said = structuredClone(this.#answer(event, payload))
            this.parcels.push({ arrive: () => resolve(said), lose })
          } catch (error) {
            this.parcels.push({ arrive: () => reject(error), lose })
          }
        }
        this.parcels.push({ arrive: answer, lose })
      })
    const fail = () => {
      for (const reject of asked) reject(connectionLost())
    }
    const open = { listener, isIn: () => isIn, fail }
    this.#open.push(open)
    queueMicrotask(() => listener.opened())
    return { ask, close: () => this.#end(open) }
  }

  get isOpen(): boolean {
    return this.#open.length > 0
  }

  /** The server says something besides what happens in the channel. */
  say(event: string, data: object): void {
    for (const { listener } of this.#open) listener.said(event, data)
  }

  /** The connection breaks: what is on its way is lost. */
  cut(refusal: ChatError | null = null): void {
    for (const open of [...this.#open]) {
      this.#end(open)
      open.listener.closed(refusal)
    }
  }

  #end(open: { fail: () => void }): void {
    this.#open = this.#open.filter((each) => each !== open)
    this.parcels = []
    open.fail()
  }

  #answer(event: string, payload: object): object {
    if (event === 'join') {
      const { limit, ...position } = payload as { limit: number; epoch?: string; offset?: number }
      return this.channel.join(position, limit)
    }
    if (event !== 'message:send') return {}
    const { client_id, text } = payload as { client_id: string; text: string }
    this.received.push(client_id)
    const refusal = this.refusals.shift()
    if (refusal !== undefined) throw refusal
    return this.channel.post(client_id, text)
  }
}

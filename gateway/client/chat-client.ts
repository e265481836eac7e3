/**
 * The chat for programs and pages, in browsers and in Node: channels that are always as the server has them.
 *
 *     const chat = new ChatClient({ url: 'https://host', token: () => session.accessToken() })
 *     const general = chat.join('general')
 *     general.on('changed', () => show(general.messages))
 *     await general.send({ text: 'hello' })
 *
 * X1 See `Channel`. X2 See `Link`. B1 `CHANNELS_MAX` channels at a time.
 */

import { Channel, type ChannelOptions } from './channel.js'
import { Commands } from './commands.js'
import { Emitter } from './emitter.js'
import { ChatError, chatErrorOf, isRefusal } from './errors.js'
import type { ChannelEvent, ChannelEventName, ChatEvents } from './events.js'
import { Link, type LinkState } from './link.js'
import { newClientId, realTimers, type Timers } from './timers.js'
import { socketIoWire, type Wire } from './wire.js'

export interface ChatClientOptions {
  /** Of the server, without a path. */
  readonly url: string
  /** An access token that is valid now; asked before every connection. A ChatError with a final code ends the client. */
  readonly token: () => string | Promise<string>
  /** Whose tokens these are: what they do elsewhere is known as theirs. */
  readonly userId?: string
  readonly wire?: Wire
  readonly timers?: Timers
  readonly newId?: () => string
}

/** Everything the server says, as it comes, and the state of the connection. */
export interface ChatClientEvents extends ChatEvents {
  state: (state: LinkState) => void
  /** Why the server ends the connection; `token_expired` is not the end. */
  'session:ended': (end: { readonly code: string }) => void
}

/** What the server lets one socket be in. */
const CHANNELS_MAX = 50

const channelEvents: ReadonlySet<string> = new Set<ChannelEventName>([
  'message:new',
  'message:changed',
  'message:deleted',
  'reaction:changed',
  'pin:changed',
  'channel:changed',
])

export class ChatClient extends Emitter<ChatClientEvents> {
  readonly #link: Link
  readonly #timers: Timers
  readonly #channels = new Map<string, Channel>()
  #commands: Commands | null = null

  constructor(readonly options: ChatClientOptions) {
    super()
    this.#timers = options.timers ?? realTimers
    this.#link = new Link({
      wire: options.wire ?? socketIoWire(options.url),
      token: options.token,
      timers: this.#timers,
      opened: (connection) => {
        const commands = new Commands(connection, this.#timers)
        this.#commands = commands
        for (const channel of this.#channels.values()) channel.connected(commands)
      },
      closed: () => {
        this.#commands?.end()
        this.#commands = null
        for (const channel of this.#channels.values()) channel.disconnected()
      },
      said: (event, data) => this.#hear(event, data),
      changed: (state) => this.fire('state', state),
    })
  }

  get state(): LinkState {
    return this.#link.state
  }

  get channels(): readonly Channel[] {
    return [...this.#channels.values()]
  }

  /** Connects now: at first, after the session ended, or because the network is back. */
  connect(): void {
    this.#link.start()
  }

  /** The network is gone, the connection does not know it yet. It comes back by itself. */
  networkLost(): void {
    this.#link.lost()
  }

  disconnect(): void {
    this.#link.stop()
  }

  /** The channel, from now on up to date. Refusals of the server are told by its `closed`. Throws `too_many_channels`. */
  join(channelId: string): Channel {
    const known = this.#channels.get(channelId)
    if (known !== undefined && known.status !== 'closed') return known
    if (known === undefined && this.#channels.size >= CHANNELS_MAX) {
      throw new ChatError('too_many_channels', `At most ${CHANNELS_MAX} channels at a time. Leave one.`)
    }
    const { newId = newClientId, userId = null } = this.options
    const request: ChannelOptions['request'] = (method, path, body) => this.request(method, path, body)
    const channel = new Channel(channelId, { timers: this.#timers, newId, userId, request })
    this.#channels.set(channelId, channel)
    if (this.#commands === null) this.connect()
    else channel.connected(this.#commands)
    return channel
  }

  leave(channelId: string): void {
    const channel = this.#channels.get(channelId)
    if (channel === undefined) return
    this.#channels.delete(channelId)
    channel.close(new ChatError('left', 'You left the channel.'))
    this.#commands?.ask('leave', { channel: channelId }).catch(() => {})
  }

  get(path: string): Promise<unknown> {
    return this.request('GET', path)
  }

  /** Asks the server over HTTP with our token. Rejects with a ChatError. */
  async request(method: string, path: string, body?: object): Promise<unknown> {
    const headers = {
      authorization: `Bearer ${await this.options.token()}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    }
    const sent = { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) }
    const response = await fetch(`${this.options.url}${path}`, sent).catch((cause: unknown) => {
      throw new ChatError('connection_lost', String(cause))
    })
    const answer: unknown = await response.json().catch(() => null)
    if (response.ok) return answer
    throw isRefusal(answer) ? chatErrorOf(answer) : new ChatError('internal', `The server answered ${response.status}.`)
  }

  #hear(event: string, data: unknown): void {
    const channel = this.#channels.get(channelOf(data))
    if (channel !== undefined) {
      if (channelEvents.has(event)) channel.receive({ event, data } as ChannelEvent)
      else if (event === 'presence' || event === 'typing') channel.hint(event, data)
      else if (event === 'channel:closed') channel.close(closedBecause(data))
    }
    this.fire(event as keyof ChatEvents, data as never)
  }
}

function channelOf(data: unknown): string {
  return typeof data === 'object' && data !== null && 'channel' in data ? String(data.channel) : ''
}

function closedBecause(data: unknown): ChatError {
  const { code } = data as Parameters<ChatEvents['channel:closed']>[0]
  return new ChatError(code, 'You may not read this channel any more.')
}

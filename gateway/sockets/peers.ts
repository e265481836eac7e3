/**
 * What the processes that serve `/social/ws` tell each other through the adapter: who is in their channels, and who types.
 * Hints only (X3): what is lost is made good by the next refresh, and a process that is gone is forgotten.
 *
 * B1 Processes that are remembered and channels of each are bounded.
 */
import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import type { Environment } from '../../engine/store.js'
import { type ChatEventData, chatEventSchemas } from './chat-events.js'
import type { SocketNamespace } from './client-out.js'
import type { SocketLog } from './metrics.js'

const REFRESH_INTERVAL_MS = 5_000
/** Three refreshes. */
const SILENCE_MAX_MS = 15_000
const PEERS_MAX = 1_000
const CHANNELS_MAX = 1_000

const presentSchema = chatEventSchemas.presence
type Present = z.output<typeof presentSchema>
const tidingsSchema = z.object({
  from: z.string(),
  /** All there is, not only what changed. */
  isWhole: z.boolean(),
  channels: z.array(presentSchema).max(CHANNELS_MAX),
})

export interface PeersOptions {
  readonly namespace: SocketNamespace
  readonly environment: Pick<Environment, 'now' | 'wakeAt'>
  readonly log: SocketLog
  /** Elsewhere somebody came into a channel, or left it. */
  readonly onPresence: (channelId: string) => void
  readonly onTyping: (typing: ChatEventData<'typing'>) => void
}

interface Peer {
  heardAt: number
  channels: Map<string, Present>
}

export class Peers {
  readonly #options: PeersOptions
  readonly #self = randomUUID()
  readonly #told = new Map<string, Present>()
  readonly #peers = new Map<string, Peer>()
  #cancelRefresh = () => {}

  constructor(options: PeersOptions) {
    this.#options = options
    options.namespace.on('peer:presence', (data: unknown) =>
      this.#take(tidingsSchema, data, (each) => this.#hear(each)),
    )
    options.namespace.on('peer:typing', (data: unknown) => {
      this.#take(chatEventSchemas.typing, data, options.onTyping)
    })
    this.#refresh()
  }

  /** How many are in a channel in all other processes together. A member who is in two of them counts twice. */
  elsewhere(channelId: string): { readonly count: number; readonly sample: readonly string[] } {
    let count = 0
    const sample: string[] = []
    for (const { channels } of this.#peers.values()) {
      const present = channels.get(channelId)
      count += present?.count ?? 0
      sample.push(...(present?.sample ?? []))
    }
    return { count, sample }
  }

  /** Who is in a channel here, if that is not what was told before. */
  tellPresence(present: Present): void {
    const { channel, count, sample } = present
    if (JSON.stringify(this.#told.get(channel) ?? { channel, count: 0, sample: [] }) === JSON.stringify(present)) return
    if (count === 0) this.#told.delete(channel)
    else this.#told.set(channel, { channel, count, sample })
    this.#tell([present], false)
  }

  tellTyping(typing: ChatEventData<'typing'>): void {
    this.#options.namespace.serverSideEmit('peer:typing', typing)
  }

  /** Nobody is here any more. */
  stop(): void {
    this.#cancelRefresh()
    this.#tell([], true)
  }

  #tell(channels: readonly Present[], isWhole: boolean): void {
    this.#options.namespace.serverSideEmit('peer:presence', { from: this.#self, isWhole, channels })
  }

  #refresh(): void {
    const { environment } = this.#options
    this.#tell([...this.#told.values()].slice(0, CHANNELS_MAX), true)
    for (const [from, peer] of this.#peers) {
      if (environment.now() - peer.heardAt > SILENCE_MAX_MS) this.#forget(from, peer)
    }
    this.#cancelRefresh = environment.wakeAt(environment.now() + REFRESH_INTERVAL_MS, () => this.#refresh())
  }

  #forget(from: string, { channels }: Peer): void {
    this.#peers.delete(from)
    for (const channelId of channels.keys()) this.#options.onPresence(channelId)
  }

  #hear({ from, isWhole, channels }: z.output<typeof tidingsSchema>): void {
    const peer = this.#peers.get(from) ?? { heardAt: 0, channels: new Map<string, Present>() }
    if (!this.#peers.has(from)) {
      if (this.#peers.size >= PEERS_MAX) return
      this.#peers.set(from, peer)
    }
    peer.heardAt = this.#options.environment.now()
    const before = peer.channels
    if (isWhole) peer.channels = new Map()
    for (const present of channels) peer.channels.set(present.channel, present)
    const concerned = new Set([...(isWhole ? before.keys() : []), ...channels.map(({ channel }) => channel)])
    for (const channelId of concerned) {
      if (before === peer.channels || before.get(channelId)?.count !== peer.channels.get(channelId)?.count) {
        this.#options.onPresence(channelId)
      }
    }
  }

  /** Whatever comes over Redis must not end the process. */
  #take<T>(schema: z.ZodType<T>, data: unknown, act: (value: T) => void): void {
    const parsed = schema.safeParse(data)
    if (parsed.success) act(parsed.data)
    else this.#options.log.error({ err: parsed.error }, 'what another process told could not be read')
  }
}

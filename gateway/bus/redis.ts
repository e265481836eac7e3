/**
 * The two connections to Redis of a process: one that publishes, one that is subscribed. Both come back by themselves.
 *
 * B1 What is not sent yet is bounded: while Redis is away, or too slow, publishing is refused; whoever counts batches
 *    notices. Nothing is kept here for later, so that no request is sent long after its time-out.
 */
import { createShardedAdapter } from '@socket.io/redis-adapter'
import { Redis } from 'ioredis'
import type { Namespace } from 'socket.io'
import type { BusLog } from './wire.js'

const RETRY_DELAY_MAX_MS = 500
const CONNECT_TIMEOUT_MS = 5_000
const PUBLISHES_UNDER_WAY_MAX = 50_000

type SocketAdapter = Namespace['adapter']
type Take = (bytes: Buffer) => void

export class BusRedis {
  readonly #publisher: Redis
  readonly #subscriber: Redis
  readonly #takers = new Map<string, Take>()
  #publishes = 0
  #isClosed = false

  constructor(
    url: string,
    private readonly log: BusLog,
  ) {
    const common = {
      connectTimeout: CONNECT_TIMEOUT_MS,
      retryStrategy: (attempt: number) => Math.min(50 * attempt, RETRY_DELAY_MAX_MS),
    }
    // What was under way on a connection that is lost fails at once (B1); subscriptions are made again.
    this.#publisher = new Redis(url, { ...common, enableOfflineQueue: false, maxRetriesPerRequest: 0 })
    this.#subscriber = new Redis(url, { ...common, maxRetriesPerRequest: null })
    this.#watch(this.#publisher)
    this.#watch(this.#subscriber)
    this.#subscriber.on('messageBuffer', (channel: Buffer, bytes: Buffer) => this.#give(String(channel), bytes))
  }

  get isReady(): boolean {
    return this.#publisher.status === 'ready' && this.#subscriber.status === 'ready'
  }

  gauges() {
    return { publishes_under_way: this.#publishes, publishes_under_way_max: PUBLISHES_UNDER_WAY_MAX }
  }

  subscribe(channel: string, take: Take): void {
    this.#takers.set(channel, take)
    this.#subscriber.subscribe(channel).catch((error: unknown) => this.#tell(error, 'subscribing failed'))
  }

  /** Resolves to how many got it; rejects when it cannot be sent now. */
  publish(channel: string, bytes: Buffer): Promise<number> {
    return this.#bounded(() => this.#publisher.publish(channel, bytes))
  }

  /** Socket.IO's sharded adapter for one namespace, on these connections. */
  adapter(channelPrefix: string): (namespace: Namespace) => SocketAdapter {
    const publisher = {
      spublish: (channel: string, payload: string | Buffer) =>
        this.#bounded(() => this.#publisher.spublish(channel, payload)),
    }
    // The adapter does not look at what becomes of its subscriptions; ioredis repeats them when it connects anew.
    const subscriber = {
      on: (event: string, listener: (...args: never[]) => void) => this.#subscriber.on(event as 'ready', listener),
      ssubscribe: (channel: string) => this.#unwatched(this.#subscriber.ssubscribe(channel)),
      sunsubscribe: (channels: string[]) => this.#unwatched(this.#subscriber.sunsubscribe(...channels)),
    }
    const create = createShardedAdapter(publisher, subscriber, { channelPrefix, subscriptionMode: 'static' })
    return (namespace) => create(namespace)
  }

  close(): void {
    this.#isClosed = true
    this.#publisher.disconnect()
    this.#subscriber.disconnect()
  }

  async #bounded(send: () => Promise<unknown>): Promise<number> {
    if (this.#publishes >= PUBLISHES_UNDER_WAY_MAX) throw new Error('Redis does not keep up')
    this.#publishes += 1
    try {
      return Number(await send())
    } finally {
      this.#publishes -= 1
    }
  }

  #give(channel: string, bytes: Buffer): void {
    try {
      this.#takers.get(channel)?.(bytes)
    } catch (error) {
      this.#tell(error, 'a message of the bus could not be read')
    }
  }

  #unwatched(subscribing: Promise<unknown>): void {
    subscribing.catch((error: unknown) => this.#tell(error, 'subscribing failed'))
  }

  /** ioredis tells of every failed attempt; the first is enough. */
  #watch(redis: Redis): void {
    let isDown = false
    redis.on('error', (error) => {
      if (!isDown) this.#tell(error, 'Redis cannot be reached; it is tried again until it can')
      isDown = true
    })
    redis.on('close', () => {
      isDown = true
    })
    redis.on('ready', () => {
      if (isDown) this.log.info({}, 'Redis is reached again')
      isDown = false
    })
  }

  #tell(error: unknown, what: string): void {
    if (!this.#isClosed) this.log.error({ err: error }, what)
  }
}

/** A process full of viewers of the dashboard (`/insights/live`), who count what they are told and check its order. */
import { performance } from 'node:perf_hooks'
import { answerCalls } from '../chat/calls.js'
import { type Address, Connection, type ConnectionListener, prefixOf } from '../chat/connection.js'
import { GeneratorMeter } from '../load/result.js'

const NAMESPACE = '/insights/live'
const PREFIX_BYTES = prefixOf(NAMESPACE).length
const UNDER_WAY_MAX = 200
/** Local addresses: each has some 28,000 ports. */
const ADDRESSES = 100
const RETRY_MS = 200
const LETTER_F = 0x66

class Viewer implements ConnectionListener {
  readonly connection = new Connection(this, NAMESPACE)

  constructor(readonly hall: Hall) {}

  entered(): void {
    this.hall.seated(this)
  }

  event(bytes: Buffer, start: number, end: number): void {
    this.hall.told(bytes[start + PREFIX_BYTES + 1] === LETTER_F, end - start)
  }

  ended(because: string): void {
    this.hall.lost(this, because)
  }
}

class Hall {
  deliveries = 0
  feedItems = 0
  bytes = 0
  readonly ended: Record<string, number> = {}
  readonly #viewers: Viewer[] = []
  readonly #seated = new Set<Viewer>()
  #url = new URL('http://localhost')
  #waiting: Viewer[] = []
  #underWay = 0
  #onSeated = () => {}

  get size(): number {
    return this.#seated.size
  }

  /** Connects more viewers until there are `count`; resolves when all are in. */
  seat(url: string, count: number): Promise<void> {
    this.#url = new URL(url)
    while (this.#viewers.length < count) {
      const viewer = new Viewer(this)
      this.#viewers.push(viewer)
      this.#waiting.push(viewer)
    }
    return new Promise((resolve) => {
      this.#onSeated = resolve
      this.#next()
    })
  }

  seated(viewer: Viewer): void {
    this.#seated.add(viewer)
    this.#underWay -= 1
    this.#next()
  }

  told(isFeed: boolean, bytes: number): void {
    this.deliveries += 1
    this.bytes += bytes
    if (isFeed) this.feedItems += 1
  }

  lost(viewer: Viewer, because: string): void {
    this.ended[because] = (this.ended[because] ?? 0) + 1
    if (!this.#seated.delete(viewer)) this.#underWay -= 1
    setTimeout(() => {
      this.#waiting.push(viewer)
      this.#next()
    }, RETRY_MS)
  }

  #next(): void {
    while (this.#underWay < UNDER_WAY_MAX) {
      const viewer = this.#waiting.pop()
      if (viewer === undefined) break
      this.#underWay += 1
      viewer.connection.open(this.#addressOf(this.#seated.size + this.#underWay), '')
    }
    if (this.#seated.size === this.#viewers.length) this.#onSeated()
  }

  #addressOf(ordinal: number): Address {
    const localAddress = process.platform === 'linux' ? `127.0.0.${2 + (ordinal % ADDRESSES)}` : '127.0.0.1'
    return { host: this.#url.hostname, port: Number(this.#url.port), localAddress }
  }
}

const hall = new Hall()
const meter = new GeneratorMeter()

const handlers = {
  seat: async ({ url, count }: { url: string; count: number }) => {
    const startedAt = performance.now()
    await hall.seat(url, count)
    return (performance.now() - startedAt) / 1_000
  },
  restart: () => {
    hall.deliveries = 0
    hall.feedItems = 0
    hall.bytes = 0
    meter.restart()
  },
  read: () => {
    const { deliveries, feedItems, bytes, ended, size } = hall
    return { deliveries, feedItems, bytes, ended, size, busy: meter.read() }
  },
}
export type ViewerCalls = typeof handlers

answerCalls(handlers)

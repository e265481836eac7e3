/**
 * Sockets that follow the scans through the real stream, some of them slowly.
 *
 * X1 A reader that comes back gets exactly what it missed, or is told to resync. X2 One that cannot keep up is closed,
 * never skipped.
 */
import { Stream } from '../../gateway/sockets/stream.js'
import type { TurnRecord } from '../record.js'
import type { Deployment, Follower, World } from './deployment.js'
import { Random } from './random.js'
import { Life } from './scheduler.js'

const SOCKETS = 3
const EVENTS_KEPT = 16
const BUFFERED_MAX = 4
const READ_MICROS = [50, 5_000] as const
const SLOW_READ_MICROS = [200_000, 30_000_000] as const
const RECONNECT_MICROS = [1_000, 20_000_000] as const

interface Event {
  readonly epoch: string
  readonly offset: number
  readonly ordinal: number
}

export class Sockets implements Follower {
  readonly #sockets: Socket[]
  readonly #life = new Life('sockets')
  readonly #random: Random
  #stream: Stream<Event> | undefined
  #ordinal = 0

  constructor(
    readonly world: World,
    readonly deployment: Deployment,
  ) {
    this.#random = new Random(world.seed, 'sockets')
    this.#sockets = Array.from({ length: SOCKETS }, (_, at) => new Socket(this, `socket ${at + 1}`))
    deployment.followers.push(this)
  }

  get ordinal(): number {
    return this.#ordinal
  }

  get stream(): Stream<Event> | undefined {
    return this.#stream
  }

  /** Everybody who is connected has seen everything. */
  check(): void {
    for (const socket of this.#sockets) socket.check()
  }

  after(range: readonly [number, number], run: () => void): void {
    this.world.scheduler.after(this.#random.skewed(...range), this.#life, run)
  }

  reconnectLater(socket: Socket): void {
    this.after(RECONNECT_MICROS, () => socket.connect())
  }

  onStart(): void {
    const { history, running } = this.deployment
    this.#stream = new Stream(running?.life.name ?? '', EVENTS_KEPT)
    this.#ordinal = history.records.flatMap(({ facts }) => facts).filter(({ type }) => type === 'scan.accepted').length
    for (const socket of this.#sockets) this.reconnectLater(socket)
  }

  onEnd(): void {
    this.#stream = undefined
    for (const socket of this.#sockets) socket.close()
  }

  onRecord({ facts }: TurnRecord): void {
    for (const fact of facts) {
      if (fact.type !== 'scan.accepted' || !('ordinal' in fact)) continue
      const ordinal = Number(fact.ordinal)
      this.#ordinal = ordinal
      const event = this.#stream?.append((position) => ({ ...position, ordinal }))
      if (event !== undefined) for (const socket of this.#sockets) socket.push(event)
    }
  }
}

class Socket {
  #isConnected = false
  #position = { epoch: '', offset: 0 }
  #ordinal = 0
  #buffered: Event[] = []
  /** It may have this many unread: what it had missed does not count. */
  #bufferedMax = BUFFERED_MAX
  #isReading = false

  constructor(
    readonly sockets: Sockets,
    readonly name: string,
  ) {}

  connect(): void {
    const { stream, world } = this.sockets
    if (stream === undefined || this.#isConnected) return
    this.#isConnected = true
    const missed = stream.since(this.#position.epoch, this.#position.offset)
    if (missed === 'resync') {
      world.story.mark('a socket was told to resync')
      this.#position = stream.position
      this.#ordinal = this.sockets.ordinal
      return
    }
    if (missed.length > 0) world.story.mark('a socket got what it had missed')
    this.#buffered = missed
    this.#bufferedMax = BUFFERED_MAX + missed.length
    this.#read()
  }

  push(event: Event): void {
    if (!this.#isConnected) return
    if (this.#buffered.length >= this.#bufferedMax) {
      this.sockets.world.story.mark('a slow socket was closed')
      this.close()
      this.sockets.reconnectLater(this)
      return
    }
    this.#buffered.push(event)
    this.#read()
  }

  close(): void {
    this.#isConnected = false
    this.#buffered = []
  }

  check(): void {
    const { world, ordinal } = this.sockets
    const hasAll = !this.#isConnected || this.#buffered.length > 0 || this.#ordinal === ordinal
    world.story.check('a socket sees every scan', hasAll, () => `${this.name} saw ${this.#ordinal} of ${ordinal}`)
  }

  #read(): void {
    if (this.#isReading) return
    this.#isReading = true
    const isSlow = this.sockets.world.faults.strikes('slow socket')
    this.sockets.after(isSlow ? SLOW_READ_MICROS : READ_MICROS, () => {
      this.#isReading = false
      const event = this.#buffered.shift()
      if (event === undefined) return
      const { story } = this.sockets.world
      const follows = event.ordinal === this.#ordinal + 1
      story.check('a socket sees every scan', follows, () => `${this.name}: ${event.ordinal} after ${this.#ordinal}`)
      this.#ordinal = event.ordinal
      this.#position = { epoch: event.epoch, offset: event.offset }
      if (this.#buffered.length > 0) this.#read()
    })
  }
}

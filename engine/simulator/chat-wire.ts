/**
 * The network between the clients of the chat and their gateway: what goes over one connection arrives in order, unless
 * a fault has it lost or late; a connection that breaks is noticed at either end some time after.
 *
 * X2 A client that reads too slowly is closed.
 */
import type { JoinAnswer, Position } from '../../gateway/client/channel-state.js'
import { type ChatError, chatErrorOf, connectionLost, isRefusal, noAnswer } from '../../gateway/client/errors.js'
import type { Connection, Wire, WireListener } from '../../gateway/client/wire.js'
import type { Principal } from '../../gateway/http/toolkit/principal.js'
import type { ChatGateway, Line, SimulatedSocket } from './chat-gateway.js'
import type { ChatOracle } from './chat-oracle.js'
import { Owed } from './chat-owed.js'
import type { World } from './deployment.js'
import { Random } from './random.js'
import { Life } from './scheduler.js'

const NETWORK_MICROS = [50, 30_000] as const
const LATE_MICROS = [1_000, 3_000_000] as const
const SLOW_READ_MICROS = [200_000, 30_000_000] as const
const NOTICE_MICROS = [1_000, 30_000_000] as const
const ANSWER_TIMEOUT_MICROS = 10_000_000
const UNREAD_MAX = 6
/** They may get lost, and nothing here looks at them (X3). */
const hints = new Set(['presence', 'typing'])

export class ChatWire {
  readonly life = new Life('wire of the chat')
  readonly #random: Random

  constructor(
    readonly world: World,
    readonly oracle: ChatOracle,
    /** Who answers now. */
    readonly gateway: () => ChatGateway | undefined,
  ) {
    this.#random = new Random(world.seed, 'chat wire')
  }

  after(range: readonly [number, number], run: () => void): void {
    this.world.scheduler.after(this.#random.skewed(...range), this.life, run)
  }

  /** For one client; `onCable` is told of each new connection. */
  wireOf(principal: Principal, name: string, onCable: (cable: Cable) => void): Wire {
    return (_, listener) => {
      const cable = new Cable(this, principal, name, listener)
      onCable(cable)
      return cable.clientEnd
    }
  }
}

/** One connection. */
export class Cable {
  /** Nothing was lost on it so far. */
  isWhole = true
  /** Channels in which what the client shows began anew. */
  readonly beginnings = new Set<string>()
  /** By channel: the highest offset the client was told of. */
  readonly heard = new Map<string, number>()
  /** The client is about to read, and done with what it read before. */
  onRead = () => {}
  readonly clientEnd: Connection
  readonly #serverEnd: Line
  readonly #owed: Owed
  #socket: SimulatedSocket | undefined
  /** As the client knows. */
  #isOpen = true
  /** Nothing gets through any more. */
  #isBroken = false
  /** On its way to the client. */
  #unread: (() => void)[] = []
  #isReading = false
  #late = 0
  readonly #asked = new Set<(error: ChatError) => void>()

  constructor(
    readonly wire: ChatWire,
    principal: Principal,
    name: string,
    readonly listener: WireListener,
  ) {
    this.#owed = new Owed(wire.world.story, wire.oracle, name)
    this.clientEnd = { ask: (event, payload) => this.#ask(event, payload), close: () => this.#leave() }
    this.#serverEnd = { say: (event, data) => this.#say(event, data), close: () => this.#break() }
    wire.after(NETWORK_MICROS, () => this.#arrive(principal))
  }

  /** Both ends are there, and nothing is on its way. */
  get isQuiet(): boolean {
    return !this.#isBroken && this.#unread.length + this.#late + this.#asked.size === 0
  }

  #arrive(principal: Principal): void {
    const gateway = this.wire.gateway()
    if (gateway === undefined) {
      this.wire.world.story.mark('a client of the chat found no server')
      this.#end()
    } else if (this.#isOpen) {
      this.#socket = gateway.admit(principal, this.#serverEnd)
      this.#send(() => this.listener.opened())
    }
  }

  #ask(event: string, payload: object): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const settle = (settled: () => void) => {
        if (this.#asked.delete(reject)) settled()
      }
      this.#asked.add(reject)
      const callOff = this.wire.world.scheduler.after(ANSWER_TIMEOUT_MICROS, this.wire.life, () => {
        settle(() => reject(noAnswer()))
      })
      const answered = (answer: unknown) => {
        callOff()
        const refusal = typeof answer === 'object' && answer !== null && 'error' in answer ? answer.error : undefined
        if (event === 'join') this.#hearJoin(answer, payload)
        settle(() => (isRefusal(refusal) ? reject(chatErrorOf(refusal)) : resolve(answer)))
      }
      if (this.#loses()) return
      this.wire.after(NETWORK_MICROS, () => {
        if (this.#isBroken) return
        this.#socket?.receive(event, payload, (answer) => {
          if (event === 'join' && isJoined(answer)) this.#owed.answered(positionIn(payload), answer)
          this.#carry(() => answered(answer))
        })
      })
    })
  }

  #hearJoin(answer: unknown, asked: object): void {
    if (!isJoined(answer)) return
    const { channel, messages, resync } = answer
    const { story } = this.wire.world
    if (resync === true) story.mark('a client of the chat was told to resync')
    else if (positionIn(asked) === null) this.beginnings.add(channel)
    else if (messages.length > 0) story.mark('a client of the chat caught up')
  }

  #say(event: string, data: unknown): void {
    if (typeof data === 'object' && data !== null) this.#owed.said(event, data)
    if (!hints.has(event)) this.#carry(() => this.#hear(event, data))
  }

  #hear(event: string, data: unknown): void {
    if (typeof data === 'object' && data !== null && 'channel' in data && 'offset' in data) {
      const { channel, offset } = data as JoinAnswer
      this.heard.set(channel, Math.max(offset, this.heard.get(channel) ?? 0))
    }
    this.listener.said(event, data)
  }

  /** To the client, whatever happens to it on the way. */
  #carry(arrive: () => void): void {
    const { faults, story } = this.wire.world
    if (this.#isBroken || this.#loses()) return
    if (faults.strikes('broken connection')) this.#break()
    else if (this.#unread.length >= UNREAD_MAX) {
      story.mark('a slow reader of the chat was closed')
      this.#socket?.disconnect() // X2
    } else if (faults.strikes('late packet')) this.#delay(arrive)
    else this.#send(arrive)
  }

  /** What was sent after it may come before it. */
  #delay(arrive: () => void): void {
    this.#late += 1
    this.wire.after(LATE_MICROS, () => {
      this.#late -= 1
      if (this.#isOpen) arrive()
    })
  }

  #loses(): boolean {
    if (!this.wire.world.faults.strikes('lost packet')) return false
    this.isWhole = false
    return true
  }

  #send(arrive: () => void): void {
    this.#unread.push(arrive)
    if (this.#isReading) return
    this.#isReading = true
    const isSlow = this.wire.world.faults.strikes('slow reader')
    this.wire.after(isSlow ? SLOW_READ_MICROS : NETWORK_MICROS, () => {
      this.#isReading = false
      this.onRead()
      for (const next of this.#unread.splice(0)) if (this.#isOpen) next()
    })
  }

  /** Each end notices when it notices. */
  #break(): void {
    if (this.#isBroken) return
    this.#isBroken = true
    this.#unread = []
    this.wire.after(NOTICE_MICROS, () => this.#end())
    this.wire.after(NOTICE_MICROS, () => this.#socket?.disconnect())
  }

  /** The client notices that it is over. */
  #end(): void {
    if (!this.#isOpen) return
    this.#leave()
    this.listener.closed(null)
  }

  #leave(): void {
    this.#isOpen = false
    this.#isBroken = true
    for (const reject of [...this.#asked]) {
      this.#asked.delete(reject)
      reject(connectionLost())
    }
    this.wire.after(NETWORK_MICROS, () => this.#socket?.disconnect())
  }
}

const isJoined = (answer: unknown): answer is JoinAnswer =>
  typeof answer === 'object' && answer !== null && 'messages' in answer

const positionIn = (asked: object): Position | null => ('offset' in asked ? (asked as Position) : null)

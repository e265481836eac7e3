/**
 * A client in one room, that knows its place in the stream and checks everything it is told against it.
 *
 * S1 What comes live follows the offset before, or it is counted: as a gap, or as told twice. S2 An answer to `join` names
 *    every message between the position given and its own, or says `resync`; a message it leaves out is a hole, which a
 *    client could not notice.
 */
import { performance } from 'node:perf_hooks'
import type { Arrivals } from './arrivals.js'
import { type Address, Connection, type ConnectionListener, eventPrefix, type Told } from './connection.js'

/** What all subscribers of a process found. */
export interface Findings {
  /** Messages that did not come although later ones did. */
  gaps: number
  /** Messages an answer to `join` left out without saying so (S2). */
  holes: number
  /** Messages told twice. */
  twice: number
  /** Answers that the position is not known any more. */
  resyncs: number
  /** Connections that ended or were refused, by reason. */
  readonly ended: Record<string, number>
}

export const noFindings = (): Findings => ({ gaps: 0, holes: 0, twice: 0, resyncs: 0, ended: {} })

export interface Room {
  readonly channel: string
  readonly arrivals: Arrivals
  readonly findings: Findings
  /** A subscriber is where it should be. */
  settled(subscriber: Subscriber): void
  /** Its connection ended; it may be opened again. */
  lost(subscriber: Subscriber): void
}

const NEW_MESSAGE = `${eventPrefix}"message:new",`
/** Where the names of events differ: of those of a room only this one has an n here. */
const TELLING = NEW_MESSAGE.indexOf('new')
const LETTER_M = 0x6d
const LETTER_N = 0x6e
const DIGIT_0 = 0x30
const DIGIT_9 = 0x39

export class Subscriber implements ConnectionListener {
  readonly #connection = new Connection(this)
  /** Where it stands, once it has been in the room. */
  #epoch: string | undefined
  #offset = 0
  #wantsIn = false
  #isIn = false
  /** Offsets that came while a join was under way. */
  #early: number[] = []

  constructor(
    readonly room: Room,
    readonly token: string,
    readonly ordinal: number,
  ) {}

  get isIn(): boolean {
    return this.#isIn
  }

  get offset(): number {
    return this.#offset
  }

  set isSlow(isSlow: boolean) {
    this.#connection.isSlow = isSlow
    if (!isSlow) this.#connection.resume()
  }

  /** Connects, and joins or leaves the room, as far as that is left to do to be where it should; then settles. */
  pursue(shouldBeIn: boolean, address: Address): void {
    this.#wantsIn = shouldBeIn
    if (!this.#connection.isOpen) this.#connection.open(address, this.token)
    else this.#move()
  }

  #move(): void {
    const { channel } = this.room
    if (this.#wantsIn === this.#isIn) return void this.room.settled(this)
    if (!this.#wantsIn) {
      this.#isIn = false
      this.#epoch = undefined
      return void this.#connection.ask('leave', { channel }, () => this.room.settled(this))
    }
    const position = this.#epoch === undefined ? { limit: 0 } : { epoch: this.#epoch, offset: this.#offset }
    this.#connection.ask('join', { channel, ...position }, (answer) => this.#joined(answer))
  }

  /** Its network is gone. */
  drop(): void {
    this.#isIn = false
    this.#connection.close()
  }

  resume(): void {
    this.#connection.resume()
  }

  entered(): void {
    this.#move()
  }

  ended(because: string): void {
    this.#isIn = false
    const { ended } = this.room.findings
    ended[because] = (ended[because] ?? 0) + 1
    this.room.lost(this)
  }

  event(bytes: Buffer, start: number, end: number): void {
    const first = bytes[start + eventPrefix.length + 1]
    if (first !== LETTER_M || bytes[start + TELLING] !== LETTER_N) return
    const offset = offsetAtEnd(bytes, end)
    if (!this.#isIn) {
      if (this.#wantsIn) this.#early.push(offset)
      return
    }
    if (this.#follow(offset)) {
      this.room.arrivals.live(offset, performance.timeOrigin + performance.now(), bytes, start, end)
    }
  }

  /** S1 Returns whether the message is new. */
  #follow(offset: number): boolean {
    const { arrivals, findings } = this.room
    if (offset <= this.#offset) {
      findings.twice += 1
      return false
    }
    for (let missed = this.#offset + 1; missed < offset; missed++) {
      findings.gaps += 1
      arrivals.count(missed)
    }
    this.#offset = offset
    return true
  }

  #joined(answer: Told): void {
    if (answer.error !== undefined) {
      this.#connection.close()
      return void this.ended(`join: ${answer.error.code}`)
    }
    const { epoch, offset, messages, resync } = answer as unknown as JoinAnswer
    if (this.#epoch !== undefined) this.#catchUp(offset, messages, resync === true)
    this.#epoch = epoch
    this.#offset = offset
    this.#isIn = true
    for (const early of this.#early.splice(0)) {
      if (early > this.#offset && this.#follow(early)) this.room.arrivals.count(early)
    }
    this.room.settled(this)
  }

  /** S2 */
  #catchUp(offset: number, messages: readonly { readonly offset: number }[], isResync: boolean): void {
    const { arrivals, findings } = this.room
    const told = new Set(messages.map((message) => message.offset))
    if (isResync) findings.resyncs += 1
    for (let missed = this.#offset + 1; missed <= offset; missed++) {
      if (!told.has(missed) && !isResync) findings.holes += 1
      arrivals.count(missed)
    }
  }
}

interface JoinAnswer {
  readonly epoch: string
  readonly offset: number
  readonly messages: readonly { readonly offset: number }[]
  readonly resync?: boolean
}

/** Of an event that ends with `"offset":123}]`. */
function offsetAtEnd(bytes: Buffer, end: number): number {
  let offset = 0
  let at = end - '}]'.length - 1
  for (let place = 1; ; place *= 10, at--) {
    const digit = bytes[at] ?? 0
    if (digit < DIGIT_0 || digit > DIGIT_9) break
    offset += (digit - DIGIT_0) * place
  }
  return offset
}

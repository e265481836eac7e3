/** A process full of subscribers: connects them, moves them in and out of the room, and counts what they get. */
import { performance } from 'node:perf_hooks'
import { GeneratorMeter } from '../load/result.js'
import { Arrivals } from './arrivals.js'
import { answerCalls, note } from './calls.js'
import { noFindings, type Room, Subscriber } from './subscriber.js'

/** Under way at once; the others wait for their turn, as they would in the server's queue of connections. */
const UNDER_WAY_MAX = 1_000
const RETRY_MS = 200
/** Settled between two notes of progress. */
const TOLD_EVERY = 250
const SLOW_READ_INTERVAL_MS = 500
/** Connections of one local address; each has some 28,000 ports, and a port rests for a minute after it was used. */
const ADDRESSES = 200

export interface OpenInput {
  readonly url: string
  readonly channel: string
  readonly tokens: readonly string[]
}

export interface PlaceInput {
  readonly insiders: number
  readonly connected: number
}

export interface Window {
  /** On this process's clock. */
  readonly atMs: number
  readonly deliveries: number
  readonly bytes: number
  readonly fromDue: number[]
  readonly fromTaken: number[]
  readonly cpuShare: number
  readonly utilisation: number
}

class Crowd implements Room {
  readonly arrivals = new Arrivals((offset) => note({ complete: offset }))
  findings = noFindings()
  readonly #subscribers: readonly Subscriber[]
  readonly #url: URL
  readonly channel: string
  readonly #underWay = new Set<Subscriber>()
  #queue: Subscriber[] = []
  #insiders = 0
  #attempts = 0
  #isBeginning = false
  #onSettled = () => {}
  #slowReads: NodeJS.Timeout | undefined

  constructor({ url, channel, tokens }: OpenInput) {
    this.#url = new URL(url)
    this.channel = channel
    this.#subscribers = tokens.map((token, ordinal) => new Subscriber(this, token, ordinal))
  }

  /** Connects the first `connected`; the first `insiders` of them are to be in the room, the others out of it. */
  place({ insiders, connected }: PlaceInput): Promise<void> {
    this.#insiders = insiders
    this.arrivals.audience = insiders
    return this.#pursueAll(connected)
  }

  /** All connections are lost at once and come back; every tenth reads slowly from now on. Returns seconds. */
  async storm(slowEvery: number): Promise<number> {
    const startedAt = performance.now()
    for (const subscriber of this.#subscribers) subscriber.drop()
    const slow = this.#subscribers.filter((_, index) => index % slowEvery === 0)
    for (const subscriber of slow) subscriber.isSlow = true
    this.#slowReads = setInterval(() => {
      for (const subscriber of slow) subscriber.resume()
    }, SLOW_READ_INTERVAL_MS)
    await this.#pursueAll(this.#subscribers.length)
    return (performance.now() - startedAt) / 1_000
  }

  /** Everybody reads at once again. */
  calm(): void {
    clearInterval(this.#slowReads)
    for (const subscriber of this.#subscribers) subscriber.isSlow = false
  }

  audit() {
    const inside = this.#subscribers.filter(({ isIn }) => isIn)
    const offsets = new Set(inside.map(({ offset }) => offset))
    const { findings } = this
    this.findings = noFindings()
    return { findings, inside: inside.length, offsets: [...offsets], incomplete: this.arrivals.incomplete }
  }

  settled(subscriber: Subscriber): void {
    if (this.#underWay.delete(subscriber)) this.#next()
  }

  lost(subscriber: Subscriber): void {
    this.#underWay.add(subscriber)
    setTimeout(() => this.#pursue(subscriber), RETRY_MS)
  }

  #pursueAll(count: number): Promise<void> {
    this.#queue = this.#subscribers.slice(0, count)
    return new Promise((resolve) => {
      this.#onSettled = resolve
      this.#next()
    })
  }

  /** Begins with as many as may be under way. Who is where it should be already settles at once, and calls this again. */
  #next(): void {
    if (this.#isBeginning) return
    this.#isBeginning = true
    while (this.#underWay.size < UNDER_WAY_MAX) {
      const subscriber = this.#queue.pop()
      if (subscriber === undefined) break
      this.#underWay.add(subscriber)
      this.#pursue(subscriber)
    }
    this.#isBeginning = false
    const left = this.#queue.length + this.#underWay.size
    if (left % TOLD_EVERY === 0) note({ left })
    if (left === 0) this.#onSettled()
  }

  #pursue(subscriber: Subscriber): void {
    this.#attempts += 1
    const localAddress = process.platform === 'linux' ? `127.0.0.${2 + (this.#attempts % ADDRESSES)}` : '127.0.0.1'
    const address = { host: this.#url.hostname, port: Number(this.#url.port), localAddress }
    subscriber.pursue(subscriber.ordinal < this.#insiders, address)
  }
}

const meter = new GeneratorMeter()
let crowd: Crowd | undefined

function present(): Crowd {
  if (crowd === undefined) throw new Error('nobody is connected yet')
  return crowd
}

const handlers = {
  open: (input: OpenInput) => {
    crowd = new Crowd(input)
  },
  place: (input: PlaceInput) => present().place(input),
  restart: () => {
    present().arrivals.restart()
    meter.restart()
    return performance.timeOrigin + performance.now()
  },
  window: (): Window => {
    const { deliveries, bytes, fromDue, fromTaken } = present().arrivals
    const { cpuShare, utilisation } = meter.read()
    const atMs = performance.timeOrigin + performance.now()
    const times = { fromDue: fromDue.toJSON(), fromTaken: fromTaken.toJSON() }
    return { atMs, deliveries, bytes, ...times, cpuShare, utilisation }
  },
  storm: (slowEvery: number) => present().storm(slowEvery),
  calm: () => present().calm(),
  audit: () => present().audit(),
}
export type GeneratorCalls = typeof handlers

answerCalls(handlers)

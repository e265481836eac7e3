/**
 * Everybody with a socket: members who talk in a channel and hear each other, members who watch the live event, members with
 * their own stream open, and dashboards with nobody behind them. Who is cut off, as everybody is when a token ends, comes
 * back with a fresh one.
 */
import { benchText, stampsOf } from '../chat/arrivals.js'
import { Connection, type ConnectionListener, type Namespace, prefixOf } from '../chat/connection.js'
import { CHANNEL, type Crowd } from './crowd.js'
import type { Recorder } from './recorder.js'

const RETRY_MS = 250
const LOCAL_ADDRESS = '127.0.0.1'
const AT = /"at":"([^"]+)"/
const DUE = /due ([\d.]+)/

/** Milliseconds since 1970, with fractions. */
const now = () => performance.timeOrigin + performance.now()

interface Role {
  readonly name: string
  readonly namespace: Namespace
  readonly entered: (seat: Seat) => void
  readonly told: (seat: Seat, name: string, bytes: Buffer, start: number, end: number) => void
}

class Seat implements ConnectionListener {
  readonly connection: Connection
  readonly #prefixBytes: number
  #isOver = false
  /** Has been told where things stand, which is no news. */
  isGreeted = false

  constructor(
    readonly hall: Audience,
    readonly role: Role,
    /** Of the crowd; nobody in particular if null. */
    readonly member: number | null,
  ) {
    this.connection = new Connection(this, role.namespace)
    this.#prefixBytes = prefixOf(role.namespace).length
    this.open()
  }

  entered(): void {
    this.hall.recorder.count(`${this.role.name}: connected`)
    this.isGreeted = false
    this.role.entered(this)
  }

  event(bytes: Buffer, start: number, end: number): void {
    const from = start + this.#prefixBytes + 1
    this.role.told(this, bytes.toString('latin1', from, bytes.indexOf('"', from)), bytes, start, end)
  }

  ended(because: string): void {
    if (this.#isOver) return
    this.hall.recorder.count(`${this.role.name}: ended, ${because}`)
    setTimeout(() => this.open(), RETRY_MS)
  }

  open(): void {
    if (this.#isOver) return
    const { host, port, crowd } = this.hall
    const token = this.member === null ? '' : crowd.token(this.member)
    this.connection.open({ host, port, localAddress: LOCAL_ADDRESS }, token)
  }

  close(): void {
    this.#isOver = true
    this.connection.close()
  }
}

export class Audience {
  readonly host: string
  readonly port: number
  readonly #seats: Seat[] = []
  readonly #talkers: Seat[] = []
  /** Ids of messages that were acknowledged. */
  readonly acknowledged: string[] = []
  #said = 0
  #eventId: string | undefined

  constructor(
    url: string,
    readonly crowd: Crowd,
    readonly recorder: Recorder,
  ) {
    const { hostname, port } = new URL(url)
    this.host = hostname
    this.port = Number(port)
  }

  seatTalkers(members: readonly number[]): void {
    const told: Role['told'] = (_, name, bytes, start, end) => {
      if (name === 'message:new' && bytes.includes('Message ', start)) this.#heard(bytes, start, end)
    }
    const entered = (seat: Seat) => this.#join(seat)
    const role: Role = { name: 'talkers', namespace: '/social/ws', entered, told }
    this.#talkers.push(...this.#seat(role, members))
  }

  seatWatchers(members: readonly number[]): void {
    const told: Role['told'] = (_, name, bytes, start, end) => {
      const [, due] = DUE.exec(bytes.toString('latin1', start, end)) ?? []
      if (name === 'event:changed' && due !== undefined) this.recorder.time('live event', now() - Number(due))
    }
    this.#seat({ name: 'watchers', namespace: '/social/ws', entered: (seat) => this.#watch(seat), told }, members)
  }

  /** Their own stream: a scan is told to them when it is durable. */
  seatMembers(members: readonly number[]): void {
    const role: Role = {
      name: 'members',
      namespace: '/',
      entered: () => {},
      told: this.#timed('scan:accepted', 'own stream'),
    }
    this.#seat(role, members)
  }

  seatDashboards(count: number): void {
    const timed = this.#timed('counter', 'dashboard counter')
    const told: Role['told'] = (seat, name, bytes, start, end) => {
      if (seat.isGreeted) timed(seat, name, bytes, start, end)
      else if (name === 'counter') seat.isGreeted = true
    }
    const role: Role = { name: 'dashboards', namespace: '/insights/live', entered: () => {}, told }
    this.#seat(
      role,
      Array.from({ length: count }, () => null),
    )
  }

  /** Everybody who watches, watches this from now on. */
  show(eventId: string): void {
    this.#eventId = eventId
    for (const seat of this.#seats) if (seat.role.name === 'watchers' && seat.connection.isOpen) this.#watch(seat)
  }

  /** One talker says something that was due then. */
  say(dueMs: number): void {
    const talker = this.#talkers[this.#said++ % this.#talkers.length]
    if (talker === undefined || !talker.connection.isOpen) {
      this.recorder.count('chat: nobody there to say it')
      return
    }
    talker.connection.ask('message:send', { channel: CHANNEL, text: benchText(this.#said, dueMs) }, (answer) => {
      this.recorder.time('message, acknowledged', now() - dueMs)
      if (answer.error === undefined) this.acknowledged.push(String(answer.id))
      else this.recorder.count(`chat: ${answer.error.code}`)
    })
  }

  close(): void {
    for (const seat of this.#seats) seat.close()
  }

  #seat(role: Role, members: readonly (number | null)[]): Seat[] {
    const seats = members.map((member) => new Seat(this, role, member))
    this.#seats.push(...seats)
    return seats
  }

  #join({ connection }: Seat): void {
    connection.ask('join', { channel: CHANNEL, limit: 0 }, ({ error }) => {
      if (error !== undefined) this.recorder.count(`chat: join ${error.code}`)
    })
  }

  #watch({ connection }: Seat): void {
    if (this.#eventId === undefined) return
    connection.ask('event:watch', { event: this.#eventId }, ({ error }) => {
      if (error !== undefined) this.recorder.count(`live event: ${error.code}`)
    })
  }

  #heard(bytes: Buffer, start: number, end: number): void {
    this.recorder.time('message, to each', now() - stampsOf(bytes, start, end).dueMs)
  }

  /** Times one event by its `at`, which the server took. */
  #timed(event: string, kind: string): Role['told'] {
    return (_, name, bytes, start, end) => {
      if (name !== event) return
      const [, at] = AT.exec(bytes.toString('latin1', start, end)) ?? []
      if (at !== undefined) this.recorder.time(kind, Math.max(0, now() - Date.parse(at)))
    }
  }
}

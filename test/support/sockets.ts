// Sockets on a free port, driven by hand-made records and a clock turned by hand.

import { App, us_listen_socket_close, us_socket_local_port } from 'uWebSockets.js'
import { once } from 'node:events'
import { connect, type Socket as TcpSocket } from 'node:net'
import { Registry } from 'prom-client'
import { io, type ManagerOptions, type Socket, type SocketOptions } from 'socket.io-client'
import { z } from 'zod'
import { createBlakjaks } from '../../actors/programs/blakjaks/program.js'
import { compAwarded, scanAccepted, sessionClosed, type TierName, tierChanged } from '../../actors/user/facts.js'
import { DomainError } from '../../engine/errors.js'
import type { Fact } from '../../engine/fact.js'
import type { TurnRecord } from '../../engine/record.js'
import { Chat } from '../../gateway/chat.js'
import { ClientAddresses } from '../../gateway/http/toolkit/client-address.js'
import { LiveEvents } from '../../gateway/live-events.js'
import { ScanVelocity } from '../../gateway/sockets/scan-velocity.js'
import { attachSockets, type SocketsOptions } from '../../gateway/sockets/sockets.js'

interface TestScope {
  teardown(handler: () => unknown): unknown
}

export const START_MS = Date.UTC(2026, 9, 5, 12)

/** Time that passes only when told to. */
export class ManualTime {
  #now = START_MS
  #timers = new Set<{ at: number; callback: () => void }>()

  readonly now = () => this.#now

  readonly wakeAt = (at: number, callback: () => void) => {
    const timer = { at, callback }
    this.#timers.add(timer)
    return () => void this.#timers.delete(timer)
  }

  get timers(): number {
    return this.#timers.size
  }

  pass(ms: number): void {
    const until = this.#now + ms
    for (;;) {
      const [next] = [...this.#timers].filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)
      if (next === undefined) break
      this.#timers.delete(next)
      this.#now = Math.max(this.#now, next.at)
      next.callback()
    }
    this.#now = until
  }
}

const scanSchema = z.object({ code: z.string().min(4), idempotency_key: z.string().optional() })
type Options = SocketsOptions<z.output<typeof scanSchema>>

/** These sockets have no engine: who enters the chat is told so. */
const nobodyThere = () => Promise.reject(new DomainError('unavailable', 'not_running', 'There is no engine.'))

/** No live event is known. */
const noLiveEvents = new LiveEvents({
  engine: { execute: nobodyThere, query: (async () => []) as never },
  program: createBlakjaks(),
  playbackTemplate: '',
  ended: nobodyThere,
})

/** Tokens are `user/session`; `expired` and everything without a slash are refused. */
export async function startSockets(t: TestScope, options: Partial<Options> = {}) {
  const app = App()
  const time = new ManualTime()
  const metrics = new Registry()
  const failures: object[] = []
  const addresses = new ClientAddresses([])
  const sockets = attachSockets<z.output<typeof scanSchema>>({
    app,
    epoch: 'boot1',
    environment: time,
    authenticate: (token) => {
      if (token === 'expired') throw new DomainError('unauthorized', 'token_expired', 'Token expired.')
      const [userId, sessionId] = token.split('/')
      if (!userId || !sessionId) throw new DomainError('unauthorized', 'unauthorized', 'Token refused.')
      return { principal: { userId, sessionId, role: 'member' }, expiresAtMs: START_MS + 600_000 }
    },
    checkSession: async ({ sessionId }) => {
      if (sessionId === 'gone') throw new DomainError('unauthorized', 'session_ended', 'You were logged out.')
    },
    parseScan: scanSchema,
    submitScan: async ({ userId }, { code }, { ip }) => ({ success: true, code, userId, ip }),
    clientOf: (res) => addresses.ofPeer(res.getRemoteAddress()),
    addressBucket: { take: () => 0 },
    velocity: new ScanVelocity(),
    scansSoFar: 1_000,
    milestones: [{ every: 500, amount: 100_000_000n }],
    chat: new Chat({ execute: nobodyThere, query: nobodyThere }, createBlakjaks(), () => 'id', nobodyThere),
    liveEvents: noLiveEvents,
    treasury: async () => [],
    metrics,
    log: { error: (context) => failures.push(context) },
    ...options,
  })
  const listening = await new Promise<Parameters<typeof us_listen_socket_close>[0]>((resolve, reject) => {
    app.listen('127.0.0.1', 0, (socket) => (socket ? resolve(socket) : reject(new Error('cannot listen'))))
  })
  const port = us_socket_local_port(listening)
  t.teardown(async () => {
    us_listen_socket_close(listening)
    await sockets.close()
    app.close()
  })
  let seq = 0
  const publish = (...facts: Fact[]) => {
    seq += 1
    sockets.publish(recordOf(seq, time.now(), facts))
  }
  const metric = async (name: string, label?: string) => {
    const found = await metrics.getSingleMetric(`comptroller_sockets_${name}`)?.get()
    const values = found?.values.filter(({ labels }) => label === undefined || Object.values(labels).includes(label))
    return values?.reduce((sum, { value }) => sum + value, 0) ?? Number.NaN
  }
  return { app, sockets, time, port, url: `http://127.0.0.1:${port}`, publish, metric, failures }
}

function recordOf(seq: number, at: number, facts: readonly Fact[]): TurnRecord {
  const who = { role: 'member', userId: '', sessionId: '' } as const
  const input = { id: `i${seq}`, at, command: 'test', args: null, who }
  const nothing = { postings: [], images: [], deltas: [], alarms: [], messages: [] }
  return { seq, input, facts, ...nothing, consumed: null, idempotency: null }
}

export function scan(userId: string, ordinal: number) {
  return scanAccepted.make({
    scanId: `scan-${ordinal}`,
    userId,
    ordinal,
    codeRow: ordinal,
    codeHi: 0,
    codeLo: ordinal,
    sku: 'MINT-ICE-6MG',
    method: 'qr',
    quarter: '2026-Q4',
    quarterScans: 8,
    tier: 'vip',
    lat: 40.7,
    lng: -74,
    deviceId: `device-of-${userId}`,
    deviceFingerprint: 1,
    ip: '203.0.113.9',
    clientAt: null,
    compType: null,
    compAmount: 0n,
    milestone: null,
  })
}

export function comp(userId: string, compId: string, amount = 100_000_000n) {
  const prize = { compType: 'crypto_100' as const, ordinal: 500, milestone: '500th', funded: true }
  return compAwarded.make({ compId, userId, amount, scanId: 'scan-500', ...prize })
}

export function tier(userId: string, from: TierName, to: TierName) {
  const quarter = { quarter: '2026-Q4', quarterScans: 7, because: 'scan' as const, locked: false }
  return tierChanged.make({ userId, number: 7, from, to, ...quarter, expiresAt: START_MS })
}

export function loggedOut(userId: string, sessionId: string) {
  return sessionClosed.make({ userId, sessionId, device: 'mobile', because: 'other_device' })
}

/** A real Socket.IO client, closed when the test ends. Everything it is told is in `told`, in order. */
export function client(
  t: TestScope,
  url: string,
  token?: string,
  options: Partial<ManagerOptions & SocketOptions> = {},
) {
  const socket = io(url, {
    forceNew: true,
    reconnection: false,
    auth: token === undefined ? {} : { token },
    ...options,
  })
  t.teardown(() => socket.disconnect())
  const told: { event: string; data: Told }[] = []
  socket.onAny((event: string, data: Told) => told.push({ event, data }))
  return Object.assign(socket, { told })
}

// biome-ignore lint/suspicious/noExplicitAny: what a server says is checked by the assertions that read it
export type Told = Record<string, any>

export async function nextEvent(socket: Socket, event: string): Promise<Told> {
  return new Promise((resolve) => socket.once(event, resolve))
}

/** Resolves to what the server says of a refused connection. */
export async function refusalOf(socket: Socket): Promise<Told> {
  return new Promise((resolve, reject) => {
    socket.once('connect', () => reject(new Error('was let in')))
    socket.once('connect_error', (error) =>
      resolve((error as Error & { data?: Told }).data ?? { message: error.message }),
    )
  })
}

/** Lets the event loop turn until `condition` holds. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setImmediate(resolve))
}

/** Sends bytes over TCP and gives the connection, for requests no proper client makes. */
export async function tcp(t: TestScope, port: number, text: string): Promise<TcpSocket & { received: string }> {
  const socket = Object.assign(connect(port, '127.0.0.1'), { received: '' })
  t.teardown(() => socket.destroy())
  socket.on('error', () => {})
  socket.on('data', (chunk: Buffer) => {
    socket.received += chunk.toString('latin1')
  })
  await once(socket, 'connect')
  socket.write(text)
  return socket
}

export const upgradeRequest = (query: string) =>
  `GET /socket.io/?${query} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
  'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'

/** A polling session that has joined a namespace and taken in how it began, and now does nothing of itself. */
export async function openPolling(url: string, namespace: string, token?: string) {
  const at = `${url}/socket.io/?EIO=4&transport=polling`
  const { sid } = JSON.parse((await (await fetch(at)).text()).slice(1)) as { sid: string }
  const session = `${at}&sid=${sid}`
  const poll = () => fetch(session)
  await fetch(session, { method: 'POST', body: `40${namespace},${JSON.stringify({ token })}` })
  let first = ''
  while (!/"(position|counter)"/.test(first)) first += await (await poll()).text()
  return { sid, poll, first }
}

/** A client's WebSocket frame with up to 125 bytes of text. */
export function frame(text: string): Buffer {
  const body = Buffer.from(text)
  return Buffer.concat([Buffer.from([0x81, 0x80 | body.length, 0, 0, 0, 0]), body])
}

/** A WebSocket client that reads only when told to, as on a bad network. */
/** The offset that a message ends with. */
function offsetOf(message: string): number | undefined {
  const offset = /"offset":(\d+)\}\]$/.exec(message)?.[1]
  return offset === undefined ? undefined : Number(offset)
}

export class RawWebSocket {
  readonly messages: string[] = []
  closed = false
  #unread: Buffer = Buffer.alloc(0)
  #upgraded = false
  #asked = 0

  private constructor(readonly socket: TcpSocket) {
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => this.#read(chunk))
    socket.on('close', () => {
      this.closed = true
    })
  }

  /** Connected to a namespace. */
  static async connect(t: TestScope, port: number, namespace: string, token?: string): Promise<RawWebSocket> {
    const socket = connect(port, '127.0.0.1')
    t.teardown(() => socket.destroy())
    const raw = new RawWebSocket(socket)
    socket.write(upgradeRequest('EIO=4&transport=websocket'))
    await until(() => raw.messages.length > 0)
    socket.write(frame(`40${namespace},${JSON.stringify({ token })}`))
    await until(() => raw.messages.some((message) => message.startsWith(`40${namespace},`)))
    return raw
  }

  /** Asks and gets the ack. */
  async ask(namespace: string, event: string, payload: object): Promise<Told> {
    const id = ++this.#asked
    this.socket.write(frame(`42${namespace},${id}${JSON.stringify([event, payload])}`))
    const prefix = `43${namespace},${id}[`
    const answer = () => this.messages.find((message) => message.startsWith(prefix))
    await until(() => answer() !== undefined)
    return JSON.parse(answer()?.slice(prefix.length - 1) ?? '')[0]
  }

  /** What was said under an event name, in order. */
  said(event: string): Told[] {
    return this.messages.flatMap((message) => {
      const [name, data] = /^42[^[]*(\[.*)$/s.test(message) ? JSON.parse(message.replace(/^42[^[]*/, '')) : []
      return name === event ? [data] : []
    })
  }

  /** Of what was said last, under whatever name. */
  get lastOffset(): number | undefined {
    return offsetOf(this.messages.at(-1) ?? '')
  }

  /** The offsets of what was said under an event name; quicker than {@link said}. */
  offsets(event: string): number[] {
    return this.messages.flatMap((message) => {
      const offset = message.includes(`["${event}",`) ? offsetOf(message) : undefined
      return offset === undefined ? [] : [offset]
    })
  }

  #read(chunk: Buffer): void {
    this.#unread = this.#unread.length === 0 ? chunk : Buffer.concat([this.#unread, chunk])
    if (!this.#upgraded) {
      const end = this.#unread.indexOf('\r\n\r\n')
      if (end < 0) return
      this.#upgraded = true
      this.#unread = this.#unread.subarray(end + 4)
    }
    for (let size = this.#readFrame(); size > 0; size = this.#readFrame()) this.#unread = this.#unread.subarray(size)
  }

  /** Takes in the frame at the front; returns its size, or 0 when it is not all there. */
  #readFrame(): number {
    const { length } = this.#unread
    if (length < 2) return 0
    const short = this.#unread.readUInt8(1)
    const head = short < 126 ? 2 : 4 // what the server says is never longer than 64 KiB
    if (length < head) return 0
    const end = head + (short < 126 ? short : this.#unread.readUInt16BE(2))
    if (length < end) return 0
    const isText = (this.#unread.readUInt8(0) & 15) === 1
    if (isText) this.messages.push(this.#unread.toString('utf8', head, end))
    return end
  }
}

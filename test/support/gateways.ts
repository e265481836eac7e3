// Gateways as processes of their own, and members that come back to them as clients do.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { io, type Socket } from 'socket.io-client'
import { Follower, type Position } from '../../gateway/pages/live/follower.js'
import type { Told } from './members.js'
import { root, type TestScope, until, within } from './server.js'

const RECONNECTION_DELAY_MS = 50

export class Gateway {
  #said = ''

  private constructor(
    readonly child: ChildProcess,
    readonly redisUrl: string,
  ) {
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#said += text
      })
    }
  }

  /** Resolves once it listens; see {@link ready}. */
  static async started(t: TestScope, redisUrl: string): Promise<Gateway> {
    const { PATH, HOME } = process.env
    const args = [join(root, 'dist', 'cli.js'), 'gateway', '--redis', redisUrl, '--port', '0']
    const child = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], env: { PATH, HOME } })
    const gateway = new Gateway(child, redisUrl)
    t.teardown(() => gateway.end('SIGKILL'))
    await until('the gateway listens', () => {
      if (child.exitCode !== null) throw new Error(`the gateway ended:\n${gateway.output}`)
      return gateway.url !== ''
    })
    return gateway
  }

  get output(): string {
    return this.#said
  }

  get url(): string {
    return /is running at (\S+)/.exec(this.#said)?.[1] ?? ''
  }

  /** Why it is not ready; empty when it is. */
  async reasons(): Promise<string> {
    const answer = await fetch(`${this.url}/readyz`)
    return answer.ok ? '' : String(((await answer.json()) as Told).detail)
  }

  ready(): Promise<unknown> {
    return until('the gateway is ready', async () => (await this.reasons()) === '')
  }

  /** The exit code. */
  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<number | null> {
    const { child } = this
    if (child.exitCode === null && child.signalCode === null) {
      child.kill(signal)
      await within('the gateway is gone', once(child, 'exit'))
    }
    return child.exitCode
  }
}

/** A client that connects again however its connection ends. */
function comingBack(t: TestScope, address: string, token?: string): Socket {
  const socket = io(address, {
    forceNew: true,
    transports: ['websocket'],
    auth: token === undefined ? {} : { token },
    reconnectionDelay: RECONNECTION_DELAY_MS,
    reconnectionDelayMax: RECONNECTION_DELAY_MS * 4,
  })
  t.teardown(async () => socket.disconnect())
  // Refused by the gateway itself: Socket.IO leaves it to the application to come back.
  socket.on('connect_error', () => {
    if (!socket.active) socket.connect()
  })
  return socket
}

/** What was said under the events of a numbered stream, by a client that resumes as ours do. */
export class Reader {
  readonly socket: Socket
  /** As they would be shown: each once, in order. */
  shown: Told[] = []
  readonly told: { readonly event: string; readonly data: Told }[] = []
  /** How often all was begun anew. */
  starts = 0
  connects = 0
  resumes = 0
  /** What must not happen: on one connection something twice, or out of order. */
  readonly wrong: string[] = []
  #last: Position | undefined
  readonly #follower: Follower<Position & Told>

  constructor(t: TestScope, site: { readonly url: string }, namespace: '/' | '/insights/live', token?: string) {
    this.socket = comingBack(t, site.url + namespace, token)
    this.#follower = new Follower<Position & Told>({
      show: (items, instead) => {
        if (instead) this.starts += 1
        this.shown = instead ? [...items] : [...this.shown, ...items]
      },
      resume: (from) => {
        this.resumes += 1
        return this.socket.emitWithAck('resume', from)
      },
    })
    this.socket.onAny((event: string, data: Told) => this.#hear(event, data))
  }

  /** Where the client got to. */
  get position(): Position {
    const { epoch, offset } = this.shown.at(-1) ?? this.#last ?? { epoch: '', offset: 0 }
    return { epoch, offset }
  }

  async connected(times = 1): Promise<this> {
    await until(`connected ${times} times`, () => this.connects >= times)
    return this
  }

  saidOf(event: string): Told[] {
    return this.told.filter((each) => each.event === event).map(({ data }) => data)
  }

  #hear(event: string, data: Told): void {
    this.told.push({ event, data })
    if (event === 'position' || event === 'snapshot') {
      this.connects += 1
      this.#last = { epoch: data.epoch, offset: data.offset }
      this.#follower.connected({ ...this.#last, items: data.feed ?? [] })
    } else if (['feed', 'scan:accepted', 'comp:awarded', 'tier:changed'].includes(event)) {
      const { epoch = '', offset = 0 } = this.#last ?? {}
      if (data.epoch !== epoch || data.offset !== offset + 1)
        this.wrong.push(`${event} at ${data.offset} after ${offset}`)
      this.#last = { epoch: data.epoch, offset: data.offset }
      this.#follower.receive(data as Position & Told)
    }
  }
}

/** A member in a channel who comes back with their position, however the connection ends. */
export class Listener {
  readonly socket: Socket
  /** Messages as they were first heard of, by whatever way. */
  readonly heard: { readonly text: string; readonly offset: number }[] = []
  readonly told: { readonly event: string; readonly data: Told }[] = []
  joins = 0
  resyncs = 0
  /** What must not happen: something twice, or out of order. */
  readonly wrong: string[] = []
  #position: { epoch: string; offset: number } | undefined

  constructor(
    t: TestScope,
    url: string,
    token: string,
    readonly channel: string,
    start?: { epoch: string; offset: number },
  ) {
    this.#position = start
    this.socket = comingBack(t, `${url}/social/ws`, token)
    this.socket.onAny((event: string, data: Told) => this.told.push({ event, data }))
    this.socket.on('message:new', (message: Told) => {
      if (message.channel === channel) this.#hear(message, 'live')
    })
    this.socket.on('connect', () => void this.#join())
  }

  get position(): { epoch: string; offset: number } {
    if (this.#position === undefined) throw new Error('not joined yet')
    return this.#position
  }

  async joined(times = 1): Promise<this> {
    await until(`joined ${this.channel} ${times} times`, () => this.joins >= times)
    return this
  }

  async say(text: string): Promise<Told> {
    return this.socket.emitWithAck('message:send', { channel: this.channel, text, client_id: text })
  }

  saidOf(event: string): Told[] {
    return this.told.filter((each) => each.event === event).map(({ data }) => data)
  }

  async #join(): Promise<void> {
    const answer: Told = await this.socket.emitWithAck('join', { channel: this.channel, ...this.#position })
    if (answer.error !== undefined) {
      if (this.socket.connected && answer.error.retry_after !== undefined) await this.#join()
      else this.wrong.push(`join: ${JSON.stringify(answer.error)}`)
      return
    }
    if (answer.resync === true) this.resyncs += 1
    if (this.#position !== undefined) for (const message of answer.messages) this.#hear(message, 'missed')
    this.#position = { epoch: answer.epoch, offset: answer.offset }
    this.joins += 1
  }

  #hear({ text, offset, epoch }: Told, how: string): void {
    const last = this.#position?.offset ?? 0
    if (offset <= last) this.wrong.push(`${how}: ${text} at ${offset} after ${last}`)
    if (how === 'live' && offset !== last + 1) this.wrong.push(`skipped to ${text} at ${offset} after ${last}`)
    this.heard.push({ text, offset })
    this.#position = { epoch: epoch ?? this.#position?.epoch ?? '', offset }
  }
}

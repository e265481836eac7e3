/**
 * A server with its audience: subscribers in generator processes, members who write, and measured windows.
 *
 * R1 A message counts as delivered once every subscriber in the room has it. R2 What a window measures is over when the
 *    window ends; what was said is delivered before the next one begins. R3 Subscribers that are lost, or told something
 *    twice or not at all, are part of what is measured. When nothing moves any more the run ends with an error.
 */
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { withProgress } from '../../cli/progress.js'
import { busySeconds } from '../scan/machine.js'
import { Times } from './arrivals.js'
import { Helper } from './calls.js'
import type { GeneratorCalls, Window } from './generator.js'
import { type Findings, noFindings } from './subscriber.js'
import { Talkers } from './talkers.js'
import type { Usage } from './usage.js'

const generatorFile = fileURLToPath(new URL('generator.js', import.meta.url))
/** What `npm start` gives to Node, for fairness and for the same reason. */
const GENERATOR_NODE_ARGS = ['--max-semi-space-size=64']
const PATIENCE_MS = 60_000
const IDLE_MS = 3_000
/** Sockets are weighed beyond this share of them, so that what a server takes once is not counted. */
const WEIGHED_BEYOND = 1 / 3
const WARM_UP_MS = 4_000
const WARM_UP_AUDIENCE = 50
const WARM_UP_UNDER_WAY = 8

export interface RigOptions {
  readonly name: string
  /** Subscribers and writers are spread over them. */
  readonly urls: readonly string[]
  readonly channel: string
  readonly usage: () => Promise<Usage>
  readonly talkers: readonly string[]
  /** Of the members who listen, in as many parts as there are to be generators. */
  readonly listeners: readonly (readonly string[])[]
}

/** Either as fast as deliveries allow, with so many messages under way, or so many a second come what may. */
export type Pace = { readonly underWay: number } | { readonly perSecond: number }

export interface Latency {
  readonly p50Ms: number
  readonly p99Ms: number
}

export interface Measured {
  readonly seconds: number
  readonly deliveriesPerSecond: number
  readonly bytesPerDelivery: number
  readonly serverCores: number
  readonly serverMicrosPerDelivery: number
  /** From the server's time stamp of a message, and from the moment it was due to be sent, to each subscriber. */
  readonly fromTaken: Latency
  readonly fromDue: Latency
  readonly generatorCores: number
  /** Of the busiest generator: share of the time its loop was working. */
  readonly generatorUtilisation: number
  /** Used by anything on this machine. */
  readonly busyCores: number
  readonly findings: Findings
}

export interface Storm extends Pick<Measured, 'serverCores' | 'generatorCores' | 'busyCores' | 'findings'> {
  /** Until the last one is back in the room. */
  readonly seconds: number
}

export class Rig {
  readonly #generators: readonly Helper<GeneratorCalls>[]
  /** By offset: generators whose whole audience has it. */
  readonly #complete = new Map<number, number>()
  #delivered = 0
  #left: number[] = []
  #onProgress = () => {}
  #talkers: Talkers | undefined
  /** Memory of the server for each connected subscriber in the room beyond the first third, in bytes. */
  bytesPerSocket = Number.NaN

  constructor(readonly options: RigOptions) {
    this.#generators = options.listeners.map(
      (_, index) =>
        new Helper<GeneratorCalls>(generatorFile, (about) => this.#noted(index, about), GENERATOR_NODE_ARGS),
    )
  }

  get name(): string {
    return this.options.name
  }

  get subscribers(): number {
    return this.options.listeners.flat().length
  }

  /** Connects everybody, lets all subscribers into the room and weighs them, and warms the server up. */
  async fill(): Promise<void> {
    const { urls, channel, usage, listeners, talkers, name } = this.options
    this.#talkers = await Talkers.connect(urls, channel, talkers)
    await Promise.all(
      this.#generators.map((generator, index) =>
        generator.call('open', { url: urls[index % urls.length] ?? '', channel, tokens: listeners[index] ?? [] }),
      ),
    )
    const some = Math.ceil(this.subscribers * WEIGHED_BEYOND)
    await this.#move(`${name}: connect ${some}`, some, some)
    const { rssBytes: before } = await usage()
    await this.#move(`${name}: connect ${this.subscribers}`, this.subscribers, this.subscribers)
    await sleep(IDLE_MS)
    this.bytesPerSocket = ((await usage()).rssBytes - before) / (this.subscribers - some)
    await this.#warmUp()
  }

  /** So many of the subscribers are in the room from now on. */
  place(insiders: number): Promise<void> {
    return this.#move(`${this.name}: ${insiders} in the room`, insiders, this.subscribers)
  }

  async #move(label: string, insiders: number, connected: number): Promise<void> {
    const inside = this.#shares(insiders)
    const online = this.#shares(connected)
    await this.#each(label, connected, (generator, index) =>
      generator.call('place', { insiders: inside[index] ?? 0, connected: online[index] ?? 0 }),
    )
  }

  /** How many of `count` fall to each generator. */
  #shares(count: number): number[] {
    let left = count
    return this.options.listeners.map(({ length: size }, index, { length }) => {
      const share = Math.min(size, Math.ceil(left / (length - index)))
      left -= share
      return share
    })
  }

  /** Code that runs for the first time costs many times what it costs later: messages to a few come before what is measured. */
  async #warmUp(): Promise<void> {
    await this.place(Math.min(WARM_UP_AUDIENCE, this.subscribers))
    const talk = this.#talk({ underWay: WARM_UP_UNDER_WAY })
    await Promise.race([sleep(WARM_UP_MS), talk.failed])
    await talk.end()
    await this.place(this.subscribers)
  }

  /** Lets members talk at a pace, and measures what comes of it after a warm-up. */
  async measure(pace: Pace, warmUpMs: number, durationMs: number): Promise<Measured> {
    const talk = this.#talk(pace)
    await Promise.race([sleep(warmUpMs), talk.failed])
    const before = await this.#mark()
    await Promise.race([sleep(durationMs), talk.failed])
    const after = await this.#read()
    await talk.end()
    return { ...measuredOf(before, after), findings: (await this.#audit()).findings }
  }

  /** All connections are lost and come back while members talk; every `slowEvery`th subscriber reads slowly then. */
  async storm(pace: Pace, slowEvery: number): Promise<Storm> {
    const before = await this.#mark()
    const talk = this.#talk(pace)
    const storms = this.#each(`${this.name}: storm`, this.subscribers, (generator) =>
      generator.call('storm', slowEvery),
    )
    const seconds = await Promise.race([storms, talk.failed])
    const after = await this.#read()
    await Promise.all(this.#generators.map((generator) => generator.call('calm', undefined)))
    await talk.end()
    const { serverCores, generatorCores, busyCores } = measuredOf(before, after)
    const cores = { serverCores, generatorCores, busyCores }
    return { seconds: Math.max(...seconds), ...cores, findings: (await this.#audit()).findings }
  }

  async close(): Promise<void> {
    this.#talkers?.close()
    await Promise.all(this.#generators.map((generator) => generator.stop()))
  }

  /** R2 `end` resolves when all that was said has been delivered; `failed` only ever rejects. */
  #talk(pace: Pace): { readonly failed: Promise<never>; readonly end: () => Promise<void> } {
    const talkers = this.#talkers
    if (talkers === undefined) throw new Error('nobody is there to talk')
    const until = { over: false }
    const talking =
      'underWay' in pace
        ? this.#talkInTurn(talkers, pace.underWay, until)
        : talkSteadily(talkers, pace.perSecond, until)
    const failed = new Promise<never>((_, reject) => void talking.catch(reject))
    failed.catch(() => {})
    const end = async () => {
      until.over = true
      this.#onProgress()
      await talking
      await this.#progressUntil(() => this.#delivered === talkers.said)
    }
    return { failed, end }
  }

  async #talkInTurn(talkers: Talkers, underWay: number, until: { readonly over: boolean }): Promise<void> {
    while (!until.over) {
      talkers.say(performance.timeOrigin + performance.now())
      await this.#progressUntil(() => until.over || talkers.said - this.#delivered < underWay)
    }
  }

  /** R3 Rejects when nothing moves any more. */
  async #progressUntil(isDone: () => boolean): Promise<void> {
    while (!isDone()) {
      let timer: NodeJS.Timeout | undefined
      const moved = await new Promise<boolean>((resolve) => {
        this.#onProgress = () => resolve(true)
        timer = setTimeout(() => resolve(false), PATIENCE_MS)
      })
      clearTimeout(timer)
      if (!moved) throw new Error(`${this.name}: messages do not arrive: ${JSON.stringify(await this.#audit())}`)
    }
  }

  /** R1 */
  #noted(generator: number, about: object): void {
    if ('left' in about) this.#left[generator] = Number(about.left)
    if (!('complete' in about)) return
    const offset = Number(about.complete)
    const count = (this.#complete.get(offset) ?? 0) + 1
    this.#complete.set(offset, count)
    if (count < this.#generators.length) return
    this.#complete.delete(offset)
    this.#delivered += 1
    this.#onProgress()
  }

  /** Asks all generators, and shows how far they are with `total` subscribers. */
  async #each<Result>(
    label: string,
    total: number,
    ask: (generator: Helper<GeneratorCalls>, index: number) => Promise<Result>,
  ): Promise<Result[]> {
    this.#left = this.#shares(total)
    return withProgress(label, total, async (to) => {
      const timer = setInterval(() => to(total - this.#left.reduce((sum, left) => sum + left, 0)), 500)
      try {
        return await Promise.all(this.#generators.map(ask))
      } finally {
        clearInterval(timer)
      }
    })
  }

  async #mark() {
    const startedAt = await Promise.all(this.#generators.map((generator) => generator.call('restart', undefined)))
    return { startedAt, usage: await this.options.usage(), atMs: performance.now(), busySeconds: busySeconds() }
  }

  async #read() {
    const [usage, ...windows] = await Promise.all([
      this.options.usage(),
      ...this.#generators.map((generator) => generator.call('window', undefined)),
    ])
    return { usage, windows, atMs: performance.now(), busySeconds: busySeconds() }
  }

  async #audit(): Promise<{ findings: Findings; inside: number; offsets: number[]; incomplete: number }> {
    const audits = await Promise.all(this.#generators.map((generator) => generator.call('audit', undefined)))
    const sum = { ...noFindings(), inside: 0, incomplete: 0 }
    for (const { findings, inside, incomplete } of audits) {
      for (const name of ['gaps', 'holes', 'twice', 'resyncs'] as const) sum[name] += findings[name]
      for (const [reason, count] of Object.entries(findings.ended)) sum.ended[reason] = (sum.ended[reason] ?? 0) + count
      sum.inside += inside
      sum.incomplete += incomplete
    }
    const { inside, incomplete, ...findings } = sum
    return { findings, inside, incomplete, offsets: [...new Set(audits.flatMap(({ offsets }) => offsets))] }
  }
}

/** On a schedule: what could not be sent in time says when it was due. */
async function talkSteadily(talkers: Talkers, perSecond: number, until: { readonly over: boolean }): Promise<void> {
  const intervalMs = 1_000 / perSecond
  for (let dueMs = performance.now(); !until.over; dueMs += intervalMs) {
    await sleep(Math.max(0, dueMs - performance.now()))
    talkers.say(performance.timeOrigin + dueMs)
  }
}

interface Start {
  readonly startedAt: readonly number[]
  readonly usage: Usage
  readonly atMs: number
  readonly busySeconds: number | null
}
interface End extends Omit<Start, 'startedAt'> {
  readonly windows: readonly Window[]
}

function measuredOf(before: Start, after: End): Omit<Measured, 'findings'> {
  const seconds = (after.atMs - before.atMs) / 1_000
  const serverCores = (after.usage.cpuSeconds - before.usage.cpuSeconds) / seconds
  const sum = (of: (window: Window, index: number) => number) => after.windows.map(of).reduce((a, b) => a + b, 0)
  const deliveriesPerSecond = sum(
    ({ deliveries, atMs }, index) => (deliveries * 1_000) / (atMs - (before.startedAt[index] ?? Number.NaN)),
  )
  return {
    ...{ seconds, deliveriesPerSecond, serverCores },
    fromTaken: latencyOf(after.windows.map(({ fromTaken }) => fromTaken)),
    fromDue: latencyOf(after.windows.map(({ fromDue }) => fromDue)),
    bytesPerDelivery: sum(({ bytes }) => bytes) / sum(({ deliveries }) => deliveries),
    serverMicrosPerDelivery: (serverCores * 1e6) / deliveriesPerSecond,
    generatorCores: sum(({ cpuShare }) => cpuShare),
    generatorUtilisation: Math.max(...after.windows.map(({ utilisation }) => utilisation)),
    busyCores: ((after.busySeconds ?? Number.NaN) - (before.busySeconds ?? Number.NaN)) / seconds,
  }
}

function latencyOf(parts: readonly (readonly number[])[]): Latency {
  const times = new Times()
  for (const part of parts) times.add(new Times(part))
  return { p50Ms: times.at(50), p99Ms: times.at(99) }
}

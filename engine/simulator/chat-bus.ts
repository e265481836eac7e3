/**
 * The bus between the engine and a gateway of its own: the real ends of it, over a Redis that loses messages. What it
 * does deliver through one channel is in order; two channels know nothing of each other.
 */
import { BEAT_INTERVAL_MS, EngineBus } from '../../gateway/bus/engine-bus.js'
import type { Batch } from '../../gateway/bus/fact-log.js'
import { commandsOnBus, factsOnBus, queriesOnBus } from '../../gateway/bus/on-the-bus.js'
import { channelNames } from '../../gateway/bus/wire.js'
import type { TurnRecord } from '../record.js'
import type { Running, World } from './deployment.js'
import { Random } from './random.js'
import type { Life } from './scheduler.js'

const HOP_MICROS = [50, 20_000] as const
/** So that what a gateway missed is more than one answer holds, or forgotten. */
const MISSED_BYTES_MAX = 3_000
/** While nothing happens, beats come later and later: a run is of many days. */
const BEATS_AT_FIRST = 5

export const names = channelNames('sim')

/** A batch of facts on its way to the gateways; without bytes, a beat. */
export interface ToldFacts {
  readonly run: string
  readonly seq: number
  readonly bytes: Uint8Array | null
}

interface Subscription<Message> {
  readonly life: Life
  readonly take: (message: Message) => void
  /** When the last message that is under way arrives. */
  arrival: number
}

/** What the ends of the bus use of Redis. */
export class SimulatedRedis {
  readonly #subscriptions = new Map<string, Subscription<never>>()
  readonly #random: Random

  constructor(readonly world: World) {
    this.#random = new Random(world.seed, 'redis')
  }

  /** As one process sees it. */
  of(life: Life) {
    return {
      publish: (channel: string, bytes: Buffer) => Promise.resolve(this.send(life, channel, Uint8Array.from(bytes))),
      subscribe: (channel: string, take: (bytes: Buffer) => void) => {
        this.listen(life, channel, (bytes: Uint8Array) => take(Buffer.from(bytes)))
      },
    }
  }

  listen<Message>(life: Life, channel: string, take: (message: Message) => void): void {
    this.#subscriptions.set(channel, { life, take, arrival: 0 })
  }

  /** Returns how many it is for. */
  send<Message>(from: Life, channel: string, message: Message): number {
    const subscription = this.#subscriptions.get(channel) as Subscription<Message> | undefined
    if (subscription?.life.isAlive !== true || !from.isAlive) return 0
    const { scheduler, faults } = this.world
    if (faults.strikes('lost on the bus')) return 1
    const { life, take } = subscription
    subscription.arrival = Math.max(subscription.arrival, scheduler.now + this.#random.skewed(...HOP_MICROS))
    scheduler.after(subscription.arrival - scheduler.now, life, () => take(message))
    return 1
  }
}

/** The engine's end, of one process. */
export class BusOfEngine {
  readonly #bus: EngineBus
  #beats = 0
  #nextBeat = { callOff: () => {}, beat: () => {} }

  constructor(
    readonly redis: SimulatedRedis,
    readonly running: Running,
    now: () => number,
  ) {
    const { life, shard, program } = running
    const { story } = redis.world
    const environment = {
      now,
      wakeAt: (_: number, beat: () => void) => {
        this.#awaitBeat(beat)
        return () => this.#nextBeat.callOff()
      },
    }
    const ignore = () => {}
    this.#bus = new EngineBus({
      ...{ redis: redis.of(life), names, run: life.name, engine: shard, environment, facts: factsOnBus },
      commands: commandsOnBus(program),
      queries: queriesOnBus(program),
      calls: new Map([['facts.missed', (asked: unknown) => this.#missed(asked as ToldFacts)]]),
      tell: (run, seq, bytes) => void redis.send<ToldFacts>(life, names.sockets, { run, seq, bytes }),
      log: {
        info: ignore,
        warn: ignore,
        error: ({ err }: { readonly err?: unknown }, what) => {
          story.check('nobody is answered with a fault', !life.isAlive, () => `${what}: ${String(err)}`)
        },
      },
    })
  }

  /** Batches told so far. */
  get told(): number {
    return this.#bus.gauges().batches
  }

  publish(record: TurnRecord): void {
    this.#bus.publish(record)
    if (this.#beats <= BEATS_AT_FIRST) return
    this.#beats = 0
    this.#nextBeat.callOff()
    this.#awaitBeat(this.#nextBeat.beat)
  }

  #awaitBeat(beat: () => void): void {
    const { redis, running } = this
    this.#beats += 1
    const spread = 2 ** Math.max(0, this.#beats - BEATS_AT_FIRST)
    const callOff = redis.world.scheduler.after(BEAT_INTERVAL_MS * 1_000 * spread, running.life, beat)
    this.#nextBeat = { callOff, beat }
  }

  #missed({ run, seq }: Pick<ToldFacts, 'run' | 'seq'>): { upTo: number; batches: Batch[] | null } {
    return this.#bus.missed(run, seq, MISSED_BYTES_MAX)
  }
}

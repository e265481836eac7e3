/**
 * A gateway in a process of its own: the real engine of another process, and the real feed of its facts, on a bus that
 * loses messages. It dies by itself, and another one comes.
 *
 * X1 What it missed is made good, or its clients come back with their positions. G2 An answer is given out once what it
 * may have seen was told here.
 */
import { FactFeed } from '../../gateway/bus/fact-feed.js'
import type { FactLog } from '../../gateway/bus/fact-log.js'
import { RemoteEngine } from '../../gateway/bus/remote-engine.js'
import type { Tiding } from '../../gateway/bus/tidings.js'
import type { EnginePort } from '../../gateway/engine-port.js'
import { DomainError } from '../errors.js'
import { unpack } from '../record.js'
import type { Environment } from '../store.js'
import { names, type SimulatedRedis, type ToldFacts } from './chat-bus.js'
import { ChatGateway } from './chat-gateway.js'
import { programWithoutState } from './program.js'
import { Random } from './random.js'
import { Life } from './scheduler.js'
import type { Story } from './story.js'

const RESTART_MICROS = [1_000, 5_000_000] as const

type Missed = ReturnType<FactLog['since']>

export class RemoteGateways {
  readonly #random: Random
  readonly #life = new Life('gateways')
  #started = 0
  #running: RemoteGateway | undefined

  constructor(
    readonly redis: SimulatedRedis,
    /** Of a process that lives so long. */
    readonly environmentOf: (life: Life) => Pick<Environment, 'now' | 'wakeAt' | 'newId'>,
  ) {
    this.#random = new Random(redis.world.seed, 'gateways')
  }

  /** The one that is there now. */
  get gateway(): ChatGateway | undefined {
    return this.#running?.chat
  }

  /** Whether it was told everything up to here. */
  isAt(run: string, batches: number): boolean {
    return this.#running?.heardRun === run && this.#running.feed.gauges().facts_seq === batches
  }

  start(): void {
    this.#started += 1
    const life = new Life(`gateway ${this.#started}`)
    this.#running = new RemoteGateway(this, life)
    this.redis.world.story.tell('gateway', `${life.name} runs`)
  }

  /** In the middle of whatever it did. */
  kill(): void {
    const { scheduler, story } = this.redis.world
    const running = this.#running
    if (running === undefined) return
    this.#running = undefined
    running.life.isAlive = false
    running.chat.end()
    story.tell('gateway', `${running.life.name} is killed`)
    scheduler.after(this.#random.skewed(...RESTART_MICROS), this.#life, () => this.start())
  }
}

class RemoteGateway {
  readonly chat: ChatGateway
  readonly feed: FactFeed
  heardRun = ''

  constructor(
    all: RemoteGateways,
    readonly life: Life,
  ) {
    const { redis } = all
    const { world } = redis
    const { story, faults } = world
    const environment = all.environmentOf(life)
    const engine: RemoteEngine = new RemoteEngine({
      ...{ redis: redis.of(life), names, environment, gateway: life.name },
      reached: (run, seq) => this.feed.reached(run, seq),
    })
    const asked = heeded(engine, story)
    this.chat = new ChatGateway({ engine: asked, program: programWithoutState, environment, log: logOf(this, all) })
    const ignore = () => {}
    this.feed = new FactFeed({
      environment,
      missed: (run, seq) => engine.call('facts.missed', { run, seq }) as Promise<{ upTo: number; batches: Missed }>,
      publish: (bytes) => {
        const tidings = unpack<Tiding[]>(bytes)
        this.chat.publish({ facts: tidings.flatMap((each) => (each.kind === 'fact' ? [each.fact] : [])) })
      },
      resync: () => {
        story.mark('a gateway sent its clients away')
        this.chat.dismissAll()
      },
      onRun: ignore,
      log: {
        info: () => story.mark('a gateway made good what it had missed'),
        warn: ignore,
        error: logOf(this, all).error,
      },
    })
    redis.listen<ToldFacts>(life, names.sockets, ({ run, seq, bytes }) => {
      this.heardRun = run
      this.feed.take(run, seq, bytes)
      if (faults.strikes('gateway death')) all.kill()
    })
  }
}

/** What a gateway asks is what the engine lets gateways ask. */
function heeded(engine: EnginePort, story: Story): EnginePort {
  const heed = (error: unknown): never => {
    const isKnown = !(error instanceof DomainError && error.code === 'engine_mismatch')
    story.check('nobody is answered with a fault', isKnown, () => String(error))
    throw error
  }
  return {
    execute: (command, request) => engine.execute(command, request).catch(heed),
    query: (query, args) => engine.query(query, args).catch(heed),
  }
}

function logOf({ life }: RemoteGateway, { redis }: RemoteGateways) {
  const { story } = redis.world
  return {
    error: ({ err }: { readonly err?: unknown }, message: string) => {
      const isExpected = err instanceof DomainError || !life.isAlive
      if (isExpected) story.mark(`the chat says: ${message}`)
      else story.check('nobody is answered with a fault', false, () => `${message}: ${String(err)}`)
    },
  }
}

/**
 * Members who follow the chat and talk in it, each with the real client, through two gateways: one in the process of the
 * engine, one in its own at the other end of the bus.
 */
import type { Principal } from '../../gateway/http/toolkit/principal.js'
import { DomainError } from '../errors.js'
import type { TurnRecord } from '../record.js'
import type { Environment } from '../store.js'
import { BusOfEngine, SimulatedRedis } from './chat-bus.js'
import { ChatGateway } from './chat-gateway.js'
import { ChatOracle } from './chat-oracle.js'
import { RemoteGateways } from './chat-remote.js'
import { ChatWire } from './chat-wire.js'
import { Chatter, type Saying } from './chatter.js'
import type { Deployment, Follower, Running, World } from './deployment.js'
import { uuid } from './program.js'
import { Random } from './random.js'
import type { Life } from './scheduler.js'

const FOLLOWING = 3

export class ChatClients implements Follower {
  readonly oracle: ChatOracle
  readonly wire: ChatWire
  readonly random: Random
  readonly #redis: SimulatedRedis
  readonly #remote: RemoteGateways
  readonly #chatters: readonly Chatter[]
  #gateway: ChatGateway | undefined
  #bus: BusOfEngine | undefined
  #ids = 0
  #said = 0

  constructor(
    readonly world: World,
    readonly deployment: Deployment,
  ) {
    this.oracle = new ChatOracle(deployment)
    this.random = new Random(world.seed, 'chat clients')
    this.#redis = new SimulatedRedis(world)
    this.#remote = new RemoteGateways(this.#redis, (life) => this.#environmentOf(life))
    this.wire = new ChatWire(world, this.oracle, () => this.random.pick([this.#gateway, this.#remote.gateway]))
    this.#chatters = Array.from({ length: FOLLOWING }, (_, at) => {
      const who: Principal = { role: 'member', userId: uuid('a', at + 1), sessionId: uuid('5e', at + 1) }
      return new Chatter(this, who, `member ${at + 1}`)
    })
    deployment.followers.push(this)
  }

  /** Members are known from now on: they come. */
  begin(): void {
    this.#remote.start()
    this.comeBackAll()
  }

  comeBackAll(): void {
    for (const chatter of this.#chatters) chatter.comeBack()
  }

  /** A member's device has been without a network. */
  comeBack(member: number): void {
    this.#chatters[member % FOLLOWING]?.comeBack()
  }

  /** A member says something that nobody says again. */
  say(member: number, channelId: string): void {
    this.#said += 1
    this.#chatters[member % FOLLOWING]?.say(channelId, `number ${this.#said}`)
  }

  get sayings(): readonly Saying[] {
    return this.#chatters.flatMap(({ sayings }) => sayings)
  }

  /** Whether nobody waits for anything, and every gateway was told everything. */
  get isSettled(): boolean {
    const { running } = this.deployment
    if (running === undefined || this.#bus === undefined) return false
    return this.#remote.isAt(running.life.name, this.#bus.told) && this.#chatters.every(({ isSettled }) => isSettled)
  }

  /** At rest, everybody shows everything that was not lost on the way. */
  check(): void {
    for (const chatter of this.#chatters) chatter.checkRest()
  }

  /** Nobody is in a channel that is not theirs; once they have come back, everybody is in all that are. */
  async checkRights(haveComeBack: boolean): Promise<void> {
    const { story } = this.world
    const { running } = this.deployment
    if (running === undefined) return
    for (const { who, channels, isWhole } of this.#chatters) {
      if (!isWhole) continue
      const { userId } = who
      const views = await running.shard.query(running.program.chat.queries.channels, { userId })
      const theirs = views.map(({ channelId }) => channelId)
      const found = channels.filter(({ status }) => status === 'live').map(({ id }) => id)
      const isRight = found.every((id) => theirs.includes(id)) && (!haveComeBack || found.length === theirs.length)
      story.check('a member is in the channels that are theirs', isRight, () => `${userId}: ${found}, not ${theirs}`)
    }
  }

  newId(): string {
    this.#ids += 1
    return uuid('c1', this.#ids)
  }

  #environmentOf(life: Life): Pick<Environment, 'now' | 'wakeAt' | 'newId'> {
    const { scheduler } = this.world
    const now = () => this.deployment.now()
    return {
      now,
      newId: () => this.newId(),
      wakeAt: (at, callback) => scheduler.after((at - now()) * 1_000, life, callback),
    }
  }

  onStart(running: Running): void {
    const { story } = this.world
    const { life, shard, program } = running
    const log = {
      error: ({ err }: { readonly err?: unknown }, message: string) => {
        const isExpected = err instanceof DomainError || !life.isAlive
        if (isExpected) story.mark(`the chat says: ${message}`)
        else story.check('nobody is answered with a fault', false, () => `${message}: ${String(err)}`)
      },
    }
    this.#gateway = new ChatGateway({ engine: shard, program, environment: this.#environmentOf(life), log })
    this.#bus = new BusOfEngine(this.#redis, running, () => this.deployment.now())
  }

  onRecord(record: TurnRecord): void {
    this.#gateway?.publish(record)
    this.#bus?.publish(record)
  }

  onEnd(): void {
    this.#gateway?.end()
    this.#gateway = undefined
    this.#bus = undefined
  }
}

/**
 * The engine's side of the bus: it answers its gateways and tells them what became true.
 *
 * G1 Facts, and what else there is to tell, leave in the order of records, once durable, in numbered batches of one run
 *    of the engine; an answer leaves after what it may have seen. X1 Redis delivers at most once: the last batches are
 *    kept for gateways that missed some, and a beat tells how far the numbers are. B1 Requests under way, batches kept
 *    and their sizes are bounded.
 */
import type { z } from 'zod'
import { anonymous, type Command, type Query } from '../../engine/command.js'
import { DomainError } from '../../engine/errors.js'
import { overloaded } from '../../engine/outcome.js'
import { pack, type TurnRecord } from '../../engine/record.js'
import type { Environment } from '../../engine/store.js'
import type { EnginePort } from '../engine-port.js'
import { FactLog } from './fact-log.js'
import type { BusRedis } from './redis.js'
import type { Tiding } from './tidings.js'
import {
  type BusLog,
  type BusReply,
  type BusRequest,
  type ChannelNames,
  errorOf,
  packReply,
  unpackRequest,
} from './wire.js'

const REQUESTS_UNDER_WAY_MAX = 20_000
const KEPT_BYTES_MAX = 32 * 1024 * 1024
const TIDINGS_PER_BATCH_MAX = 500
export const BEAT_INTERVAL_MS = 1_000

/** A query gateways may ask, with what its arguments must be. */
export interface RemoteQuery {
  readonly query: Query
  readonly args: z.ZodType
}

export interface EngineBusOptions {
  readonly redis: Pick<BusRedis, 'publish' | 'subscribe'>
  readonly names: ChannelNames
  /** Random for each start of the process. */
  readonly run: string
  readonly engine: EnginePort
  readonly environment: Pick<Environment, 'now' | 'wakeAt'>
  /** What gateways may ask for. Calls check their arguments themselves. */
  readonly commands: readonly Command[]
  readonly queries: readonly RemoteQuery[]
  readonly calls: ReadonlyMap<string, (args: unknown) => unknown>
  /** Types of facts that gateways are told. */
  readonly facts: ReadonlySet<string>
  /** Tells every gateway; `bytes` is null for a beat. */
  readonly tell: (run: string, seq: number, bytes: Buffer | null) => void
  readonly log: BusLog
}

export class EngineBus {
  readonly #options: EngineBusOptions
  readonly #commands: ReadonlyMap<string, Command>
  readonly #queries: ReadonlyMap<string, RemoteQuery>
  readonly #kept = new FactLog(KEPT_BYTES_MAX)
  #untold: Tiding[] = []
  #underWay = 0
  #cancelBeat = () => {}

  constructor(options: EngineBusOptions) {
    this.#options = options
    this.#commands = new Map(options.commands.map((command) => [command.name, command]))
    this.#queries = new Map(options.queries.map((each) => [each.query.name, each]))
    options.redis.subscribe(options.names.requests, (bytes) => this.#take(unpackRequest(bytes)))
    this.#goOnBeating()
  }

  /** Tells gateways of a durable record. */
  publish({ facts }: TurnRecord): void {
    for (const fact of facts) if (this.#options.facts.has(fact.type)) this.tell({ kind: 'fact', fact })
  }

  tell(tiding: Tiding): void {
    this.#untold.push(tiding)
    if (this.#untold.length === 1) queueMicrotask(() => this.#flush())
    if (this.#untold.length >= TIDINGS_PER_BATCH_MAX) this.#flush()
  }

  beat(): void {
    this.#flush()
    this.#options.tell(this.#options.run, this.#kept.seq, null)
  }

  #goOnBeating(): void {
    const { environment } = this.#options
    this.beat()
    this.#cancelBeat = environment.wakeAt(environment.now() + BEAT_INTERVAL_MS, () => this.#goOnBeating())
  }

  /** The batches after one of this run; `batches` is null when they are not kept any more. */
  missed(run: string, seq: number, bytesMax: number) {
    const batches = run === this.#options.run ? this.#kept.since(seq, bytesMax) : null
    return { upTo: this.#kept.seq, batches }
  }

  gauges() {
    return {
      requests_under_way: this.#underWay,
      requests_under_way_max: REQUESTS_UNDER_WAY_MAX,
      batches: this.#kept.seq,
      kept_bytes: this.#kept.bytes,
      kept_bytes_max: KEPT_BYTES_MAX,
    }
  }

  stop(): void {
    this.#cancelBeat()
  }

  #flush(): void {
    if (this.#untold.length === 0) return
    const bytes = Buffer.from(pack(this.#untold))
    this.#untold = []
    this.#options.tell(this.#options.run, this.#kept.append(bytes), bytes)
  }

  #take(request: BusRequest): void {
    this.#underWay += 1
    this.#answer(request)
      .then(
        (value) => this.#reply(request, value, null),
        (error: unknown) => {
          if (!(error instanceof DomainError)) {
            this.#options.log.error({ err: error, name: request.name }, 'a request of a gateway failed')
          }
          return this.#reply(request, null, errorOf(error))
        },
      )
      .catch((error: unknown) => this.#options.log.warn({ err: error, name: request.name }, 'a gateway got no answer'))
      .finally(() => {
        this.#underWay -= 1
      })
  }

  async #answer({ kind, name, args, who, key, fingerprint }: BusRequest): Promise<unknown> {
    if (this.#underWay > REQUESTS_UNDER_WAY_MAX) throw overloaded() // B1
    const { engine, calls } = this.#options
    if (kind === 'execute') {
      const command = known(this.#commands.get(name), name)
      const once = { key: key ?? undefined, fingerprint: fingerprint ?? undefined }
      return engine.execute(command, { args: parsed(command.input, args, name), who: who ?? anonymous, ...once })
    }
    if (kind === 'query') {
      const { query, args: schema } = known(this.#queries.get(name), name)
      return engine.query(query, parsed(schema, args, name))
    }
    return known(calls.get(name), name)(args)
  }

  async #reply({ gateway, id }: BusRequest, value: unknown, error: BusReply['error']): Promise<void> {
    const { redis, names, run } = this.#options
    this.#flush() // G1
    await redis.publish(names.repliesTo(gateway), packReply({ id, run, asOf: this.#kept.seq, value, error }))
  }
}

/** A gateway of another version may ask for what there is not. */
function known<T>(found: T | undefined, name: string): T {
  if (found !== undefined) return found
  throw new DomainError('unavailable', 'engine_mismatch', `The engine and this gateway differ: there is no ${name}.`)
}

function parsed(schema: z.ZodType, args: unknown, name: string): never {
  const result = schema.safeParse(args)
  if (result.success) return result.data as never
  throw new DomainError('unavailable', 'engine_mismatch', `The engine and this gateway differ about ${name}.`)
}

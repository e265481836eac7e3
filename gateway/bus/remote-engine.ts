/**
 * An engine in another process, asked by name over Redis.
 *
 * G2 An answer is given out once this process was told all facts it may have seen. B1 Requests under way are bounded.
 *    Redis delivers at most once, so a request without an answer has an unknown outcome: it is not repeated here.
 */
import type { Command, Principal, Query } from '../../engine/command.js'
import { DomainError } from '../../engine/errors.js'
import type { Request } from '../../engine/outcome.js'
import type { Environment } from '../../engine/store.js'
import type { EnginePort } from '../engine-port.js'
import type { BusRedis } from './redis.js'
import {
  asThrown,
  type BusRequest,
  type ChannelNames,
  engineUnavailable,
  outcomeUnknown,
  packRequest,
  unpackReply,
} from './wire.js'

const REQUESTS_UNDER_WAY_MAX = 20_000
const REQUEST_TIMEOUT_MS = 5_000

export interface RemoteEngineOptions {
  readonly redis: Pick<BusRedis, 'publish' | 'subscribe'>
  readonly names: ChannelNames
  /** Of this process, random. */
  readonly gateway: string
  readonly environment: Pick<Environment, 'now' | 'wakeAt'>
  /** Resolves, or returns undefined, once facts were published up to a batch (G2). */
  readonly reached: (run: string, seq: number) => Promise<void> | undefined
}

interface Waiting {
  readonly kind: BusRequest['kind']
  readonly resolve: (value: unknown) => void
  readonly reject: (error: Error) => void
  readonly cancelTimeout: () => void
}

type Asked = Pick<BusRequest, 'kind' | 'name' | 'args'> & {
  readonly who?: Principal | undefined
  readonly key?: string | undefined
  readonly fingerprint?: string | undefined
}

export class RemoteEngine implements EnginePort {
  readonly #options: RemoteEngineOptions
  readonly #waiting = new Map<number, Waiting>()
  #lastId = 0

  constructor(options: RemoteEngineOptions) {
    this.#options = options
    options.redis.subscribe(options.names.repliesTo(options.gateway), (bytes) => this.#take(bytes))
  }

  /** Rejects with what the engine answers, with `engine_unavailable` or with `outcome_unknown`. */
  execute<Args, Reply>(command: Command<Args, Reply>, request: Request<Args>): Promise<Reply> {
    return this.#ask({ kind: 'execute', name: command.name, ...request }) as Promise<Reply>
  }

  query<Args, Result>(query: Query<Args, Result>, args: Args): Promise<Result> {
    return this.#ask({ kind: 'query', name: query.name, args }) as Promise<Result>
  }

  /** What is neither a command nor a query; the answer says nothing of facts. */
  call(name: string, args: unknown): Promise<unknown> {
    return this.#ask({ kind: 'call', name, args })
  }

  gauges() {
    return { requests_under_way: this.#waiting.size, requests_under_way_max: REQUESTS_UNDER_WAY_MAX }
  }

  #ask({ who, key, fingerprint, ...asked }: Asked): Promise<unknown> {
    if (this.#waiting.size >= REQUESTS_UNDER_WAY_MAX) {
      return Promise.reject(
        new DomainError('unavailable', 'overloaded', 'Too many requests wait for the engine.', { retryAfterMs: 1_000 }),
      )
    }
    const { redis, names, gateway, environment } = this.#options
    this.#lastId += 1
    const id = this.#lastId
    const of = { who: who ?? null, key: key ?? null, fingerprint: fingerprint ?? null }
    return new Promise((resolve, reject) => {
      const cancelTimeout = environment.wakeAt(environment.now() + REQUEST_TIMEOUT_MS, () => {
        this.#settle(id)?.reject(outcomeUnknown())
      })
      this.#waiting.set(id, { kind: asked.kind, resolve, reject, cancelTimeout })
      redis.publish(names.requests, packRequest({ gateway, id, ...asked, ...of })).then(
        (receivers) => {
          if (receivers === 0) this.#settle(id)?.reject(engineUnavailable())
        },
        () => this.#settle(id)?.reject(engineUnavailable()),
      )
    })
  }

  #settle(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    waiting?.cancelTimeout()
    return waiting
  }

  #take(bytes: Uint8Array): void {
    const { id, run, asOf, value, error } = unpackReply(bytes)
    const waiting = this.#settle(id)
    if (waiting === undefined) return
    const { kind, resolve, reject } = waiting
    const give = () => (error === null ? resolve(value) : reject(asThrown(error)))
    const reached = kind === 'call' ? undefined : this.#options.reached(run, asOf)
    if (reached === undefined) give()
    // What was done is done, though its answer cannot be given out: `busy` would say that it was not.
    else reached.then(give, (cause: Error) => reject(kind === 'execute' ? outcomeUnknown() : cause))
  }
}

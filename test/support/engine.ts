// A shard whose whole outside world is in memory and moves only when a test says so: the disk flushes, Postgres answers
// and catches up, time passes and the process crashes by hand.
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import type { ActorId, ActorType } from '../../engine/actor.js'
import { assert, unreachable } from '../../engine/assert.js'
import { type Command, defineQuery, type Principal, system } from '../../engine/command.js'
import { DomainError } from '../../engine/errors.js'
import type { Journal, JournalEntry } from '../../engine/journal.js'
import { defaultLimits, type ShardLimits } from '../../engine/limits.js'
import type { Outcome } from '../../engine/outcome.js'
import { type Alarm, type Idempotency, type Message, type TurnRecord, unpackRecord } from '../../engine/record.js'
import { Shard } from '../../engine/shard.js'
import type { Checkpoint, Environment, Store } from '../../engine/store.js'
import { createBank, vault, type Wiring } from './bank.js'

/** A disk that flushes by hand. */
export class HandJournal implements Journal {
  onDurable: (seq: number) => void = () => {}
  /** What appending throws, while set. */
  failure: Error | undefined
  /** Whether every record is durable while it is being appended. */
  isInstant = false
  isClosed = false
  #durableSeq: number

  constructor(readonly bodies: Uint8Array[] = []) {
    this.#durableSeq = bodies.length
  }

  get lastSeq(): number {
    return this.bodies.length
  }

  get durableSeq(): number {
    return this.#durableSeq
  }

  append(seq: number, body: Uint8Array): void {
    if (this.failure !== undefined) throw this.failure
    assert(!this.isClosed && seq === this.lastSeq + 1, `record ${seq} appended after ${this.lastSeq}`)
    this.bodies.push(Uint8Array.from(body))
    if (this.isInstant) this.flush()
  }

  flush(throughSeq = this.lastSeq): void {
    if (throughSeq <= this.#durableSeq) return
    this.#durableSeq = throughSeq
    this.onDurable(throughSeq)
  }

  /** Every body is a view into one buffer that is used again, as the port allows. */
  async *read(fromSeq: number): AsyncGenerator<readonly JournalEntry[]> {
    const buffer = Buffer.alloc(Math.max(0, ...this.bodies.map(({ length }) => length)))
    for (let seq = fromSeq; seq <= this.#durableSeq; seq++) {
      const body = this.body(seq)
      buffer.set(body)
      yield [{ seq, body: buffer.subarray(0, body.length) }]
      buffer.fill(0xc1)
    }
  }

  async truncate(): Promise<void> {}

  async close(): Promise<void> {
    this.flush()
    this.isClosed = true
  }

  body(seq: number): Uint8Array {
    const body = this.bodies[seq - 1]
    assert(body !== undefined, `there is no record ${seq}`)
    return body
  }

  /** What the next process finds: nothing but what was flushed. */
  afterCrash(): HandJournal {
    return new HandJournal(this.bodies.slice(0, this.#durableSeq))
  }
}

type Stored = Idempotency & { readonly at: number; readonly seq: number }

/** What Postgres would hold: a plain fold over records, the oracle of recovery. It answers at once or when released. */
export class Projection implements Store {
  appliedSeq = 0
  lastAt = 0
  readonly images = new Map<ActorId, Uint8Array>()
  readonly alarms = new Map<string, Alarm>()
  readonly messages = new Map<string, Message>()
  readonly outcomes = new Map<string, Stored>()
  readonly names = new Set<string>()
  readonly balances = new Map<string, bigint>()
  /** What each read of images asked for. */
  readonly imageReads: ActorId[][] = []
  outcomeReads = 0
  isDown = false
  #released = Promise.resolve()

  apply(body: Uint8Array): void {
    const { seq, input, images, alarms, messages, consumed, idempotency, deltas, postings } = unpackRecord(body)
    assert(seq === this.appliedSeq + 1, `record ${seq} applied after ${this.appliedSeq}`)
    for (const { actor, image } of images) this.images.set(actor, image)
    if (consumed !== null && !this.messages.delete(consumed)) {
      this.alarms.delete(consumed.slice(0, consumed.lastIndexOf('@')))
    }
    for (const alarm of alarms) {
      if (alarm.at === null) this.alarms.delete(`${alarm.actor}#${alarm.name}`)
      else this.alarms.set(`${alarm.actor}#${alarm.name}`, alarm)
    }
    for (const message of messages) this.messages.set(message.id, message)
    if (idempotency !== null) this.outcomes.set(idempotency.key, { ...idempotency, at: input.at, seq })
    for (const { delta } of deltas) this.names.add((delta as { added: string }).added)
    for (const { account, amount } of postings.flatMap(({ lines }) => lines)) {
      this.balances.set(account, (this.balances.get(account) ?? 0n) + amount)
    }
    this.appliedSeq = seq
    this.lastAt = input.at
  }

  checkpoint(): Checkpoint {
    const { appliedSeq, lastAt } = this
    const idempotency = [...this.outcomes.values()].filter(({ forever }) => !forever).sort((a, b) => a.seq - b.seq)
    const pinned = [...this.images].filter(([actor]) => actor.startsWith('vault/'))
    return {
      ...{ appliedSeq, lastAt, idempotency },
      pinned: pinned.map(([actor, image]) => ({ actor, image })),
      alarms: [...this.alarms.values()].sort((a, b) => (a.actor < b.actor ? -1 : 1)),
      messages: [...this.messages.values()],
    }
  }

  /** Reads from now on see what is here now, but are not answered before the returned function is called. */
  hold(): () => void {
    let release = () => {}
    this.#released = new Promise((resolve) => {
      release = resolve
    })
    return release
  }

  /** Reads from now on are answered at once, whatever those before still wait for. */
  answerNew(): void {
    this.#released = Promise.resolve()
  }

  async loadImages(ids: readonly ActorId[]): Promise<Map<ActorId, Uint8Array>> {
    this.imageReads.push([...ids])
    const found = new Map([...this.images].filter(([id]) => ids.includes(id)))
    await this.#answer()
    return found
  }

  async loadOutcome(key: string): Promise<Stored | undefined> {
    this.outcomeReads += 1
    const found = this.outcomes.get(key)
    await this.#answer()
    return found
  }

  async #answer(): Promise<void> {
    await this.#released
    if (this.isDown) throw new Error('Postgres is down')
  }
}

/** A clock that stands until it is set, ids that count up, timers that ring on the way. */
export class World implements Environment {
  at = Date.UTC(2026, 0, 1)
  ids = 0
  timers: { at: number; ring: () => void }[] = []

  now = () => this.at
  micros = () => 0
  newId = () => {
    this.ids += 1
    return `input-${this.ids}`
  }
  wakeAt = (at: number, ring: () => void) => {
    const timer = { at, ring }
    this.timers.push(timer)
    return () => {
      this.timers = this.timers.filter((other) => other !== timer)
    }
  }

  set(to: number): void {
    for (;;) {
      const [next] = this.timers.filter(({ at }) => at <= to).sort((a, b) => a.at - b.at)
      if (next === undefined) break
      this.timers = this.timers.filter((other) => other !== next)
      this.at = Math.max(this.at, next.at)
      next.ring()
    }
    this.at = to
  }

  advance(ms: number): void {
    this.set(this.at + ms)
  }
}

/** Resolves when nothing more happens by itself. */
export async function quiet(): Promise<void> {
  for (let round = 0; round < 3; round++) await new Promise(setImmediate)
}

export interface Parts extends Wiring {
  readonly journal?: HandJournal
  readonly store?: Projection
  readonly world?: World
  readonly limits?: Partial<ShardLimits>
  readonly more?: readonly Command[]
  readonly types?: readonly ActorType[]
}

interface How {
  readonly who?: Principal
  readonly key?: string
  readonly fingerprint?: string
}

/** What became of an input: `outcome` once it is answered. */
export interface Sent<Reply> {
  outcome: Outcome<Reply> | undefined
  answers: number
}

/** A cache for a million actors takes long to make. */
const testLimits: ShardLimits = { ...defaultLimits, cachedActorsMax: 100 }

export type Rig = Awaited<ReturnType<typeof startBank>>

const vaultQuery = defineQuery({
  name: 'test.vault',
  actors: () => [],
  read: (scope, _: Record<string, never>) => ({
    moves: scope.exists(vault) ? scope.context(vault).moves : 0,
    outside: scope.balance(vault, 'outside'),
  }),
})

export async function startBank(parts: Parts = {}) {
  const {
    journal = new HandJournal(),
    store = new Projection(),
    world = new World(),
    limits,
    more,
    types,
    ...wiring
  } = parts
  const bank = createBank(more, types, wiring)
  const turns: string[] = []
  const refusals: string[] = []
  const faults: unknown[] = []
  const stops: Error[] = []
  const heard: TurnRecord[] = []
  const observer = {
    onTurn: (command: string) => void turns.push(command),
    onRefused: (_command: string, code: string) => void refusals.push(code),
    onFault: (error: unknown) => void faults.push(error),
    onStopped: (error: Error) => void stops.push(error),
  }
  const shard = new Shard(bank.program, journal, store, world, { ...testLimits, ...limits }, observer)
  journal.onDurable = (seq) => shard.durable(seq)
  shard.subscribe((record) => heard.push(record))
  for (const name of store.names) bank.names.add(name)
  await shard.recover(store.checkpoint())

  /** Submits and does nothing else: neither disk nor Postgres moves. */
  function send<Args, Reply>(command: Command<Args, Reply>, args: Args, how: How = {}): Sent<Reply> {
    const sent: Sent<Reply> = { outcome: undefined, answers: 0 }
    shard.submit(command, { args, who: system, ...how }, (outcome) => {
      sent.outcome = outcome
      sent.answers += 1
    })
    return sent
  }

  async function attempt<Args, Reply>(command: Command<Args, Reply>, args: Args, how: How = {}) {
    const sent = send(command, args, how)
    await quiet()
    journal.flush()
    await quiet()
    assert(sent.outcome !== undefined, `${command.name} was not answered`)
    return sent.outcome
  }

  async function run<Args, Reply>(command: Command<Args, Reply>, args: Args, how: How = {}): Promise<Reply> {
    const outcome = await attempt(command, args, how)
    if (!outcome.ok) throw outcome.error
    return outcome.reply
  }

  /** The code the command is refused with, or what else it failed with. */
  async function refusal<Args, Reply>(command: Command<Args, Reply>, args: Args, how: How = {}) {
    const outcome = await attempt(command, args, how)
    if (outcome.ok) return 'not refused'
    return outcome.error instanceof DomainError ? outcome.error.code : outcome.error.message
  }

  /** Postgres catches up with the disk, as far as `throughSeq`. */
  function apply(throughSeq = journal.durableSeq): void {
    while (store.appliedSeq < throughSeq) store.apply(journal.body(store.appliedSeq + 1))
    shard.applied(store.appliedSeq)
  }

  async function openAccount(name: string, cents = 0n): Promise<void> {
    await run(bank.open, { name })
    if (cents > 0n) await run(bank.payIn, { name, cents, receipt: `first of ${name}` })
  }

  async function statement(name: string) {
    journal.flush()
    const read = shard.query(bank.statement, { name })
    const [result] = await Promise.all([Promise.allSettled([read]), quiet().then(() => journal.flush())])
    return result[0].status === 'fulfilled' ? result[0].value : Promise.reject(result[0].reason)
  }

  /** Everything that can be told of the state without changing it. */
  async function portrait() {
    const names = [...bank.names].sort()
    const statements: Record<string, Awaited<ReturnType<typeof statement>>> = {}
    for (const name of names) statements[name] = await statement(name)
    const { alarms, outstanding_messages, last_seq, idempotency_entries } = shard.gauges()
    const counts = { alarms, outstanding_messages, last_seq, idempotency_entries }
    return { names, statements, vault: await shard.query(vaultQuery, {}), counts }
  }

  return {
    ...{ parts, bank, shard, journal, store, world, turns, refusals, faults, stops, heard },
    ...{ send, attempt, run, refusal, apply, openAccount, statement, portrait },
  }
}

/** The process dies; the next one finds what was flushed and what Postgres holds. */
export function restart({ parts, journal, store, world }: Rig, change: Parts = {}): Promise<Rig> {
  journal.onDurable = () => {}
  world.timers = []
  return startBank({ ...parts, journal: journal.afterCrash(), store, world, ...change })
}

/** Something that happens to a bank. */
export type Step =
  | { readonly do: 'open'; readonly name: string }
  | { readonly do: 'payIn'; readonly name: string; readonly cents: bigint; readonly receipt: string }
  | {
      readonly do: 'send'
      readonly from: string
      readonly to: string
      readonly cents: bigint
      readonly key: string | undefined
    }
  | { readonly do: 'wait'; readonly ms: number }

const name = fc.constantFrom('ann', 'bob', 'cyd', 'dot')
const money = fc.bigInt({ min: 1n, max: 100n })
const receipt = fc.nat({ max: 8 }).map((number) => `r${number}`)
const key = fc.option(fc.constantFrom('k1', 'k2', 'k3'), { nil: undefined })

/** Few names, receipts and keys, so that repeats, conflicts and overdrafts are common. */
export const anyStep: fc.Arbitrary<Step> = fc.oneof(
  { weight: 1, arbitrary: fc.record({ do: fc.constant('open' as const), name }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('payIn' as const), name, cents: money, receipt }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('send' as const), from: name, to: name, cents: money, key }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.nat({ max: 40_000 }) }) },
)

/** Lets it happen; the answer comes when the disk has it. `key` is the client's, if the step names none. */
export function perform({ bank, send, world }: Rig, step: Step, key?: string): Sent<unknown> | undefined {
  const keyed = (key: string | undefined) => (key === undefined ? {} : { key, fingerprint: Object.values(step).join() })
  switch (step.do) {
    case 'open':
      return send(bank.open, { name: step.name }, keyed(key))
    case 'payIn':
      return send(bank.payIn, { name: step.name, cents: step.cents, receipt: step.receipt })
    case 'send':
      return send(bank.send, { from: step.from, to: step.to, cents: step.cents }, keyed(key ?? step.key))
    case 'wait':
      world.advance(step.ms)
      return undefined
    default:
      return unreachable(step)
  }
}

/** How many bytes more are in use after `run` than before, garbage apart. */
export function bytesKeptBy(run: () => void): number {
  setFlagsFromString('--expose-gc')
  const collectGarbage = runInNewContext('gc') as () => void
  collectGarbage()
  const before = process.memoryUsage().heapUsed
  run()
  collectGarbage()
  return process.memoryUsage().heapUsed - before
}

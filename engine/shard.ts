/**
 * The shard: one total order of turns over a set of actors, their journal and their gate.
 *
 * T1 a turn is synchronous and all-or-nothing; J1 outputs wait for their record; J3 recovery applies images and runs no
 * business code; J4 a failed journal stops the shard; G2 refusals and reads wait for what they saw; P2 past the
 * write-behind lag limit new inputs are refused until Postgres has caught up.
 */
import { alarmId } from './alarms.js'
import { assert } from './assert.js'
import {
  anonymous,
  type Command,
  type Principal,
  type Program,
  type Query,
  Refusal,
  type Role,
  system,
} from './command.js'
import { DomainError } from './errors.js'
import { Gate } from './gate.js'
import type { Journal } from './journal.js'
import { defaultLimits, type ShardLimits } from './limits.js'
import { Loader } from './loader.js'
import {
  keyConflict,
  makeRecord,
  mayCall,
  type Outcome,
  type Pending,
  type Request,
  revive,
  storageUnavailable,
} from './outcome.js'
import { type Input, type Message, packRecord, type StoredOutcome, type TurnRecord, unpackRecord } from './record.js'
import { ShardState } from './shard-state.js'
import type { Checkpoint, Environment, Store } from './store.js'
import { Turn } from './turn.js'

const REDELIVERY_MS = 1_000

export interface ShardObserver {
  /** The turn alone: from having the actors in memory to the record handed to the journal. */
  onTurn?(command: string, micros: number): void
  onRefused?(command: string, code: string): void
  /** A turn threw something that is not a DomainError; it left no trace. */
  onFault?(error: unknown, command: string): void
  onStopped?(error: Error): void
}

export class Shard {
  readonly #commands = new Map<string, Command>()
  readonly #state: ShardState
  readonly #loader: Loader
  readonly #gate: Gate
  readonly #listeners: ((record: TurnRecord) => void)[] = []
  #lifecycle: 'new' | 'running' | 'draining' | 'stopped' = 'new'
  #loadingInputs = 0
  #inTurn = false
  #told: Message[] = []
  #delivering = false
  #cancelAlarm = () => {}
  #onLoadsDone = () => {}

  constructor(
    readonly program: Program,
    readonly journal: Journal,
    store: Store,
    readonly environment: Environment,
    readonly limits: ShardLimits = defaultLimits,
    readonly observer: ShardObserver = {},
  ) {
    for (const command of program.commands) {
      assert(!this.#commands.has(command.name), `command ${command.name} is declared twice`)
      this.#commands.set(command.name, command)
    }
    this.#state = new ShardState(program, limits)
    this.#loader = new Loader(store, this.#state.residents, () => this.#state.appliedSeq)
    this.store = store
    this.#gate = new Gate(journal.durableSeq)
  }

  private readonly store: Store

  get lifecycle() {
    return this.#lifecycle
  }

  get lastSeq(): number {
    return this.#state.seq
  }

  get appliedSeq(): number {
    return this.#state.appliedSeq
  }

  /** Restores the checkpoint, applies the journal after it (J3), then starts admitting. */
  async recover(checkpoint: Checkpoint): Promise<{ records: number }> {
    assert(this.#lifecycle === 'new', 'a shard recovers once')
    this.#state.restore(checkpoint)
    for await (const { body } of this.journal.read(checkpoint.appliedSeq + 1)) this.#state.apply(unpackRecord(body))
    const { seq } = this.#state
    assert(seq === this.journal.lastSeq, `the journal was read to ${seq}, but it ends at ${this.journal.lastSeq}`)
    this.#lifecycle = 'running'
    this.#told.push(...this.#state.messages.values())
    this.#deliverTold()
    this.#scheduleAlarm()
    return { records: seq - checkpoint.appliedSeq }
  }

  /**
   * Admits one command. `done` is called once, after the outcome is durable (J1), possibly before this returns.
   * Errors: DomainErrors of the command, `unavailable` ones of the shard itself, anything else is a fault.
   */
  submit<Args, Reply>(command: Command<Args, Reply>, request: Request<Args>, done: (outcome: Outcome<Reply>) => void) {
    const { args, who = anonymous } = request
    const refusal = this.#refuseAdmission(command as Command, who.role)
    if (refusal !== undefined) {
      done({ ok: false, error: refusal })
      return
    }
    const natural = command.naturalKey?.(args)
    const client = request.key === undefined ? undefined : `${who.userId}:${request.key}`
    this.#admit({
      command: command as Command,
      args: args as never,
      who,
      refs: command.actors(args, who),
      key: natural === undefined ? client : `${command.name}!${natural}`,
      fingerprint: request.fingerprint ?? '',
      consumes: null,
      done: done as (outcome: Outcome<never>) => void,
    })
  }

  /** {@link submit} as a promise that rejects with the error. */
  execute<Args, Reply>(command: Command<Args, Reply>, request: Request<Args>): Promise<Reply> {
    return new Promise((resolve, reject) => {
      this.submit(command, request, (outcome) => (outcome.ok ? resolve(outcome.reply) : reject(outcome.error)))
    })
  }

  /** Reads actors in memory; the result is given out once all it may have seen is durable (G2). */
  async query<Args, Result>(query: Query<Args, Result>, args: Args): Promise<Result> {
    const refs = query.actors(args)
    if (this.#loader.missing(refs).length > 0) {
      await this.#loader.load(refs).catch((error: unknown) => {
        this.observer.onFault?.(error, query.name)
        throw storageUnavailable()
      })
    }
    const input = this.#input(query.name, args, system)
    const result = query.read(new Turn(this.#state.seq, input, refs, this.#state.residents), args)
    await this.settled()
    return result
  }

  /** Resolves once everything decided so far is durable, for readers of tables and views (G2). */
  settled(): Promise<void> {
    return new Promise((resolve) => this.#gate.hold(this.#state.seq, resolve))
  }

  /** Gives every record to `listener` once it is durable, in order (G1). */
  subscribe(listener: (record: TurnRecord) => void): void {
    this.#listeners.push(listener)
  }

  /** The journal is durable up to `seq`. */
  durable(seq: number): void {
    this.#gate.open(seq)
  }

  /** Postgres holds everything up to `seq`. */
  applied(seq: number): void {
    this.#state.applied(seq)
  }

  /** Stops at once: held outputs are dropped (G3, J4). */
  stop(error: Error): void {
    if (this.#lifecycle === 'stopped') return
    this.#lifecycle = 'stopped'
    this.#gate.close()
    this.#cancelAlarm()
    this.observer.onStopped?.(error)
  }

  /** Stops admitting, finishes what was admitted, flushes and closes the journal. */
  async drain(): Promise<void> {
    if (this.#lifecycle !== 'running') return
    this.#lifecycle = 'draining'
    this.#cancelAlarm()
    if (this.#loadingInputs > 0) {
      await new Promise<void>((resolve) => {
        this.#onLoadsDone = resolve
      })
    }
    await this.settled()
    await this.journal.close()
    this.#lifecycle = 'stopped'
  }

  gauges(): Record<string, number> {
    return {
      ...this.#state.gauges(),
      loading_inputs: this.#loadingInputs,
      loading_inputs_max: this.limits.loadingInputsMax,
      held_outputs: this.#gate.held,
      durable_seq: this.#gate.durableSeq,
    }
  }

  #refuseAdmission(command: Command, role: Role): DomainError | undefined {
    if (this.#lifecycle !== 'running') {
      return new DomainError('unavailable', 'not_running', 'The server is starting or stopping.', {
        retryAfterMs: 2_000,
      })
    }
    assert(this.#commands.get(command.name) === command, `command ${command.name} is not of ${this.program.name}`)
    if (!mayCall(command.who, role)) {
      const kind = role === 'public' ? 'unauthorized' : 'forbidden'
      return new DomainError(kind, kind, `This needs the role ${command.who}.`)
    }
    if (this.#state.lagRecords > this.limits.lagRecordsMax) {
      return new DomainError('unavailable', 'write_behind_lag', 'The database is too far behind.', {
        retryAfterMs: 5_000,
      })
    }
    if (this.#loadingInputs >= this.limits.loadingInputsMax) {
      return new DomainError('unavailable', 'overloaded', 'Too many requests wait for data.', { retryAfterMs: 1_000 })
    }
    return undefined
  }

  #admit(pending: Pending): void {
    if (pending.key !== undefined) {
      const forever = pending.command.naturalKey !== undefined
      if (this.#state.idempotency.find(pending.key, forever, this.environment.now()) === 'unknown') {
        this.#whileLoading(pending, this.#runUnlessStored(pending, pending.key))
        return
      }
    }
    if (this.#loader.missing(pending.refs).length === 0) this.#run(pending)
    else
      this.#whileLoading(
        pending,
        this.#loader.load(pending.refs).then(() => this.#run(pending)),
      )
  }

  /** For keys that memory may have forgotten: only Postgres can tell. */
  async #runUnlessStored(pending: Pending, key: string): Promise<void> {
    const [stored] = await Promise.all([this.store.loadOutcome(key), this.#loader.load(pending.refs)])
    if (stored === undefined) this.#run(pending)
    else this.#answerRepeat(pending, stored.fingerprint, stored.outcome)
  }

  #whileLoading(pending: Pending, work: Promise<void>): void {
    this.#loadingInputs += 1
    work
      .catch((error: unknown) => {
        this.observer.onFault?.(error, pending.command.name)
        this.#redeliverOrRefuse(pending, storageUnavailable())
      })
      .finally(() => {
        this.#loadingInputs -= 1
        if (this.#loadingInputs === 0) this.#onLoadsDone()
      })
  }

  #answerRepeat(pending: Pending, fingerprint: string, stored: StoredOutcome): void {
    const outcome = fingerprint === pending.fingerprint ? revive(stored) : { ok: false as const, error: keyConflict() }
    this.#gate.hold(this.#state.seq, () => pending.done(outcome as Outcome<never>))
  }

  #input(command: string, args: unknown, who: Principal): Input {
    const at = Math.max(this.#state.lastAt, this.environment.now())
    return { id: this.environment.newId(), at, command, args, who }
  }

  #run(pending: Pending): void {
    if (this.#lifecycle === 'stopped') return
    if (pending.consumes !== null && !this.#state.isPending(pending.consumes)) return
    const input = this.#input(pending.command.name, pending.args, pending.who)
    if (pending.key !== undefined) {
      const entry = this.#state.idempotency.find(pending.key, pending.command.naturalKey !== undefined, input.at)
      if (typeof entry === 'object') {
        if (entry.outcome !== undefined) this.#answerRepeat(pending, entry.fingerprint, entry.outcome)
        else this.#whileLoading(pending, this.#runUnlessStored(pending, pending.key))
        return
      }
    }
    const startedAt = this.environment.micros()
    const turn = new Turn(this.#state.seq + 1, input, pending.refs, this.#state.residents)
    this.#finish(pending, turn, this.#handle(pending, turn))
    this.observer.onTurn?.(pending.command.name, this.environment.micros() - startedAt)
    this.#deliverTold()
  }

  #handle(pending: Pending, turn: Turn): Outcome<unknown> {
    assert(!this.#inTurn, 'turns do not nest (T1)')
    this.#inTurn = true
    try {
      const result = pending.command.handle(turn, pending.args)
      return result instanceof Refusal ? { ok: false, error: result.error } : { ok: true, reply: result }
    } catch (error) {
      turn.discard()
      return { ok: false, error: error instanceof Error ? error : new Error(String(error)) }
    } finally {
      this.#inTurn = false
    }
  }

  /** Journals and commits the turn, and holds its outcome until that is durable. */
  #finish(pending: Pending, turn: Turn, outcome: Outcome<unknown>): void {
    if (!outcome.ok) this.#note(pending, outcome.error)
    // A message or alarm is consumed even when it was refused, or it would come for ever.
    if (turn.changesNothing && pending.consumes === null) {
      this.#gate.hold(this.#state.seq, () => pending.done(outcome as Outcome<never>))
      return
    }
    const record = this.#commit(pending, turn, outcome)
    if (record === null) return
    if (record.messages.length > 0) this.#told.push(...record.messages)
    if (record.alarms.length > 0) this.#scheduleAlarm()
    this.#gate.hold(record.seq, () => {
      pending.done(outcome as Outcome<never>)
      for (const listener of this.#listeners) listener(record)
    })
  }

  /** Journals and installs the turn. Null when the journal takes no more: then nothing has changed. */
  #commit(pending: Pending, turn: Turn, outcome: Outcome<unknown>): TurnRecord | null {
    try {
      const record = makeRecord(pending, turn, outcome)
      this.journal.append(record.seq, packRecord(record))
      this.#state.commit(turn, record)
      return record
    } catch (error) {
      if (error instanceof DomainError && this.journal.lastSeq === this.#state.seq) {
        this.#redeliverOrRefuse(pending, error)
        return null
      }
      // Nothing may fail half-way: the shard stops rather than go on from a state it cannot trust (T1, J4).
      this.stop(error instanceof Error ? error : new Error(String(error)))
      return null
    }
  }

  /** A message or alarm is never lost: it comes again a little later. */
  #redeliverOrRefuse(pending: Pending, error: DomainError): void {
    if (pending.consumes === null) this.#gate.hold(this.#state.seq, () => pending.done({ ok: false, error }))
    else this.environment.wakeAt(this.environment.now() + REDELIVERY_MS, () => this.#admit(pending))
  }

  #note(pending: Pending, error: Error): void {
    if (error instanceof DomainError) this.observer.onRefused?.(pending.command.name, error.code)
    else this.observer.onFault?.(error, pending.command.name)
  }

  /** Messages told by a turn run right after it, before anything else from outside. */
  #deliverTold(): void {
    if (this.#delivering) return
    this.#delivering = true
    for (let message = this.#told.shift(); message !== undefined; message = this.#told.shift()) {
      this.#admitInternal(message.command, message.args, message.id)
    }
    this.#delivering = false
  }

  #admitInternal(name: string, args: unknown, consumes: string): void {
    const command = this.#commands.get(name)
    assert(command !== undefined, `there is no command ${name}`)
    this.#admit({
      command,
      args: args as never,
      who: system,
      refs: command.actors(args as never, system),
      key: undefined,
      fingerprint: '',
      consumes,
      done: () => {},
    })
  }

  #scheduleAlarm(): void {
    this.#cancelAlarm()
    const at = this.#state.alarms.nextAt()
    if (at === undefined || this.#lifecycle !== 'running') return
    this.#cancelAlarm = this.environment.wakeAt(at, () => {
      for (const alarm of this.#state.alarms.takeDue(this.environment.now())) {
        this.#admitInternal(alarm.command, alarm.args, alarmId(alarm))
      }
      this.#scheduleAlarm()
    })
  }
}

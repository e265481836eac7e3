/**
 * The shard: one total order of turns over a set of actors, their journal and their gate.
 *
 * T1 a turn is synchronous and all-or-nothing; J1 outputs wait for their record; J3 recovery applies images and runs no
 * business code; J4 a failed journal stops the shard; G2 refusals and reads wait for what they saw; P2 past the
 * write-behind lag limit new inputs are refused until Postgres has caught up.
 */
import { Admission } from './admission.js'
import { assert } from './assert.js'
import {
  anonymous,
  type Command,
  Commands,
  type Principal,
  type Program,
  type Query,
  Refusal,
  type Role,
  system,
} from './command.js'
import { DomainError } from './errors.js'
import { Gate } from './gate.js'
import { Inbox } from './inbox.js'
import type { Journal } from './journal.js'
import { defaultLimits, HELD_OUTPUTS_MAX, type ShardLimits } from './limits.js'
import { Loader } from './loader.js'
import {
  asError,
  keyConflict,
  makeRecord,
  notRunning,
  type Outcome,
  overloaded,
  type Pending,
  type Request,
  revive,
  roleRefusal,
  storageUnavailable,
  tooFarBehind,
} from './outcome.js'
import { type Input, type Message, packRecord, type StoredOutcome, type TurnRecord } from './record.js'
import { ShardState } from './shard-state.js'
import type { Checkpoint, Environment, Store } from './store.js'
import { Turn } from './turn.js'

export interface ShardObserver {
  /** The turn alone: from having the actors in memory to the record handed to the journal. */
  onTurn?(command: string, micros: number): void
  onRefused?(command: string, code: string): void
  /** A turn threw something that is not a DomainError and left no trace, or a reader of outputs threw. */
  onFault?(error: unknown, command: string): void
  onStopped?(error: Error): void
}

export class Shard {
  /** Closed for a while, it lets messages go on, which finish what was accepted; alarms wait. */
  readonly admission = new Admission((isOpen) => this.#inbox.holdAlarms(!isOpen))
  readonly #commands: Commands
  readonly #state: ShardState
  readonly #loader: Loader
  readonly #gate: Gate
  readonly #inbox: Inbox
  readonly #listeners: ((record: TurnRecord) => void)[] = []
  #lifecycle: 'new' | 'running' | 'draining' | 'stopped' = 'new'
  #inTurn = false

  constructor(
    readonly program: Program,
    readonly journal: Journal,
    private readonly store: Store,
    readonly environment: Environment,
    readonly limits: ShardLimits = defaultLimits,
    readonly observer: ShardObserver = {},
  ) {
    this.#commands = new Commands(program)
    this.#state = new ShardState(program, limits)
    this.#loader = new Loader(store, this.#state.residents, () => this.#state.appliedSeq)
    this.#gate = new Gate(journal.durableSeq)
    this.#inbox = new Inbox(this.#state, environment, (message) => this.#take(message))
  }

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
    await this.#state.recover(this.journal.read(checkpoint.appliedSeq + 1))
    const { seq } = this.#state
    assert(seq === this.journal.lastSeq, `the journal was read to ${seq}, but it ends at ${this.journal.lastSeq}`)
    assert(this.#lifecycle === 'new', 'the shard was stopped while it recovered')
    this.#lifecycle = 'running'
    this.#inbox.start()
    return { records: seq - checkpoint.appliedSeq }
  }

  /**
   * Admits one command. `done` is called once, after the outcome is durable (J1), possibly before this returns.
   * Errors: DomainErrors of the command, `unavailable` ones of the shard itself, anything else is a fault.
   */
  submit<Args, Reply>(command: Command<Args, Reply>, request: Request<Args>, done: (outcome: Outcome<Reply>) => void) {
    const { args, who = anonymous } = request
    const refusal = this.#refusalOf(command as Command, who.role)
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
      fingerprint: `${command.name}:${request.fingerprint ?? ''}`,
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

  /** Reads actors in memory; the result, or what `read` throws, is given out once all it may have seen is durable (G2). */
  async query<Args, Result>(query: Query<Args, Result>, args: Args): Promise<Result> {
    if (this.#lifecycle === 'new' || this.#lifecycle === 'stopped') throw notRunning()
    if (this.#isOverloaded) throw overloaded()
    const refs = query.actors(args)
    const loaded = this.#loader.begin(refs)
    try {
      if (this.#loader.missing(refs).length > 0) {
        await this.#loader.load(refs).catch((error: unknown) => {
          this.observer.onFault?.(error, query.name)
          throw storageUnavailable()
        })
      }
      const input = this.#input(query.name, args, system)
      return query.read(new Turn(this.#state.seq, input, refs, this.#state.residents), args)
    } finally {
      loaded()
      await this.settled()
    }
  }

  /** Resolves once everything decided so far is durable, for readers of tables and views (G2); rejects if it stops. */
  settled(): Promise<void> {
    return this.#gate.passed(this.#state.seq)
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
    this.#gate.close(notRunning())
    this.#inbox.stop()
    this.observer.onStopped?.(error)
  }

  /** Stops admitting, finishes what was admitted, flushes and closes the journal. */
  async drain(): Promise<void> {
    if (this.#lifecycle !== 'running') return
    this.#lifecycle = 'draining'
    this.#inbox.stop()
    await this.#loader.idle()
    await this.settled().catch(() => {})
    // Stopped meanwhile: nothing is left to finish.
    if (this.#lifecycle !== 'draining') return
    await this.journal.close()
    this.#lifecycle = 'stopped'
  }

  gauges(): Record<string, number> {
    return {
      ...this.#state.gauges(),
      loading_inputs: this.#loader.waiting,
      loading_inputs_max: this.limits.loadingInputsMax,
      held_outputs: this.#gate.held,
      held_outputs_max: HELD_OUTPUTS_MAX,
      postponed_messages: this.#inbox.postponed,
      durable_seq: this.#gate.durableSeq,
    }
  }

  get #isOverloaded(): boolean {
    return this.#loader.waiting >= this.limits.loadingInputsMax || this.#gate.held >= HELD_OUTPUTS_MAX
  }

  #refusalOf(command: Command, role: Role): DomainError | undefined {
    if (this.#lifecycle !== 'running') return notRunning()
    assert(this.#commands.named(command.name) === command, `command ${command.name} is not of ${this.program.name}`)
    const refusal = roleRefusal(command.who, role) ?? this.admission.refusal
    if (refusal !== undefined) return refusal
    if (this.#state.lagRecords > this.limits.lagRecordsMax) return tooFarBehind()
    return this.#isOverloaded ? overloaded() : undefined
  }

  #admit(pending: Pending): void {
    if (this.#lifecycle === 'stopped') return
    const { key } = pending
    const forever = pending.command.naturalKey !== undefined
    if (key !== undefined && this.#state.idempotency.find(key, forever, this.#now) === 'unknown') {
      this.#load(pending, key)
    } else if (this.#loader.missing(pending.refs).length > 0) this.#load(pending)
    else this.#run(pending)
  }

  /** Brings what the turn needs into memory, then runs it. A key that memory may have forgotten only Postgres knows. */
  #load(pending: Pending, key?: string): void {
    const asOfSeq = key === undefined ? -1 : this.#state.appliedSeq
    const loaded = this.#loader.begin(pending.refs)
    Promise.all([key === undefined ? undefined : this.store.loadOutcome(key), this.#loader.load(pending.refs)])
      .then(
        ([stored]) => {
          if (stored === undefined) this.#run(pending, asOfSeq)
          else this.#answerRepeat(pending, stored.fingerprint, stored.outcome)
        },
        (error: unknown) => this.#refuseUnread(pending, error),
      )
      .catch((error: unknown) => this.stop(asError(error)))
      .finally(loaded)
  }

  #refuseUnread(pending: Pending, error: unknown): void {
    this.observer.onFault?.(error, pending.command.name)
    this.#redeliverOrRefuse(pending, storageUnavailable())
  }

  #answerRepeat(pending: Pending, fingerprint: string, stored: StoredOutcome): void {
    const outcome = fingerprint === pending.fingerprint ? revive(stored) : { ok: false as const, error: keyConflict() }
    this.#gate.hold(this.#state.seq, () => this.#answer(pending, outcome))
  }

  #answer(pending: Pending, outcome: Outcome<unknown>): void {
    this.#guarded(pending.command.name, () => pending.done(outcome as Outcome<never>))
  }

  /** What reads outputs may fail without keeping the others from theirs (G1). */
  #guarded(command: string, give: () => void): void {
    try {
      give()
    } catch (error) {
      this.observer.onFault?.(error, command)
    }
  }

  /** Time never goes back, whatever the clock does. */
  get #now(): number {
    return Math.max(this.#state.lastAt, this.environment.now())
  }

  #input(command: string, args: unknown, who: Principal, notBefore = 0): Input {
    return { id: this.environment.newId(), at: Math.max(this.#now, notBefore), command, args, who }
  }

  /** `storedAsOfSeq`: Postgres, when it held all up to there, did not know the key; -1 when it was not asked. */
  #run(pending: Pending, storedAsOfSeq = -1): void {
    if (this.#lifecycle === 'stopped') return
    if (pending.consumes !== null && !this.#state.isPending(pending.consumes)) return
    if (pending.key !== undefined && this.#isRepeat(pending, pending.key, storedAsOfSeq)) return
    // The clock may have gone back while the actors of a due alarm were loaded.
    const dueAt = pending.consumes === null ? undefined : this.#state.alarms.deadlineOf(pending.consumes)
    const input = this.#input(pending.command.name, pending.args, pending.who, dueAt)
    const startedAt = this.environment.micros()
    const turn = new Turn(this.#state.seq + 1, input, pending.refs, this.#state.residents)
    this.#finish(pending, turn, this.#handle(pending, turn))
    this.observer.onTurn?.(pending.command.name, this.environment.micros() - startedAt)
    this.#inbox.deliver()
  }

  /** Whether the key was seen before, or may have been; then the answer is under way. */
  #isRepeat(pending: Pending, key: string, storedAsOfSeq: number): boolean {
    const { idempotency } = this.#state
    const entry = idempotency.find(key, pending.command.naturalKey !== undefined, this.#now)
    if (entry === 'absent') return false
    if (entry === 'unknown') {
      if (idempotency.forgottenSeq <= storedAsOfSeq) return false
      this.#load(pending, key)
    } else if (entry.stored !== undefined) this.#answerRepeat(pending, entry.fingerprint, entry.stored.outcome)
    else if (entry.seq > storedAsOfSeq) this.#load(pending, key)
    else this.#refuseUnread(pending, new Error(`the outcome of ${key}, record ${entry.seq}, is not stored`))
    return true
  }

  #handle(pending: Pending, turn: Turn): Outcome<unknown> {
    assert(!this.#inTurn, 'turns do not nest (T1)')
    this.#inTurn = true
    try {
      const result = this.#commands.handle(pending.command, turn, pending.args)
      this.#state.assertRecoverable(turn)
      this.#commands.assertDeliverable(turn)
      return result instanceof Refusal ? { ok: false, error: result.error } : { ok: true, reply: result }
    } catch (error) {
      turn.discard()
      return { ok: false, error: asError(error) }
    } finally {
      this.#inTurn = false
    }
  }

  /** Journals and commits the turn, and holds its outcome until that is durable. */
  #finish(pending: Pending, turn: Turn, outcome: Outcome<unknown>): void {
    if (!outcome.ok) this.#note(pending, outcome.error)
    // A message or alarm is consumed even when it was refused, or it would come for ever.
    if (turn.changesNothing && pending.consumes === null) {
      this.#gate.hold(this.#state.seq, () => this.#answer(pending, outcome))
      return
    }
    let record: TurnRecord
    let bytes: Uint8Array
    try {
      record = makeRecord(pending, turn, outcome)
      bytes = packRecord(record)
    } catch (error) {
      // What cannot be written down has not happened (T1).
      turn.discard()
      this.#finish(pending, turn, { ok: false, error: asError(error) })
      return
    }
    if (!this.#commit(pending, turn, record, bytes)) return
    this.#inbox.follow(record)
    this.#gate.hold(record.seq, () => {
      this.#answer(pending, outcome)
      for (const listener of this.#listeners) this.#guarded(pending.command.name, () => listener(record))
    })
  }

  /** Journals and installs the turn. False when the journal takes no more: then nothing has changed. */
  #commit(pending: Pending, turn: Turn, record: TurnRecord, bytes: Uint8Array): boolean {
    try {
      this.journal.append(record.seq, bytes)
      this.#state.commit(turn, record)
      return true
    } catch (error) {
      if (error instanceof DomainError && this.journal.lastSeq === this.#state.seq) {
        this.#redeliverOrRefuse(pending, error)
      } else {
        // Nothing may fail half-way: the shard stops rather than go on from a state it cannot trust (T1, J4).
        this.stop(asError(error))
      }
      return false
    }
  }

  /** A message or alarm is never lost: it comes again. */
  #redeliverOrRefuse(pending: Pending, error: DomainError): void {
    const { command, args, consumes } = pending
    if (consumes !== null) this.#inbox.postpone({ id: consumes, command: command.name, args })
    else this.#gate.hold(this.#state.seq, () => this.#answer(pending, { ok: false, error }))
  }

  #note(pending: Pending, error: Error): void {
    if (error instanceof DomainError) this.observer.onRefused?.(pending.command.name, error.code)
    else this.observer.onFault?.(error, pending.command.name)
  }

  #take({ id, command: name, args }: Message): void {
    const command = this.#commands.named(name)
    this.#admit({
      command,
      args: args as never,
      who: system,
      refs: command.actors(args as never, system),
      key: undefined,
      fingerprint: '',
      consumes: id,
      done: () => {},
    })
  }
}

/**
 * One turn: the synchronous processing of one input over staged copies of what it touches.
 *
 * T1 nothing is changed until the shard commits the turn, so a throw leaves no trace; T2 time and ids come from the
 * input; T3 only actors the command named and pinned actors may be touched; L2 and L3 hold for every posting.
 */
import { createHash } from 'node:crypto'
import type { AnyStateMachine, ContextFrom, EventFromLogic, InputFrom, StateValue } from 'xstate'
import { type ActorId, type ActorRef, type ActorState, contextOf, initialState, stepState } from './actor.js'
import { AssertionError, assert } from './assert.js'
import type { Command, Principal } from './command.js'
import type { Fact } from './fact.js'
import { accountRule, balanceAfter, makePosting, type Posting, type PostingLine } from './ledger.js'
import type { AlarmChange, Input, Message } from './record.js'
import type { Residents } from './residents.js'
import type { AnyTable, Table } from './table.js'

/** Read access to actors in memory. */
export interface ReadScope {
  readonly at: number
  exists(ref: ActorRef): boolean
  context<Machine extends AnyStateMachine>(ref: ActorRef<Machine>): Readonly<ContextFrom<Machine>>
  value(ref: ActorRef): StateValue
  balance(ref: ActorRef, account: string): bigint
}

export interface StagedActor {
  readonly ref: ActorRef
  state: ActorState
}

export class Turn implements ReadScope {
  readonly facts: Fact[] = []
  readonly postings: Posting[] = []
  readonly deltas: { table: AnyTable; delta: unknown }[] = []
  readonly alarms: AlarmChange[] = []
  readonly messages: Message[] = []
  readonly staged: StagedActor[] = []
  /** As they were before the turn; what it stages comes before them. */
  readonly #read: StagedActor[] = []
  #ids = 0

  constructor(
    readonly seq: number,
    readonly input: Input,
    readonly named: readonly ActorRef[],
    readonly residents: Residents,
  ) {}

  get at(): number {
    return this.input.at
  }

  get who(): Principal {
    return this.input.who
  }

  exists(ref: ActorRef): boolean {
    return this.#find(ref) !== undefined
  }

  context<Machine extends AnyStateMachine>(ref: ActorRef<Machine>): Readonly<ContextFrom<Machine>> {
    return contextOf(ref.of, this.#state(ref))
  }

  value(ref: ActorRef): StateValue {
    return this.#state(ref).value
  }

  balance(ref: ActorRef, account: string): bigint {
    accountRule(ref, account)
    return this.#find(ref)?.accounts[account] ?? 0n
  }

  /** Brings a cached actor into being. */
  create<Machine extends AnyStateMachine>(ref: ActorRef<Machine>, input: InputFrom<Machine>): void {
    assert(!this.exists(ref), `${ref.id} exists already`)
    this.#stage(ref, initialState(ref.of, input, this.facts))
  }

  /** Steps an actor; facts its machine emits become facts of the turn. False when its state does not take the event. */
  step<Machine extends AnyStateMachine>(ref: ActorRef<Machine>, event: EventFromLogic<Machine>): boolean {
    const before = this.#state(ref)
    const after = stepState(ref.of, before, event, this.facts)
    if (after === before) return false
    this.#stage(ref, after)
    return true
  }

  emit(fact: Fact): void {
    this.facts.push(fact)
  }

  /** Moves money, all lines or none. Throws `insufficient_funds` when an account that may not go negative would (L3). */
  post(kind: string, reference: string, lines: readonly PostingLine[]): void {
    const posting = makePosting(kind, reference, lines)
    const after = new Map<ActorId, StagedActor>()
    for (const { account, name, amount } of lines) {
      const { state } = after.get(account.id) ?? { state: this.#state(account) }
      const balance = balanceAfter(account, name, state.accounts[name] ?? 0n, amount)
      after.set(account.id, { ref: account, state: { ...state, accounts: { ...state.accounts, [name]: balance } } })
    }
    for (const { ref, state } of after.values()) this.#stage(ref, state)
    this.postings.push(posting)
  }

  /** Changes a table when the turn commits. The caller has checked that the delta applies. */
  change<Delta>(table: Table<Delta>, delta: Delta): void {
    this.deltas.push({ table: table as AnyTable, delta })
  }

  /** Tells another actor: the command becomes a turn of its own, exactly once. */
  tell<Args>(command: Command<Args>, args: Args): void {
    this.messages.push({ id: `${this.seq}.${this.messages.length}`, command: command.name, args })
  }

  /** Sets the alarm of that actor and name; an earlier one of the same name is void. */
  setAlarm<Args>(ref: ActorRef, name: string, at: number, command: Command<Args>, args: Args): void {
    assert(Number.isSafeInteger(at), `the deadline of ${ref.id}#${name} is ${at}, not a whole millisecond`)
    this.alarms.push({ actor: ref.id, name, at, command: command.name, args })
  }

  clearAlarm(ref: ActorRef, name: string): void {
    this.alarms.push({ actor: ref.id, name, at: null })
  }

  /** A UUID that depends only on the input (T5). */
  newId(): string {
    this.#ids += 1
    const hex = createHash('sha256').update(`${this.input.id}:${this.#ids}`).digest('hex')
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`
  }

  /** Forgets everything: the turn leaves no trace (T1). */
  discard(): void {
    for (const staged of [this.facts, this.postings, this.deltas, this.alarms, this.messages, this.staged]) {
      staged.length = 0
    }
  }

  get changesNothing(): boolean {
    return (
      this.staged.length === 0 &&
      this.facts.length === 0 &&
      this.deltas.length === 0 &&
      this.alarms.length === 0 &&
      this.messages.length === 0
    )
  }

  #find(ref: ActorRef): ActorState | undefined {
    for (const { ref: staged, state } of this.staged) if (staged.id === ref.id) return state
    for (const { ref: read, state } of this.#read) if (read.id === ref.id) return state
    if (ref.of.residency !== 'pinned' && !this.#isNamed(ref.id)) {
      throw new AssertionError(`${ref.id} was not named by the command (T3)`)
    }
    const state = this.residents.state(ref.id, ref.of.residency)
    if (state !== undefined) this.#read.push({ ref, state })
    return state
  }

  #isNamed(id: ActorId): boolean {
    for (const ref of this.named) if (ref.id === id) return true
    return false
  }

  #state(ref: ActorRef): ActorState {
    const state = this.#find(ref)
    if (state !== undefined) return state
    assert(ref.of.residency === 'pinned', `${ref.id} does not exist`)
    // A pinned actor has always been there: it comes into being with its first use.
    return this.#stage(ref, initialState(ref.of, { key: ref.key } as never, this.facts))
  }

  #stage(ref: ActorRef, state: ActorState): ActorState {
    for (const entry of this.staged) {
      if (entry.ref.id === ref.id) {
        entry.state = state
        return state
      }
    }
    this.staged.push({ ref, state })
    return state
  }
}

/**
 * Actors: one XState machine and a small context each, stepped purely.
 *
 * T2 a step reads only (state, event); T4 no interpreter, timers, invocations or spawned actors: a machine is
 * only ever stepped through `machine.transition`, and what it `emit`s are facts.
 */
import type {
  AnyMachineSnapshot,
  AnyStateMachine,
  AnyStateNode,
  ContextFrom,
  EventFromLogic,
  InputFrom,
  StateValue,
} from 'xstate'
import { AssertionError, assert } from './assert.js'
import { type Decide, type Decision, decisionOf } from './decide.js'
import type { Fact } from './fact.js'

/** `type/key`, for example `user/42`. */
export type ActorId = string & { readonly __brand: 'ActorId' }

/** What the ledger must know of an account: its currency and whether it may go below zero (L3). */
export interface AccountRule {
  readonly currency: string
  readonly mayGoNegative: boolean
}

/** The part of a snapshot that is kept, journaled and restored. */
export interface ActorState {
  readonly value: StateValue
  readonly context: unknown
  /** Ledger balances the actor owns, in minor units, by account name. */
  readonly accounts: Readonly<Record<string, bigint>>
}

export interface ActorType<Machine extends AnyStateMachine = AnyStateMachine> {
  readonly type: string
  readonly machine: Machine
  /** `pinned` is always in memory; `cached` is loaded when a command names it. */
  readonly residency: 'pinned' | 'cached'
  readonly accounts: Readonly<Record<string, AccountRule>>
  /** No guards and no eventless transitions. */
  readonly isUnconditional: boolean
  /** Nothing is done on entering its first state. */
  readonly startsPlainly: boolean
  /** What XState was asked once: the first state; templates by state value; shortcuts by state value and event. */
  readonly first: { value?: StateValue }
  readonly templates: Map<string, AnyMachineSnapshot>
  readonly shortcuts: Map<string, Map<string, Shortcut>>
  ref(key: string): ActorRef<Machine>
  /** Names an actor that cannot exist yet (its key was just drawn at random), so that nothing is looked up for it. */
  newRef(key: string): ActorRef<Machine>
}

/** Names one actor of a known type. */
export interface ActorRef<Machine extends AnyStateMachine = AnyStateMachine> {
  readonly id: ActorId
  readonly key: string
  readonly of: ActorType<Machine>
  readonly isNew: boolean
}

/** Declares an actor type. The machine must be free of clocks, randomness, I/O and history states. */
export function defineActor<Machine extends AnyStateMachine>(definition: {
  type: string
  machine: Machine
  residency: 'pinned' | 'cached'
  accounts?: Readonly<Record<string, AccountRule>>
}): ActorType<Machine> {
  const { type, machine, residency, accounts = {} } = definition
  assert(/^[a-z][a-z-]*$/.test(type), `actor type ${type} must be lower case`)
  assertSteppable(machine.root)
  // A turn names the same actor again and again: the text of its id is then made and hashed once.
  let latest: ActorRef<Machine> | undefined
  const actorType: ActorType<Machine> = {
    type,
    machine,
    residency,
    accounts,
    isUnconditional: isUnconditional(machine.root),
    startsPlainly: isUnconditional(machine.root) && hasNoEntries(machine.root),
    first: {},
    templates: new Map(),
    shortcuts: new Map(),
    ref: (key) => {
      if (latest?.key !== key) latest = { id: `${type}/${key}` as ActorId, key, of: actorType, isNew: false }
      return latest
    },
    newRef: (key) => ({ id: `${type}/${key}` as ActorId, key, of: actorType, isNew: true }),
  }
  return actorType
}

/** XState would take these and do nothing with them: a timer that never fires is worse than none (T4). */
function assertSteppable(node: AnyStateNode): void {
  assert(node.after.length === 0, `${node.id} has delayed transitions: use alarms (T4)`)
  assert(node.invoke.length === 0, `${node.id} invokes actors: use drivers (T4)`)
  assert(node.type !== 'history', `${node.id} is a history state: its memory would not be kept (J3)`)
  for (const child of Object.values(node.states)) assertSteppable(child)
}

/** Splits `type/key`. */
export function parseActorId(id: ActorId): { type: string; key: string } {
  const slash = id.indexOf('/')
  return { type: id.slice(0, slash), key: id.slice(slash + 1) }
}

/** The state of an actor that has just come into being. */
export function initialState<Machine extends AnyStateMachine>(
  type: ActorType<Machine>,
  input: InputFrom<Machine>,
  facts: Fact[],
): ActorState {
  const { value } = type.first
  const { context } = type.machine.config
  if (type.startsPlainly && value !== undefined && typeof context === 'function') {
    return { value, context: { ...context({ input, self: scope.self, spawn: refuseToSpawn } as never) }, accounts: {} }
  }
  const snapshot = emittingInto(facts, () => type.machine.getInitialSnapshot(scope as unknown as Scope<Machine>, input))
  // XState keeps what a machine throws here, and would begin in a state that is none.
  if (snapshot.status === 'error') throw snapshot.error
  type.first.value = snapshot.value
  return { value: snapshot.value, context: snapshot.context, accounts: {} }
}

function refuseToSpawn(): never {
  throw new AssertionError('a machine tried to spawn an actor (T4)')
}

/**
 * Steps a machine once. Facts the machine emits are appended to `facts`.
 * Returns the same object when the machine has no transition for the event in its present state.
 */
export function stepState<Machine extends AnyStateMachine>(
  type: ActorType<Machine>,
  state: ActorState,
  event: EventFromLogic<Machine>,
  facts: Fact[],
): ActorState {
  const shortcut = shortcutFor(type, state, event)
  if (shortcut === 'ignored') return state
  if (shortcut !== 'none') return decided(state, shortcut(state.context as object, event), facts)
  const before = snapshotOf(type, state)
  const after = emittingInto(facts, () => type.machine.transition(before, event, scope as unknown as Scope<Machine>))
  if (after === before) return state
  return { value: after.value, context: after.context, accounts: state.accounts }
}

function decided(state: ActorState, { context, facts: follow }: Decision<object>, facts: Fact[]): ActorState {
  if (follow !== undefined) for (const fact of follow) facts.push(fact)
  return { value: state.value, context: { ...(state.context as object), ...context }, accounts: state.accounts }
}

/**
 * What XState's general step would come to, where that is plain to see: nothing, or one decision that stays in the
 * state. Asked of XState once per state and event, because its step costs ten times the decision itself.
 */
export type Shortcut = Decide | 'ignored' | 'none'

function shortcutFor(type: ActorType, state: ActorState, event: { type: string }): Shortcut {
  const key = keyOf(state.value)
  let shortcuts = type.shortcuts.get(key)
  if (shortcuts === undefined) {
    shortcuts = new Map()
    type.shortcuts.set(key, shortcuts)
  }
  let shortcut = shortcuts.get(event.type)
  if (shortcut === undefined) {
    shortcut = type.isUnconditional ? findShortcut(type, state, event) : 'none'
    shortcuts.set(event.type, shortcut)
  }
  return shortcut
}

function findShortcut(type: ActorType, state: ActorState, event: { type: string }): Shortcut {
  const [transition, ...others] = type.machine.getTransitionData(snapshotOf(type, state) as never, event)
  if (transition === undefined) return 'ignored'
  const staysPut = transition.target === undefined && others.length === 0
  if (!staysPut || transition.actions.length !== 1) return 'none'
  return decisionOf(transition.actions[0]) ?? 'none'
}

/** Whether the transition an event takes depends on the state value alone. */
function isUnconditional(node: AnyStateNode): boolean {
  const isGuarded = [...node.transitions.values()].flat().some(({ guard }) => guard !== undefined)
  return !isGuarded && node.always === undefined && Object.values(node.states).every(isUnconditional)
}

function hasNoEntries(node: AnyStateNode): boolean {
  const isPlain = node.entry.length === 0 && (node.initial?.actions ?? []).length === 0
  return isPlain && Object.values(node.states).every(hasNoEntries)
}

/** The context of a state, typed by its actor type. */
export function contextOf<Machine extends AnyStateMachine>(_: ActorType<Machine>, state: ActorState) {
  return state.context as ContextFrom<Machine>
}

type Scope<Machine extends AnyStateMachine> = Parameters<Machine['transition']>[2]

/**
 * The one scope every step shares: a fresh scope or a live actor per step costs several times more
 * (see the performance notes in docs/architecture.md).
 */
const scope = {
  facts: [] as Fact[],
  id: 'comptroller',
  sessionId: 'comptroller',
  self: {},
  logger: () => {},
  system: { _sendInspectionEvent: () => {} },
  defer: (run: () => void) => run(),
  emit: (fact: Fact) => scope.facts.push(fact),
  stopChild: () => assert(false, 'a machine tried to stop a child actor (T4)'),
  actionExecutor: (action: { type: string; info: unknown; params: unknown; exec?: unknown }) => {
    assert(action.type === 'xstate.emit' && typeof action.exec === 'function', `action ${action.type} has effects (T2)`)
    action.exec(action.info, action.params)
  },
}

/** Collects what a machine emits; nothing if it throws, for the handler may catch that and go on. */
function emittingInto<Result>(facts: Fact[], run: () => Result): Result {
  const before = facts.length
  scope.facts = facts
  try {
    return run()
  } catch (error) {
    facts.length = before
    throw error
  }
}

/** A full snapshot of a kept state. Everything but the context depends only on the state value, so that is cached. */
function snapshotOf(type: ActorType, state: ActorState): AnyMachineSnapshot {
  const key = keyOf(state.value)
  let template = type.templates.get(key)
  if (template === undefined) {
    template = type.machine.resolveState({ value: state.value, context: state.context }) as AnyMachineSnapshot
    type.templates.set(key, template)
  }
  return { ...template, context: state.context } as AnyMachineSnapshot
}

function keyOf(value: StateValue): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}

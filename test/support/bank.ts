// A bank: the smallest program that uses everything the engine offers. Read it as an introduction.
import { assign, emit, setup } from 'xstate'
import { z } from 'zod'
import { type ActorType, defineActor } from '../../engine/actor.js'
import { type Command, defineCommand, defineQuery, type Program } from '../../engine/command.js'
import { DomainError } from '../../engine/errors.js'
import { defineFact, type Fact } from '../../engine/fact.js'
import type { Table } from '../../engine/table.js'
import type { ReadScope } from '../../engine/turn.js'

export const IDLE_MS = 60_000
export const fellAsleep = defineFact('customer.fell-asleep', z.object({ thanks: z.number() }))

type CustomerEvent = { type: 'moved' | 'thanked' | 'idle' }
const life = setup({
  types: { context: {} as { thanks: number }, events: {} as CustomerEvent, emitted: {} as Fact },
  actions: { sleep: emit(({ context }) => fellAsleep.make({ thanks: context.thanks })) },
}).createMachine({
  context: { thanks: 0 },
  on: { thanked: { actions: assign({ thanks: ({ context }) => context.thanks + 1 }) } },
  initial: 'awake',
  states: { awake: { on: { idle: { target: 'asleep', actions: 'sleep' } } }, asleep: { on: { moved: 'awake' } } },
})
const counting = setup({ types: { context: {} as { moves: number }, events: {} as CustomerEvent } }).createMachine({
  context: { moves: 0 },
  on: { moved: { actions: assign({ moves: ({ context }) => context.moves + 1 }) } },
})

/** Customers are in memory while they are used; the vault always is. Money comes from outside, never from nowhere. */
const savings = { currency: 'EUR', mayGoNegative: false }
const outside = { currency: 'EUR', mayGoNegative: true }
export const customer = defineActor({ type: 'customer', machine: life, residency: 'cached', accounts: { savings } })
const vaults = defineActor({ type: 'vault', machine: counting, residency: 'pinned', accounts: { outside } })
export const vault = vaults.ref('main')

export type Wiring = Partial<Pick<Program, 'views' | 'reactions'>>

/** `more`, `types` and `wiring` are what a test brings along. */
export function createBank(
  more: readonly Command[] = [],
  types: readonly ActorType[] = [],
  { views = [], ...wiring }: Wiring = {},
) {
  const all = new Set<string>()
  /** Too many names for a machine, so a table of its own, which changes by deltas. */
  const names: Table<{ added: string }> = {
    name: 'names',
    get bytes() {
      return all.size * 32
    },
    apply: ({ added }) => void all.add(added),
  }

  const open = defineCommand({
    name: 'bank.open',
    input: z.object({ name: z.string() }),
    who: 'public',
    actors: ({ name }) => [customer.ref(name)],
    handle(turn, { name }) {
      if (all.has(name)) throw new DomainError('conflict', 'name_taken', `${name} has an account already.`)
      turn.create(customer.ref(name), {})
      turn.change(names, { added: name })
      return { number: all.size + 1 }
    },
  })

  /** A receipt is paid in once, whoever reports it, however often. */
  const payIn = defineCommand({
    name: 'bank.pay-in',
    input: z.object({ name: z.string(), cents: z.bigint().positive(), receipt: z.string() }),
    who: 'system',
    actors: ({ name }) => [customer.ref(name)],
    naturalKey: ({ receipt }) => receipt,
    handle(turn, { name, cents, receipt }) {
      const account = existing(turn, name)
      turn.step(vault, { type: 'moved' })
      turn.step(account, { type: 'moved' })
      turn.post('pay-in', receipt, [
        { account: vault, name: 'outside', amount: -cents },
        { account, name: 'savings', amount: cents },
      ])
      turn.setAlarm(account, 'idle', turn.at + IDLE_MS, fallAsleep, { name })
    },
  })

  /** All of it happens or none. The thanks are a message: a turn of their own, right after. */
  const send = defineCommand({
    name: 'bank.send',
    input: z.object({ from: z.string(), to: z.string(), cents: z.bigint().positive() }),
    who: 'member',
    actors: ({ from, to }) => [customer.ref(from), customer.ref(to)],
    handle(turn, { from, to, cents }) {
      turn.post('send', turn.newId(), [
        { account: existing(turn, from), name: 'savings', amount: -cents },
        { account: existing(turn, to), name: 'savings', amount: cents },
      ])
      turn.tell(thank, { name: from })
      return { left: turn.balance(customer.ref(from), 'savings') }
    },
  })

  /** What happens to a customer by message or alarm is a command like any other. */
  const happening = (type: 'thanked' | 'idle') =>
    defineCommand({
      name: `bank.${type}`,
      input: z.object({ name: z.string() }),
      who: 'system',
      actors: ({ name }) => [customer.ref(name)],
      handle: (turn, { name }) => turn.step(existing(turn, name), { type }),
    })
  const thank = happening('thanked')
  const fallAsleep = happening('idle')

  const statement = defineQuery({
    name: 'bank.statement',
    actors: ({ name }: { name: string }) => [customer.ref(name)],
    read(scope, { name }) {
      const account = existing(scope, name)
      const { thanks } = scope.context(account)
      return { state: scope.value(account), thanks, savings: scope.balance(account, 'savings') }
    },
  })

  const commands = [open, payIn, send, thank, fallAsleep, ...more] as readonly Command[]
  const actors = [customer, vaults, ...types]
  const program: Program = { name: 'bank', actors, tables: [names], views, commands, ...wiring }
  return { program, names: all, table: names, open, payIn, send, thank, fallAsleep, statement }
}

function existing(scope: ReadScope, name: string) {
  const ref = customer.ref(name)
  if (!scope.exists(ref)) throw new DomainError('not_found', 'no_customer', `${name} has no account.`)
  return ref
}

// Hunts: turns that leave a trace though they failed, outputs that leave too early or out of order, money from nowhere,
// limits that do not hold. The program under test is test/support/bank.ts.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { type AnyStateMachine, assign, emit, fromPromise, log, raise, setup, spawnChild } from 'xstate'
import { z } from 'zod'
import { type ActorRef, type ActorType, defineActor, initialState, stepState } from '../engine/actor.js'
import { anonymous, type Command, defineCommand, Refusal } from '../engine/command.js'
import { DomainError } from '../engine/errors.js'
import type { Fact } from '../engine/fact.js'
import type { Turn } from '../engine/turn.js'
import { customer, fellAsleep, IDLE_MS, vault } from './support/bank.js'
import { anyStep, perform, quiet, type Rig, restart, startBank } from './support/engine.js'

const AssertionError = { name: 'AssertionError' }
const ann = customer.ref('ann')
const bob = customer.ref('bob')
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const refuse = () => new DomainError('conflict', 'refused_late', 'Refused after much was done.')

/** A command that does to ann what a test likes. */
function commandThat(handle: (turn: Turn) => unknown, actors = (): readonly ActorRef[] => [ann]) {
  return defineCommand({ name: 'test.command', input: z.object({}), who: 'public', actors, handle })
}

t.test('a program lives: open, pay in, send, thank by message, fall asleep by alarm', async (t) => {
  const rig = await startBank()
  const { bank, run, world } = rig
  t.same(await run(bank.open, { name: 'ann' }), { number: 1 })
  t.same(await run(bank.open, { name: 'bob' }, { who: anonymous }), { number: 2 })
  t.equal(await rig.refusal(bank.open, { name: 'bob' }), 'name_taken')
  await run(bank.payIn, { name: 'ann', cents: 500n, receipt: 'r1' })
  await run(bank.payIn, { name: 'ann', cents: 500n, receipt: 'r1' })
  t.same(await run(bank.send, { from: 'ann', to: 'bob', cents: 200n }), { left: 300n })
  t.same(await rig.statement('ann'), { state: 'awake', thanks: 1, savings: 300n })
  world.advance(IDLE_MS)
  t.same(await rig.statement('ann'), { state: 'asleep', thanks: 1, savings: 300n })
  t.same(await rig.statement('bob'), { state: 'awake', thanks: 0, savings: 200n })
  t.same(
    rig.heard.flatMap(({ facts }) => facts),
    [fellAsleep.make({ thanks: 1 })],
  )
  t.same(rig.turns.slice(-3), ['bank.send', 'bank.thanked', 'bank.idle'])
  t.same(rig.faults, [])
})

/** Throws in the middle of a step, after having emitted. */
const brittle = defineActor({
  type: 'brittle',
  residency: 'pinned',
  machine: setup({
    types: { context: {} as { hits: number }, events: {} as { type: 'crack' | 'jam' | 'hit' }, emitted: {} as Fact },
    actions: {
      tell: emit(() => fellAsleep.make({ thanks: -1 })),
      crack: assign(() => assert.fail(refuse())),
    },
    guards: { jammed: () => assert.fail('the guard failed') },
  }).createMachine({
    context: { hits: 0 },
    on: {
      hit: { actions: assign({ hits: ({ context }) => context.hits + 1 }) },
      crack: { actions: ['tell', 'crack'] },
      jam: { guard: 'jammed', actions: 'tell' },
    },
  }),
})
const vase = brittle.ref('vase')
const stranger = defineActor({ type: 'stranger', residency: 'pinned', machine: brittle.machine }).ref('one')
const endless: { self?: unknown } = {}
endless.self = endless

const unknown = { ...commandThat(() => {}), name: 'test.unknown' } as Command<object>
const pay = (turn: Turn, from: bigint, to: bigint) =>
  turn.post('test', 't', [
    { account: ann, name: 'savings', amount: from },
    { account: vault, name: 'outside', amount: to },
  ])

/** How a turn can fail after all it has done, and what it says then. */
const failures: Record<string, readonly [RegExp, (turn: Turn, rig: Rig) => unknown]> = {
  'a DomainError': [/^refused_late$/, () => assert.fail(refuse())],
  'a programmer error': [/not a function/, (turn) => (turn as never as { typo(): void }).typo()],
  'a machine that throws': [/^refused_late$/, (turn) => turn.step(vase, { type: 'crack' })],
  'a guard that throws': [/the guard failed/, (turn) => turn.step(vase, { type: 'jam' })],
  'an overdraft (L3)': [/^insufficient_funds$/, (turn) => pay(turn, -10_000n, 10_000n)],
  'an unbalanced posting (L2)': [/off by 1 EUR/, (turn) => pay(turn, 5n, -4n)],
  'an amount that is no bigint (L1)': [/bigint/, (turn) => pay(turn, 5 as never, -5n)],
  'an account that does not exist': [
    /has no account/,
    (turn) => turn.post('test', 't', [{ account: ann, name: 'hoard', amount: 0n }]),
  ],
  'a second creation': [/exists already/, (turn) => turn.create(ann, {})],
  'stepping a customer not named (T3)': [/not named/, (turn) => turn.step(bob, { type: 'moved' })],
  'reading a customer not named (T3)': [/not named/, (turn) => turn.balance(bob, 'savings')],
  'a message nobody takes (J3)': [/no command test.unknown/, (turn) => turn.tell(unknown, {})],
  'a message that names no actor (J3)': [/Cannot/, (turn, { bank }) => turn.tell(bank.thank, null as never)],
  'an alarm nobody takes (J3)': [/no command/, (turn) => turn.setAlarm(ann, 'late', turn.at, unknown, {})],
  'an alarm at no time': [/whole millisecond/, (turn) => turn.setAlarm(ann, 'late', Number.NaN, unknown, {})],
  'an actor nobody restores (J3)': [/type that is not of bank/, (turn) => turn.step(stranger, { type: 'hit' })],
  'a table nobody restores (J3)': [
    /no table/,
    (turn, { bank }) => turn.change({ ...bank.table, name: 'none' }, {} as never),
  ],
  'a fact that cannot be written': [/stack size/, (turn) => turn.emit({ type: 'endless', endless } as Fact)],
  'a reply that cannot be written': [/stack size/, () => endless],
  'a handler that waits (T1)': [/not synchronous/, async () => 'later'],
  'a turn within a turn (T1)': [/do not nest/, (_, rig) => rig.send(rig.bank.thank, { name: 'ann' })],
}

for (const [name, [message, fail]] of Object.entries(failures)) {
  t.test(`T1 ${name} leaves no trace of the turn`, async (t) => {
    let isFailing = true
    const command = commandThat((turn) => {
      turn.step(ann, { type: 'idle' })
      turn.step(vase, { type: 'hit' })
      turn.emit(fellAsleep.make({ thanks: 7 }))
      pay(turn, 5n, -5n)
      turn.change(rig.bank.table, { added: 'bob' })
      turn.clearAlarm(ann, 'idle')
      turn.setAlarm(ann, 'again', turn.at + 1, rig.bank.fallAsleep, { name: 'ann' })
      turn.tell(rig.bank.thank, { name: 'ann' })
      return isFailing ? fail(turn, rig) : 'done'
    })
    const rig: Rig = await startBank({ more: [command as Command], types: [brittle as ActorType] })
    await rig.openAccount('ann', 100n)
    await rig.run(rig.bank.open, { name: 'bob' })
    rig.bank.names.delete('bob')
    const before = await rig.portrait()
    const heard = rig.heard.length
    t.match(await rig.refusal(command, {}, { key: 'k' }), message)
    t.same(await rig.portrait(), before)
    t.equal(rig.heard.length, heard)
    t.same([rig.shard.lifecycle, rig.stops], ['running', []])

    isFailing = false
    t.equal(await rig.run(command, {}, { key: 'k' }), 'done', 'a failure is not remembered; the next input works')
    t.same(await rig.statement('ann'), { state: 'asleep', thanks: 1, savings: 105n })
    const [{ facts = [], postings = [] } = {}] = rig.heard.slice(heard)
    t.same([facts.length, postings.length], [2, 1])
    const { alarms } = rig.shard.gauges()
    t.equal(alarms, 1)
    t.ok(rig.bank.names.has('bob'))
  })
}

t.test('T1 a Refusal keeps what the turn did, and is the answer to a repeat', async (t) => {
  const strike = commandThat((turn) => {
    turn.step(vase, { type: 'hit' })
    return new Refusal(refuse())
  })
  const rig = await startBank({ more: [strike as Command], types: [brittle as ActorType] })
  await rig.openAccount('ann')
  for (const key of ['a', 'b', 'a']) t.equal(await rig.refusal(strike, {}, { key }), 'refused_late')
  t.equal(rig.turns.filter((name) => name === strike.name).length, 2)
  t.equal(rig.shard.lastSeq, 3)
})

t.test('T1 a step or posting whose failure the handler survives leaves nothing of itself', async (t) => {
  const command = commandThat((turn) => {
    const overdraft = [
      { account: vault, name: 'outside', amount: -7n },
      { account: ann, name: 'savings', amount: 107n },
      { account: ann, name: 'savings', amount: -1_000n },
      { account: vault, name: 'outside', amount: 900n },
    ]
    assert.throws(() => turn.post('test', 't', overdraft), { code: 'insufficient_funds' })
    assert.throws(() => turn.step(vase, { type: 'crack' }), { code: 'refused_late' })
    return turn.balance(ann, 'savings')
  })
  const rig = await startBank({ more: [command as Command], types: [brittle as ActorType] })
  await rig.openAccount('ann', 100n)
  const { vault: before } = await rig.portrait()
  t.equal(await rig.run(command, {}), 100n)
  t.same((await rig.portrait()).vault, before)
  t.same(
    rig.heard.slice(2).flatMap(({ facts, postings }) => [...facts, ...postings]),
    [],
  )
})

t.test('T3 pinned actors need no name, and are there from their first use', async (t) => {
  const touch = commandThat(
    (turn) => [turn.exists(vase), turn.step(vase, { type: 'hit' }), turn.exists(vase)],
    () => [],
  )
  const rig = await startBank({ more: [touch as Command], types: [brittle as ActorType] })
  t.same(await rig.run(touch, {}), [false, true, true])
  t.same(await rig.run(touch, {}), [true, true, true])
})

t.test('T2 T4 a machine with timers, invocations, history or effects of its own is refused', async (t) => {
  const base = setup({
    types: { context: {}, events: {} as { type: 'go' } },
    actors: { work: fromPromise(async () => 1) },
  })
  const define = (machine: unknown) =>
    defineActor({ type: 'odd', machine: machine as AnyStateMachine, residency: 'pinned' })
  const go = { type: 'go' }
  const effects: string[] = []
  const undefinable = {
    after: base.createMachine({ initial: 'a', states: { a: { after: { 5: 'b' } }, b: {} } }),
    invoke: base.createMachine({ initial: 'a', states: { a: { invoke: { src: 'work' } } } }),
    history: base.createMachine({ initial: 'a', states: { a: {}, b: { type: 'history' } } }),
  }
  for (const [name, machine] of Object.entries(undefinable)) t.throws(() => define(machine), AssertionError, name)
  const unsteppable = {
    delay: base.createMachine({ on: { go: { actions: raise({ type: 'go' }, { delay: 5 }) } } }),
    effect: base.createMachine({ on: { go: { actions: () => void effects.push('sent') } } }),
    log: base.createMachine({ on: { go: { actions: log('x') } } }),
    spawn: base.createMachine({ on: { go: { actions: spawnChild('work') } } }),
  }
  for (const [name, machine] of Object.entries(unsteppable)) {
    const type = define(machine)
    t.throws(() => stepState(type, initialState(type, {}, []), go, []), name)
  }
  t.same(effects, [])
})

t.test(
  'T5 the same inputs give the same records byte for byte, whenever disk and Postgres get round to it',
  async (t) => {
    const history = fc.array(fc.tuple(anyStep, fc.boolean(), fc.boolean()), { maxLength: 40 })
    await fc.assert(
      fc.asyncProperty(history, async (history) => {
        const prompt = await startBank()
        const lazy = await startBank()
        for (const [step, flushes, applies] of history) {
          for (const rig of [prompt, lazy]) {
            perform(rig, step)
            await quiet()
            if (rig === prompt || flushes) rig.journal.flush()
            if (rig === prompt || applies) rig.apply()
          }
        }
        assert.deepEqual(lazy.journal.bodies.map(hex), prompt.journal.bodies.map(hex))
      }),
      { numRuns: 150 },
    )
    t.pass()
  },
)

t.test('L1 L2 L3 whatever happens, all money together is nothing and no customer is in debt', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyStep, { minLength: 10, maxLength: 60 }), async (steps) => {
      const rig = await startBank()
      for (const step of steps) {
        perform(rig, step)
        await quiet()
      }
      const { statements, vault } = await rig.portrait()
      const savings = Object.entries(statements).map(
        ([name, { savings }]) => [`customer/${name}:savings`, savings] as const,
      )
      for (const [account, balance] of savings) assert.ok(balance >= 0n, account)
      assert.equal(
        savings.reduce((sum, [, balance]) => sum + balance, vault.outside),
        0n,
      )
      rig.apply()
      const moved = [...savings, ['vault/main:outside', vault.outside] as const].filter(([, balance]) => balance !== 0n)
      const posted = [...rig.store.balances].filter(([, balance]) => balance !== 0n)
      assert.deepEqual(new Map(moved), new Map(posted), 'balances are the sums of their postings')
      assert.deepEqual(rig.faults, [])
    }),
    { numRuns: 150 },
  )
  t.pass()
})

t.test('L1 amounts beyond 64 bits are kept to the last unit', async (t) => {
  const rig = await startBank()
  const cents = 3n ** 99n
  await rig.openAccount('ann', cents)
  await rig.openAccount('bob', -(-cents))
  t.equal(rig.shard.lifecycle, 'running')
  t.same((await (await restart(rig)).portrait()).vault, { moves: 2, outside: -2n * cents })
})

// Hunts: state that differs after a crash, effects lost or doubled by one, time going back. The program under test is test/support/bank.ts.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { z } from 'zod'
import { type Command, defineCommand, type Reactions } from '../engine/command.js'
import { DomainError } from '../engine/errors.js'
import { defineFact } from '../engine/fact.js'
import type { Outcome } from '../engine/outcome.js'
import type { PackedFact } from '../engine/recovery-record.js'
import { Replay } from '../engine/replay.js'
import type { View } from '../engine/table.js'
import type { Turn } from '../engine/turn.js'
import { createBank, customer } from './support/bank.js'
import {
  anyStep,
  Projection,
  perform,
  quiet,
  type Rig,
  restart,
  type Sent,
  type Step,
  startBank,
  World,
} from './support/engine.js'

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const ann = customer.ref('ann')

/** A command of the core that a test writes on the spot. */
function systemCommand<Schema extends z.ZodType>(
  name: string,
  input: Schema,
  handle: (turn: Turn, args: z.output<Schema>) => unknown,
) {
  return defineCommand({ name: `test.${name}`, input, who: 'system', actors: () => [], handle })
}

t.test(
  'J3 a recovered shard is the one that crashed: same state, same answers, same future, no business code',
  async (t) => {
    const history = fc.array(anyStep, { maxLength: 40 })
    await fc.assert(
      fc.asyncProperty(history, fc.nat(), history, async (past, appliedPart, future) => {
        const rig = await startBank({ limits: { cachedActorsMax: 3 } })
        for (const step of past) {
          perform(rig, step)
          await quiet()
        }
        rig.journal.flush()
        const store = new Projection()
        const appliedSeq = appliedPart % (rig.journal.lastSeq + 1)
        for (const body of rig.journal.bodies.slice(0, appliedSeq)) store.apply(body)
        const world = Object.assign(new World(), { at: rig.world.at, ids: rig.world.ids })
        const next = await startBank({ ...rig.parts, journal: rig.journal.afterCrash(), store, world })
        assert.deepEqual(next.turns, [], 'no handler ran')
        assert.deepEqual(await stateOf(next), await stateOf(rig))
        for (const step of future) {
          const [one, other] = [perform(rig, step), perform(next, step)]
          await quiet()
          for (const { journal } of [rig, next]) journal.flush()
          assert.deepEqual(other, one)
        }
        assert.deepEqual(next.journal.bodies.map(hex), rig.journal.bodies.map(hex))
        assert.deepEqual([...rig.faults, ...next.faults], [])
      }),
      { numRuns: 150 },
    )
    t.pass()
  },
)

/** What must be equal; how many keys are in memory need not be. */
async function stateOf(rig: Rig) {
  const { counts, ...state } = await rig.portrait()
  return { ...state, ...counts, idempotency_entries: 0 }
}

interface Life {
  readonly step: Step
  /** How many more records disk and Postgres get then, and whether the process dies before good answers are read. */
  readonly flushes: number
  readonly applies: number
  readonly crashes: boolean
}

t.test('J1 J3 G3 clients that ask again until they are answered see one effect, whatever crashes', async (t) => {
  const few = fc.nat({ max: 4 })
  const anyLife: fc.Arbitrary<Life> = fc.record({ step: anyStep, flushes: few, applies: few, crashes: fc.boolean() })
  await fc.assert(
    fc.asyncProperty(fc.array(anyLife, { minLength: 5, maxLength: 40 }), async (lives) => {
      const calm = await live(lives, false)
      const stormy = await live(lives, true)
      assert.deepEqual(stormy.answers, calm.answers)
      assert.deepEqual(await stateOf(stormy.rig), await stateOf(calm.rig))
      assert.deepEqual(stormy.rig.faults, [])
    }),
    { numRuns: 150 },
  )
  t.pass()
})

/** Each step is a client with a key of its own. */
async function live(lives: readonly Life[], isStormy: boolean) {
  let rig = await startBank({ limits: { cachedActorsMax: 2, idempotencyEntriesMax: 3 } })
  const clients: { step: Step; asks: Sent<unknown> | undefined; answer?: Outcome<unknown> }[] = []
  const hear = (isLost: boolean) => {
    for (const client of clients) {
      const { outcome } = client.asks ?? {}
      // A refusal leaves no trace and is decided anew, so to be comparable it must not be lost.
      if (outcome !== undefined && !(isLost && outcome.ok)) client.answer ??= outcome
    }
  }
  for (const { step, flushes, applies, crashes } of lives) {
    // Nobody is left unanswered while time passes, for what is repeated later rightly happens later.
    if (step.do === 'wait') rig.journal.flush()
    hear(false)
    clients.push({ step, asks: perform(rig, step, `client ${clients.length}`) })
    await quiet()
    if (!isStormy) continue
    const { journal, store } = rig
    journal.flush(Math.min(journal.lastSeq, journal.durableSeq + flushes))
    rig.apply(Math.min(journal.durableSeq, store.appliedSeq + applies))
    hear(crashes)
    if (!crashes) continue
    rig = await restart(rig)
    rig.world.advance(0)
    for (const [number, client] of clients.entries()) {
      if (client.answer !== undefined || client.step.do === 'wait') continue
      client.asks = perform(rig, client.step, `client ${number}`)
      await quiet()
    }
  }
  rig.journal.flush()
  hear(false)
  return { rig, answers: clients.map(({ answer }) => answer) }
}

t.test(
  'J3 G3 a record, a message and an alarm keep their bytes although the buffer they were read into is used again',
  async (t) => {
    const bytes = Uint8Array.of(1, 2, 3, 4)
    const got: unknown[] = []
    const take = systemCommand('take', z.object({ bytes: z.instanceof(Uint8Array) }), (_, { bytes }) =>
      got.push([...bytes]),
    )
    const tell = systemCommand('tell', z.object({}), (turn) => {
      turn.tell(take, { bytes })
      turn.setAlarm(ann, 'take', turn.at + 5, take, { bytes })
    })
    const rig = await startBank({ more: [take, tell] as readonly Command[] })
    rig.send(tell, {})
    rig.journal.flush(1)
    got.length = 0
    const next = await restart(rig)
    next.world.advance(5)
    t.same(got, [
      [1, 2, 3, 4],
      [1, 2, 3, 4],
    ])
  },
)

const happened = ['one', 'two', 'three'].map((name) => defineFact(`test.${name}`, z.object({ what: z.string() })))
const happen = systemCommand('happen', z.object({ whats: z.array(z.number()) }), (turn, { whats }) => {
  for (const [at, what] of whats.entries())
    turn.emit(happened[what]?.make({ what: `${turn.seq} ${at}` }) ?? { type: '' })
})

/** Remembers all that it is given. */
class Memory implements View {
  readonly given: unknown[] = []

  constructor(
    readonly name: string,
    readonly facts: readonly string[],
  ) {}

  fold(fact: { readonly type: string }, at: number, seq: number): void {
    this.given.push({ fact, at, seq })
  }

  restore(fact: PackedFact, at: number, seq: number): void {
    this.fold(fact.unpack(), at, seq)
  }

  applied(): void {}
}

t.test('J3 each view is given the facts it folds and no others, as they happen and again at recovery', async (t) => {
  const memories = () => [
    new Memory('first', ['test.one']),
    new Memory('both', ['test.one', 'test.two']),
    new Memory('other', ['test.two']),
    new Memory('deaf', []),
  ]
  const anyWhats = fc.array(fc.nat({ max: 2 }), { maxLength: 5 })
  await fc.assert(
    fc.asyncProperty(fc.array(anyWhats, { maxLength: 12 }), fc.nat(), async (turns, appliedPart) => {
      const views = memories()
      const rig = await startBank({ more: [happen] as readonly Command[], views })
      for (const whats of turns) await rig.run(happen, { whats })
      const told = rig.heard.flatMap(({ facts, seq, input: { at } }) => facts.map((fact) => ({ fact, at, seq })))
      for (const { given, facts } of views) {
        assert.deepEqual(
          given,
          told.filter(({ fact }) => facts.includes(fact.type)),
        )
      }
      const appliedSeq = appliedPart % (rig.journal.lastSeq + 1)
      rig.apply(appliedSeq)
      const again = memories()
      await restart(rig, { views: again })
      for (const { given, facts } of again) {
        assert.deepEqual(
          given,
          told.filter(({ fact, seq }) => facts.includes(fact.type) && seq > appliedSeq),
        )
      }
    }),
    { numRuns: 60 },
  )
  t.pass()
})

t.test('T1 T5 what follows from a fact is of its turn: a throw undoes both, a replay gives the same', async (t) => {
  const paid = defineFact('test.paid', z.object({ name: z.string(), cents: z.bigint() }))
  const noticed = defineFact('test.noticed', z.object({ cents: z.bigint() }))
  const input = z.object({ name: z.string(), cents: z.bigint() })
  const pay = defineCommand({
    ...{ name: 'test.pay', input, who: 'system' },
    actors: ({ name }) => [customer.ref(name)],
    handle: (turn, { name, cents }) => {
      turn.step(customer.ref(name), { type: 'thanked' })
      turn.emit(paid.make({ name, cents }))
      return turn.facts.length
    },
  })
  const thank = createBank().thank
  const followed: string[] = []
  const reactions: Reactions = {
    'test.paid': (turn, fact) => {
      const { name, cents } = fact as ReturnType<typeof paid.make>
      followed.push(`${name} ${cents}`)
      turn.tell(thank, { name })
      turn.emit(noticed.make({ cents }))
      turn.setAlarm(ann, 'idle', turn.at + 1_000, thank, { name })
      if (cents === 13n) throw new DomainError('conflict', 'unlucky', 'Not thirteen.')
      if (cents === 66n) throw new Error('a fault')
    },
    'test.noticed': () => followed.push('what follows from what followed'),
  }
  const parts = { more: [pay] as readonly Command[], reactions }
  const rig = await startBank(parts)
  await rig.openAccount('ann')
  t.equal(await rig.run(pay, { name: 'ann', cents: 1n }), 1, 'the answer is of before')
  const before = await rig.portrait()
  t.equal(before.statements.ann?.thanks, 2, 'once by the turn, once by the message')
  const { lastSeq } = rig.journal
  for (const [cents, code] of [
    [13n, 'unlucky'],
    [66n, 'a fault'],
  ] as const) {
    t.equal(await rig.refusal(pay, { name: 'ann', cents }), code)
    t.same(await rig.portrait(), before)
  }
  t.equal(rig.journal.lastSeq, lastSeq, 'no trace in the journal')
  t.match(rig.faults, [{ message: 'a fault' }])
  t.equal(await rig.run(pay, { name: 'ann', cents: 2n }), 1)
  rig.world.advance(1_000)
  rig.journal.flush()
  t.same(followed, ['ann 1', 'ann 13', 'ann 66', 'ann 2'], 'once each, and not of what it says itself')
  t.same(
    rig.heard.flatMap(({ facts }) => facts.map(({ type }) => type)),
    ['test.paid', 'test.noticed', 'test.paid', 'test.noticed'],
  )
  followed.length = 0
  const replay = new Replay(createBank(parts.more, [], { reactions }).program, 100)
  for (const body of rig.journal.bodies) t.equal(replay.run(body).isSame, true)
  t.same(followed, ['ann 1', 'ann 2'])
  const next = await restart(rig)
  t.same([followed.length, next.turns], [2, []], 'recovery runs none of it')
  t.same(await stateOf(next), await stateOf(rig))
})

t.test('T5 time within a shard never goes back, not even after a restart with an older clock', async (t) => {
  const rig = await startBank()
  const at = rig.world.at
  await rig.openAccount('ann', 5n)
  rig.apply()
  rig.world.at -= 5_000
  await rig.openAccount('bob')
  const next = await restart(rig)
  await next.openAccount('cyd')
  next.apply()
  const last = await restart(next)
  await last.openAccount('dot')
  last.world.at = at + 1
  await last.openAccount('eve')
  t.same(
    [rig, next, last].flatMap(({ heard }) => heard).map(({ input }) => input.at - at),
    [0, 0, 0, 0, 0, 1],
  )
})

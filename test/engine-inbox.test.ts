// Hunts: alarms that never ring, ring twice, early or for a setting that is void; messages that vanish between teller
// and receiver or come twice; what nobody can take now getting lost or coming for ever.
import fc from 'fast-check'
import t from 'tap'
import { z } from 'zod'
import { Alarms, alarmId } from '../engine/alarms.js'
import { type Command, defineCommand } from '../engine/command.js'
import { DomainError } from '../engine/errors.js'
import { unpackRecord } from '../engine/record.js'
import type { Turn } from '../engine/turn.js'
import { customer, IDLE_MS } from './support/bank.js'
import { bytesKeptBy, quiet, type Rig, restart, startBank } from './support/engine.js'

const ann = customer.ref('ann')
const bob = customer.ref('bob')
const noted = z.object({ note: z.string() })

/** A bank with three commands more: `note` writes down what rings or is told, `act` does what the test likes. */
async function startNoting(change: { cachedActorsMax?: number } = {}) {
  const notes: string[] = []
  let failure: Error | undefined
  let onNote = (_turn: Turn, _note: string) => {}
  const note = defineCommand({
    name: 'test.note',
    input: noted,
    who: 'system',
    actors: () => [],
    handle: (turn, { note }) => {
      notes.push(note)
      if (failure !== undefined) throw failure
      onNote(turn, note)
    },
  })
  let acting = (_turn: Turn): void => {}
  const act = defineCommand({
    name: 'test.act',
    input: z.object({}),
    who: 'system',
    actors: () => [],
    handle: (turn) => acting(turn),
  })
  let rig = await startBank({ more: [note, act] as readonly Command[], limits: change })
  return {
    notes,
    note,
    get rig() {
      return rig
    },
    act(how: (turn: Turn) => void) {
      acting = how
      return rig.send(act, {})
    },
    /** Sets alarms of ann that write themselves down. */
    set(name: string, inMs: number, text = name) {
      return this.act((turn) => turn.setAlarm(ann, name, turn.at + inMs, note, { note: text }))
    },
    noteFailsWith(error: Error | undefined) {
      failure = error
    },
    onNote(then: typeof onNote) {
      onNote = then
    },
    async crash(flush = true) {
      if (flush) rig.journal.flush()
      rig = await restart(rig)
      rig.world.advance(0)
      return rig
    },
    taken() {
      return notes.splice(0)
    },
  }
}

t.test('an alarm rings once, at its deadline and not before', async (t) => {
  const bank = await startNoting()
  bank.set('a', 1_000)
  bank.rig.world.advance(999)
  t.same(bank.taken(), [])
  bank.rig.world.advance(1)
  t.same(bank.taken(), ['a'])
  bank.rig.world.advance(1_000_000)
  t.same(bank.taken(), [])
  t.same([bank.rig.shard.gauges().alarms, bank.rig.world.timers], [0, []])
})

t.test('an alarm set anew, for whenever, makes the older one void; one cleared does not ring', async (t) => {
  const bank = await startNoting()
  const { world } = bank.rig
  for (const [first, second] of [
    [1_000, 3_000],
    [3_000, 1_000],
    [1_000, 1_000],
  ] as const) {
    bank.set('a', first, 'old')
    bank.set('a', second, 'new')
    world.advance(second - 1)
    t.same(bank.taken(), [], `${first} then ${second}`)
    world.advance(5_000)
    t.same(bank.taken(), ['new'])
  }
  bank.set('a', 1_000)
  bank.set('b', 1_000)
  bank.act((turn) => turn.clearAlarm(ann, 'a'))
  world.advance(5_000)
  t.same(bank.taken(), ['b'])
  t.same([bank.rig.shard.gauges().alarms, world.timers], [0, []])
})

t.test(
  'J3 an alarm rings after a restart when the rest of its time is over, or at once when it is over already',
  async (t) => {
    for (const isApplied of [false, true]) {
      const bank = await startNoting()
      bank.set('soon', 1_000)
      bank.set('later', 5_000)
      bank.set('void', 1_500)
      bank.set('void', 60_000)
      bank.rig.journal.flush()
      if (isApplied) bank.rig.apply()
      bank.rig.world.timers = []
      bank.rig.world.advance(3_000)
      await bank.crash()
      t.same(bank.taken(), ['soon'])
      bank.rig.world.advance(1_999)
      t.same(bank.taken(), [])
      bank.rig.world.advance(1)
      t.same(bank.taken(), ['later'])
    }
  },
)

t.test('J1 an alarm that rang, but not on disk, rings again; one on disk does not', async (t) => {
  const bank = await startNoting()
  bank.set('a', 1_000)
  bank.rig.journal.flush()
  bank.rig.world.advance(1_000)
  t.same(bank.taken(), ['a'])
  await bank.crash(false)
  t.same(bank.taken(), ['a'])
  await bank.crash(true)
  bank.rig.world.advance(1_000_000)
  t.same(bank.taken(), [])
})

t.test('an alarm that sets itself anew for the same moment rings again, also after a crash in between', async (t) => {
  for (const isApplied of [false, true]) {
    const bank = await startNoting()
    let left = 3
    bank.onNote((turn, note) => {
      left -= 1
      if (left > 0) turn.setAlarm(ann, 'a', turn.at, bank.note, { note: `${note}+` })
    })
    bank.set('a', 1_000, 'x')
    bank.rig.journal.flush()
    bank.rig.world.set(bank.rig.world.at + 1_000)
    t.same(bank.taken(), ['x', 'x+', 'x++'])
    bank.rig.journal.flush(2)
    if (isApplied) bank.rig.apply(2)
    left = 2
    await bank.crash(false)
    t.same(bank.taken(), ['x+', 'x++'])
  }
})

t.test('a clock that jumps delays alarms or brings them all at once, and loses or doubles none', async (t) => {
  const bank = await startNoting()
  const { world } = bank.rig
  bank.set('a', 1_000)
  bank.set('b', 2_000)
  const [timer] = world.timers
  world.at -= 100_000
  timer?.ring()
  t.same(bank.taken(), [], 'a timer that went off early is wound up again')
  world.advance(101_500)
  t.same(bank.taken(), ['a'])
  bank.set('c', 500)
  world.at += 1_000_000
  world.advance(0)
  t.same(bank.taken(), ['b', 'c'])
})

t.test('T5 alarms of one moment ring in one order, however they were set and after any restart', async (t) => {
  const names = ['d', 'a', 'c', 'e', 'b']
  await fc.assert(
    fc.asyncProperty(fc.shuffledSubarray(names, { minLength: 5 }), fc.boolean(), async (shuffled, crashes) => {
      const bank = await startNoting()
      for (const name of shuffled) bank.act((turn) => turn.setAlarm(ann, name, 2e12, bank.note, { note: name }))
      if (crashes) await bank.crash()
      bank.rig.world.set(2e12)
      return bank.taken().join('') === 'abcde'
    }),
    { numRuns: 30 },
  )
  t.pass()
})

t.test('a heap of alarms gives them up in order of deadline, void ones never', async (t) => {
  const change = fc.record({ name: fc.constantFrom(...'abcdefgh'), at: fc.option(fc.nat({ max: 20 }), { nil: null }) })
  fc.assert(
    fc.property(fc.array(change, { maxLength: 60 }), fc.nat({ max: 20 }), (changes, now) => {
      const alarms = new Alarms()
      const model = new Map<string, number>()
      for (const { name, at } of changes) {
        alarms.change(at === null ? { actor: ann.id, name, at } : { actor: ann.id, name, at, command: '', args: {} })
        if (at === null) model.delete(name)
        else model.set(name, at)
      }
      const due = [...model].filter(([, at]) => at <= now).sort(([a, x], [b, y]) => x - y || (a < b ? -1 : 1))
      const taken = alarms.takeDue(now)
      const isPending = taken.every((alarm) => alarms.isPending(alarmId(alarm)))
      return (
        isPending &&
        alarms.size === model.size &&
        taken.map(({ name }) => name).join() === due.map(([name]) => name).join()
      )
    }),
  )
  t.pass()
})

t.test('B1 an alarm that is put off a million times takes the room of one', async (t) => {
  const alarms = new Alarms()
  let at = 1e12
  const putOff = (times: number) => {
    for (const last = at + times; at < last; at++) {
      alarms.change({ actor: ann.id, name: 'idle', at, command: 'c', args: {} })
    }
  }
  putOff(10_000)
  const kept = bytesKeptBy(() => putOff(1_000_000))
  t.ok(kept < 2 ** 21, `${kept} bytes kept`)
  t.same([alarms.nextAt(), alarms.size], [at - 1, 1])
})

t.test('J1 a message is told once, whatever the crash tears apart', async (t) => {
  for (const flushed of [1, 2]) {
    for (const applied of [0, 1, flushed]) {
      const bank = await startNoting()
      bank.act((turn) => turn.tell(bank.note, { note: 'hello' }))
      t.same(bank.taken(), ['hello'], 'right after the turn that told it')
      bank.rig.journal.flush(flushed)
      bank.rig.apply(applied)
      await bank.crash(false)
      t.same(bank.taken(), flushed === 1 ? ['hello'] : [], `${flushed} on disk, ${applied} in Postgres`)
      await bank.crash()
      t.same([bank.taken(), bank.rig.shard.gauges().outstanding_messages], [[], 0])
    }
  }
})

t.test('messages are told in order, those that messages tell after those before, and any number of them', async (t) => {
  const bank = await startNoting()
  bank.onNote((turn, note) => {
    if (note.length < 3) for (const letter of 'xy') turn.tell(bank.note, { note: note + letter })
  })
  bank.act((turn) => {
    for (const note of ['a', 'b']) turn.tell(bank.note, { note })
  })
  t.same(bank.taken().join(' '), 'a b ax ay bx by axx axy ayx ayy bxx bxy byx byy')

  const many = 130_000
  bank.onNote(() => {})
  bank.act((turn) => {
    for (let at = 0; at < many; at++) turn.tell(bank.note, { note: 'n' })
  })
  t.equal(bank.taken().length, many)
  bank.rig.journal.flush(bank.rig.journal.lastSeq - many)
  await bank.crash(false)
  t.equal(bank.taken().length, many, 'recovery tells them all again')
})

t.test('a message or alarm that is refused is reported and does not come again', async (t) => {
  for (const failure of [new DomainError('conflict', 'no_thanks', ''), new Error('a fault')]) {
    const bank = await startNoting()
    bank.noteFailsWith(failure)
    bank.act((turn) => turn.tell(bank.note, { note: 'message' }))
    bank.set('alarm', 10)
    bank.rig.world.advance(10)
    t.same(bank.taken(), ['message', 'alarm'])
    const { refusals, faults } = bank.rig
    t.same(refusals.length + faults.length, 2)
    await bank.crash()
    bank.rig.world.advance(100_000)
    t.same(bank.taken(), [])
  }
})

/** Ann and bob are in Postgres only. */
async function startCold() {
  const bank = await startNoting()
  for (const name of ['ann', 'bob']) await bank.rig.openAccount(name, 100n)
  bank.rig.apply()
  await bank.crash()
  return bank
}
const thank = (rig: Rig, name: string) => (turn: Turn) => turn.tell(rig.bank.thank, { name })

t.test('a receiver that is not in memory is loaded; while Postgres is down messages and alarms wait', async (t) => {
  const bank = await startCold()
  bank.rig.store.isDown = true
  bank.act(thank(bank.rig, 'ann'))
  bank.act((turn) => turn.setAlarm(bob, 'idle', turn.at + 10, bank.rig.bank.fallAsleep, { name: 'bob' }))
  bank.rig.world.advance(10)
  for (let retry = 0; retry < 3; retry++) {
    await quiet()
    bank.rig.world.advance(1_000)
  }
  await quiet()
  t.equal(bank.rig.shard.gauges().postponed_messages, 2)
  t.ok(bank.rig.faults.length >= 8, 'reported each time')
  await bank.crash()
  await quiet()
  t.equal(bank.rig.shard.gauges().postponed_messages, 2, 'they wait after a crash, too')
  bank.rig.store.isDown = false
  bank.rig.world.advance(1_000)
  await quiet()
  t.equal((await bank.rig.statement('ann')).thanks, 1)
  t.equal((await bank.rig.statement('bob')).state, 'asleep')
  bank.rig.world.advance(IDLE_MS / 2)
  t.equal((await bank.rig.statement('ann')).thanks, 1)
})

t.test('a message told while the journal is full comes again when it is not', async (t) => {
  const bank = await startCold()
  const { journal, world } = bank.rig
  const release = bank.rig.store.hold()
  for (const name of ['ann', 'bob', 'ann']) bank.act(thank(bank.rig, name))
  await quiet()
  journal.failure = new DomainError('unavailable', 'journal_full', '')
  release()
  await quiet()
  t.equal(bank.rig.shard.gauges().postponed_messages, 3)
  journal.failure = undefined
  world.advance(1_000)
  t.same([(await bank.rig.statement('ann')).thanks, (await bank.rig.statement('bob')).thanks], [2, 1])
})

t.test('an alarm that is cleared or put off while its actor is being loaded does not ring', async (t) => {
  for (const change of ['clear', 'put off'] as const) {
    const bank = await startCold()
    const { fallAsleep } = bank.rig.bank
    const set = (inMs: number) => (turn: Turn) =>
      turn.setAlarm(bob, 'idle', turn.at + inMs, fallAsleep, { name: 'bob' })
    bank.act(set(10))
    const release = bank.rig.store.hold()
    bank.rig.world.advance(10)
    await quiet()
    bank.act(change === 'clear' ? (turn) => turn.clearAlarm(bob, 'idle') : set(1_000))
    release()
    t.equal((await bank.rig.statement('bob')).state, 'awake', change)
    bank.rig.world.advance(1_000)
    t.equal((await bank.rig.statement('bob')).state, change === 'clear' ? 'awake' : 'asleep', change)
  }
})

t.test('an alarm rings at its deadline though the clock goes back while its actor is being loaded', async (t) => {
  const bank = await startCold()
  const { rig } = bank
  let deadline = 0
  bank.act((turn) => {
    deadline = turn.at + 10_000
    turn.setAlarm(bob, 'idle', deadline, rig.bank.fallAsleep, { name: 'bob' })
  })
  const release = rig.store.hold()
  rig.world.advance(10_000)
  await quiet()
  rig.world.at -= 5_000
  release()
  t.equal((await rig.statement('bob')).state, 'asleep')
  rig.journal.flush()
  const { input, consumed } = unpackRecord(rig.journal.body(rig.journal.lastSeq))
  t.match(consumed, /#idle@/)
  t.equal(input.at, deadline)
})

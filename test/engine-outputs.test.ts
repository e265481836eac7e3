// Hunts: replies, refusals, reads and events that leave before what they tell of is on disk, or out of order, or after
// a stop; limits that do not hold; a shutdown that loses something or never ends.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { z } from 'zod'
import { type Command, defineCommand, defineQuery, type Principal, type Role, system } from '../engine/command.js'
import { DomainError } from '../engine/errors.js'
import { Gate } from '../engine/gate.js'
import { HELD_OUTPUTS_MAX } from '../engine/limits.js'
import { Shard } from '../engine/shard.js'
import { createBank } from './support/bank.js'
import {
  bytesKeptBy,
  type Parts,
  Projection,
  quiet,
  type Rig,
  restart,
  type Sent,
  startBank,
  World,
} from './support/engine.js'

/** The code of the refusal, `ok`, or undefined while there is no answer. */
function answerOf({ outcome }: Sent<unknown>): string | undefined {
  if (outcome === undefined || outcome.ok) return outcome && 'ok'
  return outcome.error instanceof DomainError ? outcome.error.code : outcome.error.message
}
const rejection = (read: Promise<unknown>) =>
  read.then(
    () => 'ok',
    (error: unknown) => (error instanceof DomainError ? error.code : String(error)),
  )
const admin: Principal = { role: 'admin', userId: 'root', sessionId: 's' }
const gift = { from: 'ann', to: 'bob', cents: 1n }
const overdraft = { ...gift, cents: 1_000_000n }

async function startRichBank(parts: Parts = {}) {
  const rig = await startBank(parts)
  for (const name of ['ann', 'bob']) await rig.openAccount(name, 10_000n)
  return rig
}

t.test('J1 G1 G2 nothing is told before the disk has what it tells of, and all in order', async (t) => {
  const doing = fc.constantFrom('send', 'overdraw', 'repeat', 'clash', 'read', 'fail to read', 'settle')
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(doing, fc.nat({ max: 3 })), { maxLength: 40 }), async (moves) => {
      const rig = await startRichBank()
      const { bank, shard, journal } = rig
      const reading = defineQuery({
        name: 'test.reading',
        actors: () => [],
        read: (_, { fails }: { fails: boolean }) => {
          if (fails) throw Object.assign(new DomainError('not_found', 'nothing', ''), { seen: shard.lastSeq })
          return { seen: shard.lastSeq }
        },
      })
      const told: number[] = []
      const checkDurable = ({ seen }: { seen: number }) =>
        assert.ok(seen <= journal.durableSeq, `told of ${seen} when ${journal.durableSeq} was durable`)
      const hear = (seen: number) => {
        checkDurable({ seen })
        assert.ok(seen >= (told.at(-1) ?? 0), `told of ${seen} after ${told.at(-1)}`)
        told.push(seen)
      }
      shard.subscribe(({ seq }) => hear(seq))
      let expected = 0
      const reads: Promise<void>[] = []
      const submit = <Args, Reply>(command: Command<Args, Reply>, args: Args, key?: string) => {
        const before = shard.lastSeq
        let seen = before
        shard.submit(command, { args, key, who: admin }, () => hear(seen))
        if (shard.lastSeq > before) seen = before + 1
        expected += 1 + shard.lastSeq - before
      }
      const does = {
        send: () => submit(bank.send, gift),
        overdraw: () => submit(bank.send, overdraft),
        repeat: () => submit(bank.send, gift, 'same key'),
        clash: () => submit(bank.open, { name: 'ann' }),
        read: () => reads.push(shard.query(reading, { fails: false }).then(checkDurable)),
        'fail to read': () => reads.push(shard.query(reading, { fails: true }).then(() => assert.fail(), checkDurable)),
        settle: () => reads.push(shard.settled().then(checkDurable.bind(null, { seen: shard.lastSeq }))),
      }
      for (const [what, flushed] of moves) {
        does[what]()
        journal.flush(Math.min(journal.lastSeq, journal.durableSeq + flushed))
        await quiet()
      }
      journal.flush()
      await Promise.all(reads)
      assert.equal(told.length, expected, 'everything was told once')
      assert.deepEqual(rig.faults, [])
    }),
    { numRuns: 150 },
  )
  t.pass()
})

t.test('G1 what an answer causes leaves after what it belongs to', async (t) => {
  const rig = await startRichBank()
  const { bank, shard, journal } = rig
  const order: string[] = []
  shard.subscribe(({ seq, input }) => order.push(`${seq} ${input.command}`))
  const { lastSeq } = shard
  shard.submit(bank.send, { args: gift, who: admin }, () => {
    order.push('sent')
    shard.submit(bank.send, { args: overdraft, who: admin }, () => order.push('refused'))
    void shard.settled().then(() => order.push('settled'))
  })
  journal.flush()
  await quiet()
  const first = ['sent', `${lastSeq + 1} bank.send`, `${lastSeq + 2} bank.thanked`, 'refused', 'settled']
  t.same(order, first)

  journal.isInstant = true
  shard.submit(bank.send, { args: gift, who: admin }, () => {
    order.push('sent')
    shard.submit(bank.send, { args: gift, who: admin }, () => order.push('sent again'))
  })
  t.same(order.slice(first.length, first.length + 3), ['sent', `${lastSeq + 3} bank.send`, 'sent again'])
  const seqs = order.map((line) => Number.parseInt(line, 10)).filter((seq) => !Number.isNaN(seq))
  t.same(
    seqs,
    [1, 2, 3, 4, 5, 6].map((nth) => lastSeq + nth),
  )
  t.same([rig.faults, rig.stops], [[], []])
})

t.test('G1 an output that throws is reported and keeps nobody else from theirs', async (t) => {
  const rig = await startRichBank()
  let calls = 0
  const fail = () => {
    calls += 1
    throw new Error('the socket is gone')
  }
  const before = rig.heard.length
  rig.shard.submit(rig.bank.send, { args: gift, who: admin }, fail)
  rig.shard.subscribe(fail)
  const after = rig.send(rig.bank.send, gift)
  t.doesNotThrow(() => rig.journal.flush())
  t.same([answerOf(after), rig.heard.length - before, rig.faults.length], ['ok', 4, 5])

  const cold = await restart(await applied(rig))
  cold.journal.isInstant = true
  cold.shard.submit(cold.bank.send, { args: gift, who: admin }, fail)
  await quiet()
  t.same([calls, cold.faults.length, cold.shard.lifecycle], [6, 1, 'running'])
})

async function applied(rig: Rig): Promise<Rig> {
  rig.journal.flush()
  rig.apply()
  return rig
}

t.test('G3 a stopped shard does and tells nothing more, and says so to who awaits a read', async (t) => {
  const rig = await restart(await applied(await startRichBank()))
  for (const name of ['ann', 'bob']) await rig.statement(name)
  const { bank, shard, journal, world } = rig
  const heard = rig.heard.length
  const held = [rig.send(bank.send, gift), rig.send(bank.send, overdraft), rig.send(bank.send, gift, { key: 'k' })]
  const reads = [rejection(shard.query(bank.statement, { name: 'ann' })), rejection(shard.settled())]
  const release = rig.store.hold()
  const loading = rig.send(bank.open, { name: 'zoe' })
  await quiet()
  const { lastSeq } = journal
  shard.stop(new Error('told to'))
  t.same(world.timers, [])
  shard.stop(new Error('told again'))
  journal.flush()
  release()
  world.advance(1_000_000)
  await quiet()
  for (const sent of [...held, loading]) t.equal(sent.answers, 0)
  t.equal(rig.heard.length, heard)
  t.same(await Promise.all(reads), ['not_running', 'not_running'])
  t.equal(await rejection(shard.query(bank.statement, { name: 'ann' })), 'not_running')
  t.equal(answerOf(rig.send(bank.send, gift)), 'not_running')
  t.same([rig.stops.length, rig.faults, journal.lastSeq - lastSeq], [1, [], 0])
})

t.test('G3 a client that repeats its key after the crash gets the one outcome', async (t) => {
  const rig = await startRichBank()
  const written = rig.send(rig.bank.send, gift, { key: 'written' })
  rig.journal.flush()
  const lost = rig.send(rig.bank.send, gift, { key: 'lost' })
  t.same([answerOf(written), answerOf(lost)], ['ok', undefined])
  const next = await restart(rig)
  for (const key of ['written', 'lost', 'lost']) t.ok((await next.attempt(next.bank.send, gift, { key })).ok)
  t.equal((await next.statement('bob')).savings, 10_002n)
})

t.test(
  'J4 a journal that fails stops the shard; one that is merely full does not, and nothing has happened',
  async (t) => {
    const rig = await startRichBank()
    const before = await rig.portrait()
    rig.journal.failure = new DomainError('unavailable', 'journal_full', 'Later.')
    t.equal(await rig.refusal(rig.bank.send, gift, { key: 'k' }), 'journal_full')
    rig.journal.failure = undefined
    t.same(await rig.portrait(), before)
    t.ok((await rig.attempt(rig.bank.send, gift, { key: 'k' })).ok)

    rig.journal.failure = new Error('the disk is gone')
    const sent = rig.send(rig.bank.send, gift)
    t.same([sent.answers, rig.shard.lifecycle, rig.stops], [0, 'stopped', [rig.journal.failure]])
  },
)

t.test('J3 a shard answers nothing before it has recovered, and a stop meanwhile is final', async (t) => {
  const rig = await startRichBank()
  const bank = createBank()
  const shard = new Shard(bank.program, rig.journal.afterCrash(), new Projection(), new World())
  const recovering = shard.recover(new Projection().checkpoint())
  t.equal(await rejection(shard.query(bank.statement, { name: 'ann' })), 'not_running')
  t.equal(await rejection(shard.execute(bank.open, { args: { name: 'ann' } })), 'not_running')
  shard.stop(new Error('the lock is lost'))
  await t.rejects(recovering, /stopped while it recovered/)
  t.equal(shard.lifecycle, 'stopped')
})

t.test('B1 the gate keeps nothing of what has left, though under load it is never empty', async (t) => {
  const gate = new Gate(0)
  let seq = 0
  const pass = (outputs: number) => {
    for (const last = seq + outputs; seq < last; gate.open(seq - 1)) {
      seq += 1
      const reply = { seq }
      gate.hold(seq, () => reply.seq)
    }
  }
  pass(10_000)
  const kept = bytesKeptBy(() => pass(1_000_000))
  t.ok(kept < 2 ** 21, `${kept} bytes kept`)
  t.equal(gate.held, 1)
})

t.test('B1 P2 past its limits the shard refuses, says when to come again, and goes on with what it has', async (t) => {
  const limits = { lagRecordsMax: 4, loadingInputsMax: 2 }
  const rig = await startRichBank({ limits })
  const { bank, shard, store, journal } = rig
  const refusals: unknown[] = []
  const submit = () =>
    shard.submit(bank.thank, { args: { name: 'ann' }, who: system }, (outcome) => {
      refusals.push(outcome.ok ? 'ok' : { ...(outcome.error as DomainError) })
    })
  submit()
  journal.flush()
  submit()
  const lag = { kind: 'unavailable', code: 'write_behind_lag', details: { retryAfterMs: 5_000 } }
  t.match(refusals, ['ok', lag])
  t.equal((await rig.statement('ann')).thanks, 1, 'reads go on')
  rig.apply()

  const release = store.hold()
  const loading = [rig.send(bank.thank, { name: 'zoe' }), rejection(shard.query(bank.statement, { name: 'zac' }))]
  submit()
  t.match(refusals.at(-1), { kind: 'unavailable', code: 'overloaded', details: { retryAfterMs: 1_000 } })
  t.equal(await rejection(shard.query(bank.statement, { name: 'ann' })), 'overloaded')
  release()
  await quiet()
  t.match(loading[0], { answers: 1 })
  t.equal(await loading[1], 'no_customer')

  submit()
  for (let held = shard.gauges().held_outputs ?? 0; held < HELD_OUTPUTS_MAX; held++) void shard.settled()
  submit()
  t.match(refusals.at(-1), { code: 'overloaded' })
  journal.flush()
  submit()
  journal.flush()
  t.match(refusals.slice(-2), ['ok', 'ok'])
})

t.test('a role may call what it needs to, and hears which role it lacks', async (t) => {
  const needed: readonly Role[] = ['public', 'member', 'admin', 'system']
  const more = needed.map((who) =>
    defineCommand({ name: `test.${who}`, input: z.object({}), who, actors: () => [], handle: () => {} }),
  )
  const rig = await startBank({ more: more as readonly Command[] })
  const refused = { public: 'unauthorized', member: 'forbidden', admin: 'forbidden', system: 'forbidden' }
  for (const [rank, role] of needed.entries()) {
    for (const [need, command] of more.entries()) {
      const answer = answerOf(rig.send(command, {}, { who: { role, userId: 'u', sessionId: 's' } }))
      t.equal(answer, need <= rank ? 'ok' : refused[role], `${role} calls ${command.name}`)
    }
  }
})

t.test('drain finishes what was admitted, with all it leads to, and admits nothing new', async (t) => {
  const rig = await restart(await applied(await startRichBank()))
  const { bank, shard, journal, store } = rig
  const release = store.hold()
  const loading = rig.send(bank.send, gift)
  let isDrained = false
  const drained = shard.drain().then(() => {
    isDrained = true
  })
  t.equal(answerOf(rig.send(bank.send, gift)), 'not_running')
  const read = rejection(shard.query(bank.statement, { name: 'ann' }))
  await quiet()
  t.same([isDrained, loading.answers], [false, 0])
  release()
  await quiet()
  t.same([isDrained, loading.answers], [false, 0], 'the disk has not got it yet')
  journal.flush()
  await drained
  t.same([answerOf(loading), await read, journal.isClosed, shard.lifecycle], ['ok', 'ok', true, 'stopped'])
  t.equal(journal.durableSeq, journal.lastSeq)
  t.same([rig.turns, rig.world.timers], [['bank.send', 'bank.thanked'], []])
  t.equal(await rejection(shard.query(bank.statement, { name: 'ann' })), 'not_running')
})

t.test('drain ends, although Postgres is down, a message waits to come again or the shard stops', async (t) => {
  const tell = defineCommand({
    name: 'test.tell',
    input: z.object({}),
    who: 'system',
    actors: () => [],
    handle: (turn): void => turn.tell(bank.thank, { name: 'ann' }),
  })
  const bank = createBank()
  const start = async () => restart(await applied(await startRichBank({ more: [tell as Command] })))
  const down = await start()
  down.store.isDown = true
  const refused = down.send(down.bank.send, gift)
  down.send(tell, {})
  await quiet()
  t.equal(down.shard.gauges().postponed_messages, 1)
  down.journal.flush()
  t.equal(answerOf(refused), 'storage_unavailable')
  await down.shard.drain()
  t.same(down.world.timers, [])
  down.world.advance(1_000_000)
  await quiet()
  t.same([down.stops, down.journal.lastSeq], [[], 5])
  down.store.isDown = false
  const next = await restart(down)
  await quiet()
  t.equal((await next.statement('ann')).thanks, 1, 'the message was not lost')

  const stopped = await start()
  stopped.send(tell, {})
  const drained = stopped.shard.drain()
  await quiet()
  stopped.shard.stop(new Error('the disk is gone'))
  await drained
  t.same([stopped.journal.isClosed, stopped.stops.length], [false, 1])
})

import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { usdOf } from '../gateway/money.js'
import { Follower, type Position, type Resumed } from '../gateway/pages/live/follower.js'
import { PersonalStreams } from '../gateway/sockets/personal-streams.js'
import { ScanVelocity } from '../gateway/sockets/scan-velocity.js'
import { Stream } from '../gateway/sockets/stream.js'
import { until } from './support/sockets.js'

t.test('a stream tells exactly what came after an offset, or that it does not know (X1)', async (t) => {
  const property = fc.property(fc.integer({ min: 1, max: 9 }), fc.nat(40), fc.nat(45), (kept, appended, offset) => {
    const stream = new Stream<number>('e', kept)
    for (let n = 1; n <= appended; n += 1) stream.append((position) => position.offset)
    const known = offset <= appended && appended - offset <= kept
    const expected = known ? Array.from({ length: appended - offset }, (_, index) => offset + 1 + index) : 'resync'
    assert.deepEqual(stream.since('e', offset), expected)
    assert.deepEqual(stream.since('another', offset), 'resync')
  })
  fc.assert(property)
  t.pass()
})

t.test('a member gets the stream he left, or one that cannot be mistaken for it', async (t) => {
  const actions = fc.array(fc.record({ who: fc.nat(4), what: fc.constantFrom('enter', 'leave', 'tell' as const) }), {
    maxLength: 80,
  })
  const property = fc.property(actions, (list) => {
    const streams = new PersonalStreams<string>('boot', 100, 2)
    const here = new Map<number, number>()
    const told = new Map<string, string[]>()
    for (const [step, { who, what }] of list.entries()) {
      const userId = String(who)
      const sockets = here.get(who) ?? 0
      if (what === 'enter') {
        const { epoch, offset } = streams.enter(userId)
        here.set(who, sockets + 1)
        assert.equal(told.get(epoch)?.length ?? 0, offset, 'the epoch has had this many events and no more')
      } else if (what === 'leave' && sockets > 0) {
        streams.leave(userId)
        here.set(who, sockets - 1)
      } else if (what === 'tell') {
        const found = streams.find(userId)
        assert.equal(found?.present ?? false, sockets > 0)
        found?.stream.append(({ epoch }) => {
          told.set(epoch, [...(told.get(epoch) ?? []), String(step)])
          return String(step)
        })
      }
      assert.ok(streams.absent <= 2)
    }
    for (const [epoch, events] of told) {
      const stream = [...here.keys()]
        .map((who) => streams.find(String(who))?.stream)
        .find((one) => one?.epoch === epoch)
      if (stream !== undefined) assert.deepEqual(stream.since(epoch, 0), events)
    }
  })
  fc.assert(property)
  t.pass()
})

t.test('scans a minute and the peak of the day are those of counting every second anew', async (t) => {
  const midnight = Date.UTC(2026, 9, 6) / 1_000
  const steps = fc.array(fc.record({ pass: fc.oneof(fc.nat(3), fc.nat(90), fc.nat(400)), scans: fc.nat(5) }), {
    minLength: 1,
    maxLength: 30,
  })
  const property = fc.property(fc.integer({ min: -200, max: 10 }), steps, (start, list) => {
    const velocity = new ScanVelocity()
    const scans: number[] = []
    let second = midnight + start
    for (const { pass, scans: count } of list) {
      second += pass
      for (let n = 0; n < count; n += 1) {
        velocity.add(second * 1_000 + n)
        scans.push(second)
      }
    }
    const within = (from: number, through: number) => scans.filter((one) => one >= from && one <= through).length
    const day = Math.floor(second / 86_400) * 86_400
    const first = Math.max(day, midnight + start)
    const minutes = Array.from({ length: second - first + 1 }, (_, index) => within(first + index - 59, first + index))
    assert.equal(velocity.scansPerMinute(second * 1_000), within(second - 59, second))
    assert.equal(velocity.peakToday(second * 1_000 + 999), Math.max(0, ...minutes))
    const recent = velocity.recent(second * 1_000, 5)
    assert.equal(recent.length, 60)
    const lastStep = Math.floor(second / 5) * 5
    assert.equal(recent.at(-1), within(lastStep, second))
    assert.equal(recent.at(-2), within(lastStep - 5, lastStep - 1))
    assert.equal(
      recent.reduce((sum, count) => sum + count, 0),
      within(Math.max(second - 299, lastStep - 295), second),
    )
  })
  fc.assert(property, { numRuns: 60 })
  t.pass()
})

t.test('amounts reach JSON with their exact decimals', async (t) => {
  const micro = fc.bigInt({ min: -(2n ** 32n) * 1_000_000n, max: 2n ** 32n * 1_000_000n })
  const property = fc.property(micro, (amount) => {
    const [, sign = '', whole = '', decimals = ''] =
      /^(-?)(\d+)(?:\.(\d{1,6}))?$/.exec(JSON.stringify(usdOf(amount))) ?? []
    const read = BigInt(whole) * 1_000_000n + BigInt(decimals.padEnd(6, '0'))
    assert.equal(sign === '-' ? -read : read, amount)
  })
  fc.assert(property, { examples: [[1n], [-1n], [100_000_000n], [4_294_967_295_999_999n]] })
  t.pass()
})

t.test('a follower shows what a server said, whatever is lost on the way', async (t) => {
  type Item = Position & { readonly n: number }
  const kept = 12
  const actions = fc.array(fc.constantFrom('say', 'say', 'say', 'lose', 'reconnect', 'restart', 'answer' as const), {
    maxLength: 60,
  })
  const property = fc.asyncProperty(actions, async (list) => {
    let epoch = 1
    let stream = new Stream<{ data: Item }>('1', kept)
    let shown: Item[] = []
    let answers: (() => void)[] = []
    let said = 0
    const follower = new Follower<Item>({
      show: (items, instead) => {
        shown = instead ? [...items] : [...shown, ...items]
      },
      resume: (from) =>
        new Promise((resolve) => {
          const events = stream.since(from.epoch, from.offset)
          const answer: Resumed<Item> =
            events === 'resync' ? { resync: true, ...stream.position } : { events, ...stream.position }
          answers.push(() => resolve(answer))
        }),
    })
    const append = () => stream.append((position) => ({ data: { ...position, n: ++said } })).data
    const connect = () => {
      answers = [] // those of the connection before never arrive
      follower.connected({ ...stream.position, items: stream.latest(4).map(({ data }) => data) })
    }
    const settle = async () => {
      while (answers.length > 0) {
        answers.shift()?.()
        await new Promise((resolve) => setImmediate(resolve))
      }
    }
    connect()
    let connected = true
    for (const action of list) {
      if (action === 'say') {
        const item = append()
        if (connected) follower.receive(item)
      } else if (action === 'lose') {
        append()
        connected = false // the server closes who misses something
      } else if (action === 'reconnect') {
        connect()
        connected = true
      } else if (action === 'restart') {
        epoch += 1
        stream = new Stream(String(epoch), kept)
        connected = false
      } else {
        await settle()
      }
      const offsets = shown.map(({ offset }) => offset)
      assert.deepEqual(
        offsets,
        offsets.map((_, index) => (offsets[0] ?? 0) + index),
        'in order and once',
      )
    }
    connect()
    follower.receive(append())
    await settle()
    assert.equal(shown.at(-1)?.n, said, 'up to date in the end')
    assert.equal(new Set(shown.map((item) => item.epoch)).size, 1)
  })
  await fc.assert(property, { numRuns: 200 })
  t.pass()
})

t.test('a follower whose question is never answered asks again', async (t) => {
  const asked: Position[] = []
  const shown: number[] = []
  const follower = new Follower<Position>({
    show: (items) => void shown.push(...items.map(({ offset }) => offset)),
    resume: async (from) => {
      asked.push(from)
      if (asked.length === 1) throw new Error('timeout')
      return { events: [2, 3, 4].map((offset) => ({ data: { epoch: 'e', offset } })), epoch: 'e', offset: 4 }
    },
  })
  follower.connected({ epoch: 'e', offset: 1, items: [{ epoch: 'e', offset: 1 }] })
  follower.receive({ epoch: 'e', offset: 3 })
  await until(() => asked.length === 1)
  await new Promise((resolve) => setImmediate(resolve))
  follower.receive({ epoch: 'e', offset: 4 })
  await until(() => shown.length === 4)
  t.same([asked.length, shown], [2, [1, 2, 3, 4]])
})

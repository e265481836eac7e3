// Hunts copies at gateways that differ from what the engine has: an event of a stream that is skipped or told twice, a
// member who is counted twice, not at all, or after they left, whatever becomes of requests and answers.
import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { AttendanceBook } from '../gateway/bus/attendance-book.js'
import { GATEWAY_SILENCE_MAX_MS } from '../gateway/bus/attendance-messages.js'
import { AttendanceReports, type AttendanceReportsOptions } from '../gateway/bus/attendance-reports.js'
import { RemoteInsights } from '../gateway/bus/remote-insights.js'
import { RemoteStreams } from '../gateway/bus/remote-streams.js'
import type { PersonalEntry } from '../gateway/sockets/client-out.js'
import { InsightsSource } from '../gateway/sockets/insights-source.js'
import type { InsightTiding } from '../gateway/sockets/insights-state.js'
import { PersonalStreams } from '../gateway/sockets/personal-streams.js'
import { Presence } from '../gateway/sockets/presence.js'
import { ScanVelocity } from '../gateway/sockets/scan-velocity.js'
import type { Position } from '../gateway/sockets/stream.js'
import { comp, ManualTime } from './support/sockets.js'

const turn = () => new Promise((resolve) => setImmediate(resolve))
const quiet = { info: () => {}, warn: () => {}, error: () => {} }

t.test('X1 streams at a gateway are those of the engine, however late answers and tidings are', async (t) => {
  const KEPT = 5
  const action = fc.record({
    who: fc.nat(2).map(String),
    what: fc.constantFrom(
      'tell',
      'tell',
      'tell',
      'follow',
      'follow',
      'leave',
      'hear',
      'hear',
      'answer',
      'keep',
      'crowd',
    ),
  })
  let dismissals = 0
  const property = fc.asyncProperty(fc.array(action, { maxLength: 80 }), async (actions) => {
    const engine = new PersonalStreams<PersonalEntry>('boot', KEPT, 3)
    const tidings: [string, PersonalEntry][] = []
    const answers: (() => void)[] = []
    /** By member: what the sockets of the gateway are told, each from where it joined. */
    const joined = new Map<string, { at: Position | undefined; leave: () => void }>()
    const dismiss = (userId: string) => {
      dismissals += 1
      joined.get(userId)?.leave()
      joined.delete(userId)
    }
    const streams = new RemoteStreams({
      environment: new ManualTime(),
      eventsKept: KEPT,
      share: (userId) => {
        const kept = engine.share(userId)
        return new Promise((resolve) => answers.push(() => resolve(kept)))
      },
      keep: async (userIds) => ({ forgotten: engine.keep(userIds) }),
      tell: (userId, { data }) => {
        const socket = joined.get(userId)
        if (socket?.at === undefined) return
        assert.deepEqual([data.epoch, data.offset], [socket.at.epoch, socket.at.offset + 1], 'next, once')
        socket.at = { epoch: data.epoch, offset: data.offset }
      },
      dismiss,
    })
    const follow = (userId: string) => {
      if (joined.has(userId)) return
      const { stream, leave } = streams.follow(userId)
      const socket = { at: undefined as Position | undefined, leave }
      joined.set(userId, socket)
      void Promise.resolve(stream).then((known) => {
        socket.at = known.position
      })
    }
    const hear = () => {
      const [userId, entry] = tidings.shift() ?? []
      if (userId !== undefined && entry !== undefined) streams.take(userId, entry)
    }
    const leave = (userId: string) => {
      joined.get(userId)?.leave()
      joined.delete(userId)
    }
    const keep = () => {
      for (const userId of engine.keep([...joined.keys()])) dismiss(userId)
    }
    const steps: Record<string, (who: string) => void> = {
      tell: (who) => {
        const found = engine.find(who)
        const entry = found?.stream.append((position) => ({ event: 'scan:accepted', data: position }))
        if (found?.isShared === true && entry !== undefined) tidings.push([who, entry])
      },
      follow,
      leave,
      hear,
      answer: () => answers.shift()?.(),
      keep,
      crowd: (who) => {
        for (const other of ['v', 'w', 'x', 'y']) engine.share(other + who)
      },
    }
    for (const { who, what } of actions) {
      steps[what]?.(who)
      await turn()
    }
    while (tidings.length + answers.length > 0) {
      hear()
      answers.shift()?.()
      await turn()
    }
    keep()
    for (const [userId, { at }] of joined) assert.deepEqual(at, engine.find(userId)?.stream.position)
    streams.stop()
  })
  await fc.assert(property, { numRuns: 150 })
  t.ok(dismissals > 0, 'some were forgotten, and told to come back')
})

t.test('X1 dashboards at a gateway show what the engine shows, from whenever it asked', async (t) => {
  const action = fc.constantFrom(
    'scan',
    'scan',
    'scan',
    'comp',
    'pass',
    'pass',
    'ask',
    'answer',
    'hear',
    'hear' as const,
  )
  const property = fc.asyncProperty(fc.array(action, { maxLength: 100 }), async (actions) => {
    const time = new ManualTime()
    const tidings: InsightTiding[] = []
    const answers: (() => void)[] = []
    const source = new InsightsSource({
      ...{ epoch: 'boot', environment: time, velocity: new ScanVelocity(), scans: 0, feedItemsKept: 7, log: quiet },
      treasury: async () => [],
      tell: (tiding) => tidings.push(tiding),
    })
    const insights = new RemoteInsights({
      ...{ environment: time, feedItemsKept: 7, log: quiet, sayWatched: async () => {}, tell: () => {} },
      load: () => {
        const kept = structuredClone(source.state.kept)
        return new Promise((resolve) => answers.push(() => resolve(kept)))
      },
    })
    insights.begin()
    let scans = 0
    const steps: Record<string, () => void> = {
      scan: () => source.scanAccepted(++scans, time.now()),
      comp: () => source.compAwarded(comp('ann', 'c'), time.now()),
      pass: () => time.pass(70),
      ask: () => insights.begin(),
      answer: () => answers.shift()?.(),
      hear: () => {
        const tiding = tidings.shift()
        if (tiding !== undefined) insights.take(tiding)
      },
    }
    for (const what of actions) {
      steps[what]?.()
      await turn()
    }
    time.pass(1_000)
    while (tidings.length + answers.length > 0) {
      steps.hear?.()
      steps.answer?.()
      await turn()
    }
    assert.deepEqual(insights.state.kept, source.state.kept)
    assert.equal(source.state.counter.value, scans)
    assert.equal(source.state.velocity.scansPerMinute(time.now()), scans, 'no scan is missing, none is counted twice')
    source.stop()
    insights.stop()
  })
  await fc.assert(property, { numRuns: 150 })
  t.pass()
})

t.test('X3 members are counted once over all processes, whatever becomes of reports', async (t) => {
  const GATEWAYS = 3
  const action = fc.record({
    place: fc.nat(GATEWAYS),
    who: fc.nat(4).map(String),
    what: fc.constantFrom('enter', 'enter', 'enter', 'leave', 'leave', 'pass', 'silence'),
    fate: fc.constantFrom('told', 'told', 'lost', 'unanswered' as const),
  })
  const property = fc.asyncProperty(fc.array(action, { maxLength: 60 }), async (actions) => {
    const time = new ManualTime()
    let fate: string = 'told'
    const gateways: AttendanceReports[] = []
    const book = new AttendanceBook({
      environment: time,
      tell: (total) => {
        for (const each of gateways) each.take(total)
      },
    })
    for (let index = 0; index < GATEWAYS; index++) {
      const report: AttendanceReportsOptions['report'] = async (what) => {
        if (fate === 'lost') throw new Error('lost')
        const receipt = book.take({ gateway: `g${index}`, ...what })
        if (fate === 'unanswered') throw new Error('unanswered')
        return receipt
      }
      gateways.push(new AttendanceReports({ environment: time, report }))
    }
    const presences = [book, ...gateways].map(
      (attendance) => new Presence({ environment: time, attendance, tell: () => {} }),
    )
    for (const each of gateways) each.begin()
    const sockets = presences.map(() => [] as string[])
    const steps: Record<string, (place: number, who: string) => void> = {
      enter: (place, who) => {
        sockets[place]?.push(who)
        presences[place]?.enter('room', who, `name ${who}`)
      },
      leave: (place) => {
        for (const left of sockets[place]?.splice(0, 1) ?? []) presences[place]?.leave('room', left)
      },
      pass: () => time.pass(150),
      silence: () => time.pass(GATEWAY_SILENCE_MAX_MS * 2),
    }
    for (const { place, who, what, fate: next } of actions) {
      fate = next
      steps[what]?.(place, who)
      await turn()
    }
    fate = 'told'
    for (let times = 0; times < 20; times++) {
      time.pass(1_000)
      await turn()
    }
    const union = new Set(sockets.flat())
    for (const [place, here] of sockets.entries()) {
      if (here.length === 0) continue
      assert.equal(presences[place]?.count('room'), union.size)
      assert.deepEqual(new Set(presences[place]?.sample('room')), new Set([...union].map((who) => `name ${who}`)))
    }
    for (const gateway of gateways) await gateway.stop()
    assert.equal(presences[0]?.count('room'), new Set(sockets[0]).size, 'gateways that stop are not counted')
    assert.equal(book.gauges().attendance_entries, 0)
    book.stop()
  })
  await fc.assert(property, { numRuns: 150 })
  t.pass()
})

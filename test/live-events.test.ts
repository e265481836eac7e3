// Hunts: a reminder that comes twice, too late, or for what will not be; a peak that falls; an event seen by a tier it is
// not for; a viewer counted twice; anything of scans that depends on an event. Members who watch a real server are in
// live-events-server.test.
import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { type LiveEventProfile, liveEventChanged, liveReminderDue } from '../actors/live-event/facts.js'
import type { Principal } from '../engine/command.js'
import { nobodyElsewhere } from '../gateway/sockets/attendance.js'
import { Audiences } from '../gateway/sockets/viewers.js'
import { startChat } from './support/chat.js'
import { HOUR, MINUTE, uuid } from './support/loyalty.js'
import { root } from './support/server.js'
import { ManualTime } from './support/sockets.js'

type Chat = Awaited<ReturnType<typeof startChat>>
const profile: LiveEventProfile = {
  ...{ title: 'Friday night', description: '', hostName: 'Jack', minimumTier: 'standard', channelId: 'live-events' },
}

/** A chat with live events beside it. */
async function startLive(after?: { readonly journal: Chat['journal']; readonly clock: Chat['clock'] }, downForMs = 0) {
  const at = after && new Date(after.clock.now() + downForMs).toISOString()
  const world = await startChat(after === undefined || at === undefined ? {} : { after, at })
  const { commands, queries } = world.program.live
  let scheduled = 0
  const schedule = (inMs: number | null, over: Partial<LiveEventProfile> = {}, who?: Principal) => {
    scheduled += 1
    const ids = { eventId: uuid('e', scheduled), streamKey: `the-key-of-event-${scheduled}` }
    const startsAt = inMs === null ? null : world.clock.now() + inMs
    return world.run(commands.schedule, { ...ids, profile: { ...profile, ...over }, startsAt }, who)
  }
  const move = (eventId: string, startsAt: number) => world.run(commands.edit, { eventId, edit: {}, startsAt })
  const reminders = () => world.facts(liveReminderDue).map(({ event }) => event.eventId)
  const rows = async () => {
    const eventIds = await world.shard.query(queries.programme, {})
    return world.shard.query(queries.events, { eventIds })
  }
  const passTo = async (at: number) => {
    world.clock.set(at)
    await world.idle()
  }
  return { ...world, live: commands, liveQueries: queries, schedule, move, reminders, rows, passTo }
}

t.test('Q1 a reminder comes an hour before the start, once, and moves with it', async (t) => {
  const world = await startLive()
  const { eventId, startsAt } = await world.schedule(3 * HOUR)
  await world.passTo(startsAt - HOUR - 1)
  t.same(world.reminders(), [])
  await world.move(eventId, startsAt + HOUR)
  await world.passTo(startsAt - 1)
  t.same(world.reminders(), [], 'not at the time that was planned before')
  await world.passTo(startsAt)
  t.same(world.reminders(), [eventId])
  await world.run(world.live.edit, { eventId, edit: { title: 'Saturday' }, startsAt: startsAt + HOUR })
  await world.passTo(startsAt + 2 * HOUR)
  t.same(world.reminders(), [eventId], 'what is edited and not moved is not reminded of again')

  const { eventId: cancelled } = await world.schedule(2 * HOUR)
  const { eventId: early } = await world.schedule(2 * HOUR)
  const { eventId: moved, startsAt: late } = await world.schedule(2 * HOUR)
  await world.schedule(HOUR - 1)
  await world.schedule(null)
  await world.run(world.live.cancel, { eventId: cancelled })
  await world.run(world.live.start, { eventId: early })
  await world.move(moved, late - HOUR - MINUTE)
  await world.passTo(late + HOUR)
  t.same(world.reminders(), [eventId], 'none when it is cancelled, under way or begins in less than an hour')
  t.match(world.shard.gauges(), { alarms: 0 })
})

t.test('Q1 alarms of a shard that was down ring late, but never after the start', async (t) => {
  const before = await startLive()
  const { eventId, startsAt } = await before.schedule(2 * HOUR)
  await before.schedule(90 * MINUTE)
  const after = await startLive(before, 100 * MINUTE)
  await after.passTo(startsAt - 20 * MINUTE)
  t.same(after.reminders(), [eventId])
  t.equal((await after.rows()).length, 2, 'all events are there again')
  const again = await startLive(after)
  await again.passTo(startsAt + HOUR)
  t.same(again.reminders(), [], 'once')
})

t.test('everything that may not be is refused with its code and changes nothing', async (t) => {
  const world = await startLive()
  const { live } = world
  const [ann, boss] = [await world.join('ann'), await world.join('boss', 'standard', true)]
  const { eventId } = await world.schedule(HOUR, {}, boss)
  const ended = await world.schedule(HOUR)
  await world.run(live.start, { eventId: ended.eventId })
  await world.run(live.stop, { eventId: ended.eventId })
  const called = await world.schedule(HOUR)
  await world.run(live.cancel, { eventId: called.eventId })
  await world.setActive(false, 'crypto')
  const at = world.clock.now()
  const plan = (over: object) => ({
    ...{ eventId: uuid('f', 1), streamKey: 'x'.repeat(32), startsAt: at + HOUR, profile },
    ...over,
  })
  const refusals: [string, Promise<{ code: string; records: number }>][] = [
    ['forbidden', world.refuse(live.schedule, plan({}), ann)],
    ['forbidden', world.refuse(live.start, { eventId }, ann)],
    ['forbidden', world.refuse(live.countViewers, { eventId, viewers: 9, peak: 9 }, boss)],
    ['start_past', world.refuse(live.schedule, plan({ startsAt: at - 1 }), boss)],
    ['channel_unknown', world.refuse(live.schedule, plan({ profile: { ...profile, channelId: 'nowhere' } }), boss)],
    ['channel_unknown', world.refuse(live.edit, { eventId, edit: { channelId: 'crypto' }, startsAt: null }, boss)],
    ['start_past', world.refuse(live.edit, { eventId, edit: {}, startsAt: at - 1 }, boss)],
    ['event_unknown', world.refuse(live.start, { eventId: 'none' }, boss)],
    ['event_state', world.refuse(live.stop, { eventId }, boss)],
    ['event_state', world.refuse(live.setVod, { eventId, url: 'https://x.example/v' }, boss)],
    ['event_state', world.refuse(live.start, { eventId: ended.eventId }, boss)],
    ['event_state', world.refuse(live.cancel, { eventId: ended.eventId }, boss)],
    ['event_state', world.refuse(live.overlay, { eventId: ended.eventId, text: 'x' }, boss)],
    ['event_state', world.refuse(live.start, { eventId: called.eventId }, boss)],
    ['event_state', world.refuse(live.setVod, { eventId: called.eventId, url: null }, boss)],
  ]
  for (const [code, refusal] of refusals) t.match(await refusal, { code, records: 0 })
  await world.run(live.start, { eventId })
  t.match(await world.refuse(live.edit, { eventId, edit: {}, startsAt: at + 2 * HOUR }, boss), { code: 'event_state' })
  t.match(await world.run(live.edit, { eventId, edit: { title: 'Now' }, startsAt: null }, boss), { title: 'Now' })
  const { eventsMax } = world.program.rules.liveEvents
  for (let count = 1; count < eventsMax; count++) await world.schedule(HOUR)
  t.match(await world.refuse(live.schedule, plan({}), boss), { code: 'too_many_events', records: 0 })
  await world.run(live.stop, { eventId })
  t.match(await world.run(live.schedule, plan({}), boss), { status: 'scheduled' }, 'those that are over do not count')
})

t.test('an event is seen by its tiers only, and by administrators', async (t) => {
  const world = await startLive()
  const [ann, vip, boss] = [
    await world.join('ann'),
    await world.join('vip', 'vip'),
    await world.join('boss', 'standard', true),
  ]
  const { eventId } = await world.schedule(HOUR, { minimumTier: 'vip' })
  const { eventId: open } = await world.schedule(HOUR)
  const seenBy = async ({ userId }: Principal) => {
    const seen = await world.shard.query(world.liveQueries.eventsFor, { userId, eventIds: [eventId, open, 'none'] })
    return seen.map((row) => row.eventId)
  }
  t.same([await seenBy(ann), await seenBy(vip), await seenBy(boss)], [[open], [eventId, open], [eventId, open]])
  const watch = ({ userId }: Principal, id: string) =>
    world.shard.query(world.liveQueries.watchable, { userId, eventId: id })
  await t.rejects(watch(ann, eventId), { code: 'tier_too_low' })
  await t.rejects(watch(vip, 'none'), { code: 'event_unknown' })
  t.match(await watch(vip, eventId), { eventId })
  await world.run(world.live.cancel, { eventId })
  await t.rejects(watch(vip, eventId), { code: 'event_over' })
  t.same(await seenBy(vip), [open])
})

type Live = Awaited<ReturnType<typeof startLive>>
type Row = ReturnType<typeof liveEventChanged.make>['event']
const act = fc.record({
  does: fc.constantFrom(
    'start',
    'stop',
    'cancel',
    'count',
    'count',
    'count',
    'overlay',
    'edit',
    'move',
    'pass',
    'pass',
  ),
  number: fc.nat(6),
})

/** Whatever it is asked for, it may be refused. */
async function attempt(world: Live, eventId: string, does: string, number: number): Promise<unknown> {
  const { live, clock } = world
  switch (does) {
    case 'start':
      return number > 4 ? world.attempt(live.start, { eventId }) : undefined
    case 'stop':
      return number === 0 ? world.attempt(live.stop, { eventId }) : undefined
    case 'cancel':
      return number === 0 ? world.attempt(live.cancel, { eventId }) : undefined
    case 'count':
      return world.attempt(live.countViewers, { eventId, viewers: number, peak: number })
    case 'overlay':
      return world.attempt(live.overlay, { eventId, text: number === 0 ? null : `${number}` })
    case 'edit':
      return world.attempt(live.edit, { eventId, edit: { title: `${number}` }, startsAt: null })
    case 'move':
      return world.attempt(live.edit, { eventId, edit: {}, startsAt: clock.now() + number * 30 * MINUTE })
    default:
      return world.passTo(clock.now() + number * 10 * MINUTE)
  }
}

/** What is told of an event follows from what was told before; returns it as it is last. */
function checkChanges(records: Chat['records'], counts: ReadonlyMap<number, number>, first: Row): Row {
  let row = first
  for (const { seq, facts } of records) {
    for (const fact of facts) {
      if (fact.type !== liveEventChanged.type) continue
      const { event } = fact as ReturnType<typeof liveEventChanged.make>
      assert.equal(event.version, row.version + (event.version === 1 ? 0 : 1)) // Q3
      const counted = counts.get(seq) ?? 0
      assert.equal(event.peakViewers, Math.max(row.peakViewers, counted)) // Q2
      assert.equal(event.viewers, event.status === 'live' ? (counts.get(seq) ?? row.viewers) : 0)
      row = event
    }
  }
  return row
}

t.test('Q1, Q2, Q3 any history: versions count up, the peak is the highest count, reminders are true', async (t) => {
  let reminded = 0
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(act, { maxLength: 15, size: 'max' }), { minLength: 1, maxLength: 3 }),
      async (lives) => {
        let world = await startLive()
        const first = await world.schedule(2 * HOUR)
        const records: Chat['records'] = []
        const counts = new Map<number, number>()
        for (const steps of lives) {
          for (const { does, number } of steps) {
            const { lastSeq } = world.shard
            await attempt(world, first.eventId, does, number)
            if (does === 'count' && world.shard.lastSeq > lastSeq) counts.set(world.shard.lastSeq, number)
          }
          records.push(...world.records)
          world = await startLive(world, 10 * MINUTE)
          await world.passTo(world.clock.now())
        }
        const last = checkChanges(records, counts, first)
        const [row] = await world.rows()
        if (row !== undefined) assert.deepEqual(row, last, 'a restart keeps it')
        reminded += checkReminders(records)
      },
    ),
    { numRuns: 40 },
  )
  t.ok(reminded > 5, `${reminded} reminders were told`)
})

/** Each tells of a start that is to come within the hour, and each start is told of once. */
function checkReminders(records: Chat['records']): number {
  const starts = new Set<number>()
  for (const { input, facts } of records) {
    for (const fact of facts) {
      if (fact.type !== liveReminderDue.type) continue
      const { startsAt } = (fact as ReturnType<typeof liveReminderDue.make>).event
      assert.ok(input.at < startsAt && startsAt - input.at <= HOUR)
      assert.ok(!starts.has(startsAt), 'reminded of one start twice')
      starts.add(startsAt)
    }
  }
  return starts.size
}

t.test('BJ-LIVE-10 nothing of scans knows of live events', async (t) => {
  const scansOf = async (isOnAir: boolean) => {
    const world = await startLive()
    const ann = await world.join('ann')
    if (isOnAir) {
      const { eventId } = await world.schedule(null)
      await world.run(world.live.start, { eventId })
      await world.run(world.live.countViewers, { eventId, viewers: 5_000, peak: 5_000 })
    }
    const codes = await world.makeCodes(8)
    const from = world.records.length
    for (const code of codes) await world.scan(ann, code)
    const told = world.records.slice(from).map(({ facts }) => facts.map(({ type, ...rest }) => ({ type, ...rest })))
    return JSON.stringify(told, (key, value) => {
      if (typeof value === 'bigint') return String(value)
      return /Id$|^at$/.test(key) ? undefined : value
    })
  }
  t.equal(await scansOf(true), await scansOf(false), 'what scans win is the same')
  const allowed = /^(live-event\/|programs\/(loyalty|rules)\.ts)/
  const files = (await readdir(join(root, 'actors'), { recursive: true })).filter((file) => file.endsWith('.ts'))
  for (const file of files) {
    if (allowed.test(file)) continue
    t.notMatch(await readFile(join(root, 'actors', file), 'utf8'), /from '[^']*live-event/, `${file} reads no event`)
  }
})

t.test(
  'X3 viewers are counted by member, told at most once a second and reported once in five, the latest always',
  async (t) => {
    const world = await startLive()
    const scheduled = await world.schedule(HOUR)
    const time = new ManualTime()
    const told: [number, number, number][] = []
    const reported: [number, number, number][] = []
    const from = time.now()
    const audiences = new Audiences(time, nobodyElsewhere, {
      tell: (_, count, peak) => told.push([time.now() - from, count, peak]),
      report: (_, viewers, peak) => reported.push([time.now() - from, viewers, peak]),
      watchedElsewhere: () => {},
    })
    const audience = audiences.of(scheduled)
    audience.enter('early', 'socket')
    t.same([told, reported, audience.peak], [[[0, 1, 0]], [], 0], 'before the start nobody is a viewer')
    let row = await world.run(world.live.start, { eventId: scheduled.eventId })
    audiences.changed(audience, row)
    t.same(reported, [[0, 1, 1]])
    for (let index = 0; index < 50; index++) audience.enter(`m${index}`, 'one')
    for (let index = 0; index < 50; index++) audience.enter(`m${index}`, 'another')
    for (let index = 0; index < 30; index++) audience.leave(`m${index}`, 'one')
    t.equal(audience.count, 51, 'who has another socket still watches')
    for (let index = 0; index < 30; index++) audience.leave(`m${index}`, 'another')
    time.pass(10_000)
    t.same(told, [
      [0, 1, 0],
      [1_000, 21, 51],
    ])
    t.same(
      reported,
      [
        [0, 1, 1],
        [5_000, 21, 51],
      ],
      'the peak is that between two reports',
    )
    row = { ...row, viewers: 21, peakViewers: 51, version: row.version + 1 }
    audiences.changed(audience, row)
    for (let index = 0; index < 40; index++) audience.enter(`n${index}`, 'one')
    audience.leave('early', 'socket')
    t.same(reported.splice(2), [[10_000, 22, 51]], 'after calm at once')
    audiences.end(audience)
    t.same(reported.splice(2), [[10_000, 60, 61]], 'the end tells what was not told yet')
    t.equal(time.timers, 0)
    t.equal(audiences.size, 0)
  },
)

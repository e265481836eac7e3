// Hunts: a reminder that comes twice, too late, or for what will not be; a peak that falls; an event seen by a tier it is
// not for; a viewer counted twice; an event that a restart forgets; anything of scans that depends on an event.
import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { type LiveEventProfile, liveEventChanged, liveReminderDue } from '../actors/live-event/facts.js'
import type { Principal } from '../engine/command.js'
import { liveCommandSchemas, liveEventSchemas } from '../gateway/sockets/live-event-schemas.js'
import { startChat } from './support/chat.js'
import { HOUR, MINUTE, uuid } from './support/loyalty.js'
import {
  type Client,
  connectSocket,
  logInAdmin,
  saidOf,
  signUp,
  type Told,
  type ToldSocket,
} from './support/members.js'
import { Deployment, root, until } from './support/server.js'

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

t.setTimeout(120_000)
t.test('the whole server, with members who watch', async (t) => {
  const site = await Deployment.create(t)
  const env = { RATE_LIMIT_MEMBER_PER_SECOND: '1000', RATE_LIMIT_MEMBER_BURST: '1000' }
  await site.start({ env })
  const admin = await logInAdmin(site)
  const [ann, ben] = [await signUp(site, 'ann'), await signUp(site, 'ben')]
  const EVENTS = '/v1/admin/streaming/events'
  const sockets: ToldSocket[] = []

  async function enter(who: Client): Promise<ToldSocket> {
    const socket = await connectSocket(t, site, '/social/ws', who.token)
    sockets.push(socket)
    return socket
  }
  async function ask(socket: ToldSocket, event: keyof typeof liveCommandSchemas, id: string): Promise<Told> {
    const answer = await socket.emitWithAck(event, { event: id })
    if (answer.error === undefined) assert.deepEqual(liveCommandSchemas[event].ack.parse(answer), answer)
    return answer
  }
  const schedule = async (over: object = {}): Promise<Told> => {
    const { status, body } = await admin.post(EVENTS, { title: 'Friday', host_name: 'Jack', ...over })
    t.equal(status, 201)
    return body
  }
  const namesIn = async (who: Client, list: string) =>
    (await who.get(`/v1/streaming/${list}`)).body.events.map(({ title }: Told) => title)
  const lastOf = (socket: ToldSocket, name: string) => saidOf(socket, name).at(-1)

  const later = await schedule({ title: 'Later', scheduled_at: new Date(Date.now() + 2 * HOUR).toISOString() })
  const friday = await schedule({ description: 'Ask us anything' })
  const vips = await schedule({ title: 'VIPs', tier_restriction: 'vip' })
  t.match(friday, { status: 'scheduled', channel: 'live-events', tier_restriction: 'all', playback_url: null })
  t.same(await namesIn(ann, 'schedule'), ['Friday', 'Later'])
  t.same(new Set(await namesIn(admin, 'schedule')), new Set(['Friday', 'VIPs', 'Later']))
  t.equal((await ann.post(EVENTS, { title: 'x', host_name: 'x' })).status, 403)
  t.match((await admin.post(EVENTS, { title: 'x', host_name: 'x', channel: 'none' })).body, { code: 'channel_unknown' })
  t.equal((await ann.get(`/v1/streaming/schedule`)).text.includes(friday.stream_key), false)

  const [a, b] = [await enter(ann), await enter(ben)]
  t.match(await ask(a, 'event:watch', vips.id), { error: { code: 'tier_too_low' } })
  t.match(await ask(a, 'event:watch', 'none'), { error: { code: 'event_unknown' } })
  t.match(await ask(a, 'event:watch', friday.id), { count: 1, peak: 0, state: { status: 'scheduled' } })
  t.match((await admin.post(`${EVENTS}/${friday.id}/start`)).body, { status: 'live' })
  const playback_url = `https://cdn.blakjaks.com/hls/${friday.stream_key}.m3u8`
  await until('ann is told', () => lastOf(a, 'event:changed'))
  t.match(lastOf(a, 'event:changed'), { id: friday.id, change: 'started', status: 'live', playback_url })
  t.match(await ask(b, 'event:watch', friday.id), { count: 2, peak: 2, state: { status: 'live', playback_url } })
  const twice = await enter(ben)
  t.match(await ask(twice, 'event:watch', friday.id), { count: 2, peak: 2 }, 'one member counts once')
  await until('watchers are told', () => lastOf(a, 'viewers')?.count === 2)
  t.match((await admin.post(`${EVENTS}/${vips.id}/overlay`, { text: 'Soon' })).body, { overlay: { text: 'Soon' } })
  await admin.post(`${EVENTS}/${friday.id}/overlay`, { text: 'Merch drop at nine' })
  await until('the announcement is seen', () => lastOf(b, 'event:changed')?.overlay?.text === 'Merch drop at nine')
  await admin.delete(`${EVENTS}/${friday.id}/overlay`)
  await until('it is off again', () => lastOf(b, 'event:changed')?.overlay === null)
  t.same(saidOf(a, 'event:changed').length, 3, 'and nobody hears of other events')

  t.same(await ask(twice, 'event:unwatch', friday.id), { event: friday.id })
  b.disconnect()
  await until('who left is not counted', () => lastOf(a, 'viewers')?.count === 1)
  const back = await enter(ben)
  t.match(await ask(back, 'event:watch', friday.id), { count: 2, peak: 2 }, 'who comes back counts once')
  await until('the core knows', async () => (await ann.get('/v1/streaming/live')).body.events[0]?.viewer_count === 2)

  await admin.put(`/v1/admin/users/${ann.user.id}`, { tier: 'vip' })
  t.match(await ask(a, 'event:watch', vips.id), { state: { title: 'VIPs' } })
  await admin.put(`/v1/admin/users/${ann.user.id}`, { tier: null })
  await until('rights that are gone close it', () => lastOf(a, 'event:closed')?.event === vips.id)
  await admin.put(`${EVENTS}/${friday.id}`, { title: 'Friday, late' })
  t.same(await namesIn(ben, 'live'), ['Friday, late'])

  await site.kill()
  await site.start({ env })
  t.same(await namesIn(ann, 'schedule'), ['Later'], 'a restart keeps what is to come')
  const again = (await ann.get('/v1/streaming/live')).body.events
  t.match(again, [{ id: friday.id, title: 'Friday, late', peak_viewers: 2 }], 'and what is live')
  await until('nobody watches after it', async () => {
    return (await ann.get('/v1/streaming/live')).body.events[0].viewer_count === 0
  })
  const c = await enter(ann)
  t.match(await ask(c, 'event:watch', friday.id), { count: 1, peak: 2 })
  t.match((await admin.post(`${EVENTS}/${friday.id}/stop`)).body, { status: 'ended', viewer_count: 0, peak_viewers: 2 })
  await until('its end is told', () => lastOf(c, 'event:changed')?.change === 'stopped')
  t.match(await ask(c, 'event:watch', friday.id), { error: { code: 'event_over' } })
  await admin.post(`${EVENTS}/${later.id}/cancel`)
  const archived = () => ann.get('/v1/streaming/archive').then(({ body }) => body.events)
  await until('it is in the archive', async () => (await archived()).length === 1)
  await admin.put(`${EVENTS}/${friday.id}/vod`, { url: 'https://cdn.blakjaks.com/vod/friday.mp4' })
  await until('it can be seen again', async () => (await archived())[0].vod_url !== null)
  t.match(await archived(), [{ id: friday.id, peak_viewers: 2, status: 'ended', playback_url: null }])
  t.same((await namesIn(ann, 'live')).concat(await namesIn(ann, 'schedule')), [])

  for (const title of ['One', 'Two']) {
    const { id } = await schedule({ title })
    await admin.post(`${EVENTS}/${id}/start`)
    await admin.post(`${EVENTS}/${id}/stop`)
  }
  await admin.post(`${EVENTS}/${vips.id}/start`)
  await admin.post(`${EVENTS}/${vips.id}/stop`)
  await until('all are in the archive', async () => (await admin.get('/v1/streaming/archive')).body.events.length === 4)
  const pages: string[] = []
  for (let cursor: string | null = ''; cursor !== null; ) {
    const { body } = await ann.get(`/v1/streaming/archive?limit=1${cursor === '' ? '' : `&cursor=${cursor}`}`)
    pages.push(...body.events.map(({ title }: Told) => title))
    cursor = body.next_cursor
  }
  t.same(pages, ['Two', 'One', 'Friday, late'], 'page by page, each once, the last first')
  t.equal((await ann.get('/v1/streaming/archive?cursor=x')).status, 422)

  for (const { event, data } of sockets.flatMap(({ told }) => told)) {
    const schema = liveEventSchemas[event as keyof typeof liveEventSchemas]
    if (schema !== undefined) assert.deepEqual(schema.parse(data), data, event)
  }
  t.match((await admin.get('/asyncapi.json')).text, /event-reminder/)
})

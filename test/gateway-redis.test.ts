// Hunts, with a real Redis, one engine and gateways as processes: a message skipped or told twice when a gateway, Redis or
// the engine dies; a room, a count or a session that other processes do not know of.
import { isDeepStrictEqual } from 'node:util'
import t from 'tap'
import { Gateway, Listener, Reader } from './support/gateways.js'
import { HOUR } from './support/loyalty.js'
import {
  activeCodes,
  connectSocket,
  logInAdmin,
  type Member,
  saidOf,
  signUp,
  type Told,
  type ToldSocket,
} from './support/members.js'
import { RedisServer } from './support/redis.js'
import { Deployment, until } from './support/server.js'

t.setTimeout(180_000)
const redis = await RedisServer.started(t)
const site = await Deployment.create(t)
const engineEnv = { REDIS_URL: redis.url, RATE_LIMIT_MEMBER_PER_SECOND: '1000', RATE_LIMIT_MEMBER_BURST: '1000' }
const first = await Gateway.started(t, redis.url)
const second = await Gateway.started(t, redis.url)

const refusalOf = (gateway: Gateway, token: string): Promise<Told> =>
  connectSocket(t, gateway, '/social/ws', token).then(
    () => ({}),
    (error: unknown) => ({ ...(error as { data: Told }).data }),
  )

const early = await until('Redis is there', async () => {
  const reasons = await first.reasons()
  return reasons.includes('Redis') ? '' : reasons
})
await site.start({ env: engineEnv })
await Promise.all([first.ready(), second.ready()])
const admin = await logInAdmin(site)
const setTier = (who: Member, tier: string | null) => admin.put(`/v1/admin/users/${who.user.id}`, { tier })
const [ann, ben] = [await signUp(site, 'ann'), await signUp(site, 'ben')]
await Promise.all([setTier(ann, 'whale'), setTier(ben, 'whale')])

/** Over HTTP, on the engine itself. */
async function post(channel: string, text: string): Promise<void> {
  const { status, text: why } = await admin.post(`/v1/social/channels/${channel}/messages`, { text })
  if (status !== 201) throw new Error(`${text} was not posted: ${why}`)
}
const textsOf = ({ heard }: Listener) => heard.map(({ text }) => text)
const numbered = (what: string, count: number) => Array.from({ length: count }, (_, index) => `${what} ${index + 1}`)
let extra = 0

t.test('without an engine a gateway said so, and came to itself when there was one', async (t) => {
  t.match(early, /nothing is heard of the engine/)
  t.match(await refusalOf(first, ''), { code: 'unauthorized' })
  t.match(await refusalOf(first, 'forged'), { code: 'unauthorized' })
})

t.test('X1 what is said on one gateway is told on the other, and by the engine, once and in order', async (t) => {
  const a = await new Listener(t, first.url, ann.token, 'general').joined()
  const b = await new Listener(t, second.url, ben.token, 'general').joined()
  const e = await new Listener(t, site.url, ben.token, 'general').joined()
  const texts = numbered('across', 12)
  const answers: Told[] = []
  for (const text of texts) answers.push(await (answers.length % 2 === 0 ? a : e).say(text))
  t.ok(
    answers.every(({ error }) => error === undefined),
    JSON.stringify(answers),
  )
  t.same(await a.say('across 1'), answers[0], 'a repeat with one client_id has the one outcome')
  for (const each of [a, b, e]) {
    await until('all is heard', () => each.heard.length >= texts.length)
    t.same(textsOf(each), texts)
    t.same(each.wrong, [])
  }
  t.same(await a.socket.emitWithAck('typing', { channel: 'general' }), {})
  for (const each of [b, e]) await until('typing is told', () => each.saidOf('typing').length === 1)
  t.match(await b.socket.emitWithAck('message:edit', { id: answers[0]?.id, text: 'x' }), {
    error: { code: 'not_yours' },
  })
})

t.test('X3 presence counts members once over all processes, and forgets those of one that is gone', async (t) => {
  const [third, dying] = await Promise.all([Gateway.started(t, redis.url), Gateway.started(t, redis.url)])
  await Promise.all([third.ready(), dying.ready()])
  const cid = await signUp(site, 'cid')
  const everywhere = [first, second, third, site].map(({ url }) => new Listener(t, url, ben.token, 'wins').joined())
  const [here, there, closing, engine] = await Promise.all(everywhere)
  const a = await new Listener(t, first.url, ann.token, 'wins').joined()
  const latest = (of: Listener | undefined) =>
    of
      ?.saidOf('presence')
      .filter(({ channel }) => channel === 'wins')
      .at(-1)
  const counted = (count: number, ...by: (Listener | undefined)[]) =>
    until(`${count} are counted`, () => by.every((each) => latest(each)?.count === count))
  await counted(2, a, here, there, closing, engine)
  for (const each of [a, there, engine]) t.same(new Set(latest(each)?.sample), new Set(['ann', 'ben']))
  const c = await new Listener(t, dying.url, cid.token, 'wins').joined()
  await counted(3, a, here, there, closing, engine, c)
  t.equal(await third.end('SIGTERM'), 0, 'it ends in order')
  await dying.end('SIGKILL')
  here?.socket.disconnect()
  engine?.socket.disconnect()
  await counted(2, a, there)
  t.same(new Set(latest(a)?.sample), new Set(['ann', 'ben']), 'ben is still at one gateway')
  there?.socket.disconnect()
  await counted(1, a)
})

t.test('who is mentioned is told at whichever gateway they are', async (t) => {
  const b = await new Listener(t, second.url, ben.token, 'flavor-ideas').joined()
  const a = await new Listener(t, first.url, ann.token, 'flavor-ideas').joined()
  await a.say('what does @ben think?')
  await until('ben is told', () => b.saidOf('mention').length === 1)
  t.match(b.saidOf('mention'), [{ channel: 'flavor-ideas', by: { username: 'ann' } }])
})

t.test(
  'X3 live events: watched at gateways, counted once, told to the core, closed and ended everywhere',
  async (t) => {
    const EVENTS = '/v1/admin/streaming/events'
    const schedule = async (over: object) =>
      (await admin.post(EVENTS, { title: 'Show', host_name: 'Jack', ...over })).body
    const show = await schedule({ tier_restriction: 'vip' })
    await admin.post(`${EVENTS}/${show.id}/start`)
    const connect = (at: { url: string }, { token }: Member) => connectSocket(t, at, '/social/ws', token)
    const watch = (socket: ToldSocket) => socket.emitWithAck('event:watch', { event: show.id })
    const [a, b, again] = [await connect(first, ann), await connect(second, ben), await connect(first, ben)]
    for (const socket of [a, b, again]) t.match(await watch(socket), { event: show.id, state: { status: 'live' } })
    const told = (socket: ToldSocket, event: string) => saidOf(socket, event).at(-1)
    await until('both are counted', () => [a, b, again].every((socket) => told(socket, 'viewers')?.count === 2))
    const core = async () => (await ann.get('/v1/streaming/live')).body.events[0]
    await until('the core knows, where nobody watches', async () => (await core()).viewer_count === 2)
    const e = await connect(site, ben)
    t.match(await watch(e), { count: 2, peak: 2 }, 'ben counts once on the engine, too')
    await admin.post(`${EVENTS}/${show.id}/overlay`, { text: 'Soon' })
    await until('watchers see it', () =>
      [a, b, e].every((socket) => told(socket, 'event:changed')?.overlay?.text === 'Soon'),
    )
    await setTier(ben, 'standard')
    await until('it is not his any more', () =>
      [b, again, e].every((socket) => told(socket, 'event:closed') !== undefined),
    )
    await until('one is left', () => told(a, 'viewers')?.count === 1)
    await setTier(ben, 'whale')

    await schedule({ title: 'Next', scheduled_at: new Date(Date.now() + HOUR + 1_000).toISOString() })
    await until('all are reminded', () => [a, b, e].every((socket) => saidOf(socket, 'event:reminder').length === 1))
    t.match((await admin.post(`${EVENTS}/${show.id}/stop`)).body, { status: 'ended', peak_viewers: 2 })
    await until('its end is told', () => told(a, 'event:changed')?.change === 'stopped')
    t.match(await watch(b), { error: { code: 'event_over' } })
  },
)

t.test('scans are taken at gateways, and told to the member wherever they are', async (t) => {
  const [dan, codes] = [await signUp(site, 'dan'), await activeCodes(admin, 3)]
  const readers = [first, second, site].map((at) => new Reader(t, at, '/', dan.token).connected())
  const [f, s, e] = await Promise.all(readers)
  const submit = (code = '', idempotency_key = code) => f?.socket.emitWithAck('scan:submit', { code, idempotency_key })
  const answer = await submit(codes[0])
  t.match(answer, { success: true, scan: { id: String } })
  t.same(await submit(codes[0]), answer, 'a repeat with one key has the one outcome')
  t.match(await submit(codes[0], 'other'), { error: { code: 'code_already_scanned' } })
  t.match(await submit('nonsense'), { error: { code: 'code_malformed' } })
  for (const code of codes.slice(1)) await dan.scan(code)
  for (const each of [f, s, e]) await until('all is told', () => each?.saidOf('scan:accepted').length === 3)
  t.same(f?.shown, e?.shown, 'the same streams, numbered alike')
  t.same(s?.shown, e?.shown)
  t.same(
    [f, s, e].map((each) => each?.wrong),
    [[], [], []],
  )
})

t.test('rights and sessions end on every gateway at once', async (t) => {
  const cat = await signUp(site, 'cat')
  await setTier(cat, 'high_roller')
  const lounge = 'high-roller-lounge'
  const c = await new Listener(t, second.url, cat.token, lounge).joined()
  const a = await new Listener(t, first.url, ann.token, lounge).joined()
  await setTier(cat, 'standard')
  await until('she is out', () => c.saidOf('channel:closed').length > 0)
  t.match(c.saidOf('channel:closed'), [{ channel: lounge, code: 'not_readable' }])
  t.match(await a.say(`after ${extra++}`), { id: String })
  t.match(await c.socket.emitWithAck('join', { channel: lounge }), { error: { code: 'tier_too_low' } })
  t.same(textsOf(c), [])
  const plain = await connectSocket(t, second, '/social/ws', cat.token)
  t.equal((await cat.post('/v1/auth/logout')).status, 200)
  await until('her sockets are closed', () => !plain.connected)
  t.match(saidOf(plain, 'session:ended'), [{ code: String }])
  t.match(await refusalOf(first, cat.token), { code: 'session_ended' })
})

t.test('X1 a gateway is killed: its clients go on at another one with exactly what they missed', async (t) => {
  const dying = await Gateway.started(t, redis.url)
  await dying.ready()
  const before = await new Listener(t, dying.url, ben.token, 'crypto').joined()
  const steady = await new Listener(t, second.url, ben.token, 'crypto').joined()
  for (const text of numbered('before', 3)) await post('crypto', text)
  await until('all is heard', () => before.heard.length === 3)
  await dying.end('SIGKILL')
  for (const text of numbered('missed', 4)) await post('crypto', text)
  const after = await new Listener(t, first.url, ben.token, 'crypto', before.position).joined()
  t.same(textsOf(after), numbered('missed', 4))
  t.equal(after.resyncs, 0)
  await post('crypto', 'live')
  await until('it goes on', () => after.heard.length === 5 && steady.heard.length === 8)
  t.same([...before.wrong, ...after.wrong, ...steady.wrong], [])
})

t.test('X1 a gateway is killed: streams and the feed go on at another one with exactly what was missed', async (t) => {
  const dying = await Gateway.started(t, redis.url)
  await dying.ready()
  const eve = await signUp(site, 'eve')
  const codes = await activeCodes(admin, 8)
  const scan = async (count: number) => {
    for (const code of codes.splice(0, count)) await eve.scan(code)
  }
  const before = await new Reader(t, dying, '/', eve.token).connected()
  const feedBefore = await new Reader(t, dying, '/insights/live').connected()
  const whole = await new Reader(t, site, '/', eve.token).connected()
  await scan(2)
  await until('all is told', () => before.shown.length === 2)
  await dying.end('SIGKILL')
  await scan(4)
  await until('the engine told it', () => whole.shown.length === 6)
  const after = await new Reader(t, first, '/', eve.token).connected()
  const resumed = await after.socket.emitWithAck('resume', before.position)
  t.same(
    resumed.events.map(({ data }: Told) => data),
    whole.shown.slice(2),
    'four events, and no resync',
  )
  const begins = async (at: { url: string }) => {
    const { told } = await new Reader(t, at, '/insights/live').connected()
    const { recent, at: _, scans_per_minute: __, ...rest } = told[0]?.data ?? {}
    return { ...rest, recent: recent.scans.reduce((sum: number, scans: number) => sum + scans, 0) }
  }
  await until('dashboards begin alike everywhere', async () => {
    const [here, ...others] = await Promise.all([first, second, site].map(begins))
    return others.every((other) => isDeepStrictEqual(other, here))
  })
  const feed = await new Reader(t, first, '/insights/live').connected()
  const missed = await feed.socket.emitWithAck('resume', feedBefore.position)
  t.equal(missed.events.length, missed.offset - feedBefore.position.offset, 'the feed has no resync, either')
  await scan(2)
  await until('it goes on', () => [after, whole].every((each) => each.shown.at(-1)?.quarter_scans === 8))
  t.same(
    [before, feedBefore, whole, after, feed].flatMap(({ wrong }) => wrong),
    [],
  )
})

t.test('dashboards at a gateway: numbers move for everybody, velocity and treasury for members', async (t) => {
  const codes = await activeCodes(admin, 2)
  const publicly = await new Reader(t, first, '/insights/live').connected()
  const member = await new Reader(t, second, '/insights/live', ann.token).connected()
  const engine = await new Reader(t, site, '/insights/live').connected()
  for (const code of codes) await ann.scan(code)
  const all = [publicly, member, engine]
  const counter = (each: Reader) => each.saidOf('counter').at(-1)
  await until('the counter arrives', () => all.every((each) => counter(each)?.value === counter(engine)?.value))
  const scans = (each: Reader) => each.shown.reduce((sum, { count = 0 }) => sum + count, 0)
  await until('the feed is told alike', () => all.every((each) => scans(each) === scans(engine)))
  await until('members see more', () => member.saidOf('velocity').length > 1 && member.saidOf('treasury').length > 0)
  t.same([...publicly.saidOf('velocity'), ...engine.saidOf('treasury')], [], 'and nobody else')
  t.same(publicly.shown.at(-1), engine.shown.at(-1))
  t.same(
    all.flatMap(({ wrong }) => wrong),
    [],
  )
})

t.test(
  'X1 Redis is killed and started again: nobody loses the connection, nothing is skipped or told twice',
  async (t) => {
    const a = await new Listener(t, first.url, ann.token, 'feedback').joined()
    const b = await new Listener(t, second.url, ben.token, 'feedback').joined()
    await post('feedback', 'calm')
    await until('all is heard', () => b.heard.length === 1 && a.heard.length === 1)
    const [fay, codes] = [await signUp(site, 'fay'), await activeCodes(admin, 3)]
    const mine = await new Reader(t, first, '/', fay.token).connected()
    const board = await new Reader(t, second, '/insights/live', ann.token).connected()
    await redis.kill()
    await until('the gateway notices', async () => /Redis/.test(await first.reasons()))
    t.match(await a.say('lost'), { error: { code: 'engine_unavailable', retry_after: 1 } })
    t.match(await mine.socket.emitWithAck('scan:submit', { code: codes[0] }), { error: { code: 'engine_unavailable' } })
    for (const text of numbered('dark', 5)) await post('feedback', text)
    for (const code of codes) await fay.scan(code)
    const engine = await new Reader(t, site, '/insights/live').connected()
    await redis.start()
    const due = ['calm', ...numbered('dark', 5)]
    for (const each of [a, b]) {
      await until('it is made good', () => each.heard.length >= due.length)
      t.same(textsOf(each), due)
      t.same([each.joins, each.wrong], [1, []])
    }
    await until('scans are made good', () => mine.shown.length === 3)
    t.match(
      mine.shown.map(({ offset }) => offset),
      [1, 2, 3],
    )
    const offset = engine.told[0]?.data.offset
    await until('the feed is made good', () => board.position.offset >= offset)
    for (const each of [mine, board]) t.same([each.connects, each.resumes, each.wrong], [1, 0, []])
    await Promise.all([first.ready(), second.ready()])
    t.match(await a.say('lit'), { id: String })
    const metrics = await (await fetch(`${first.url}/metrics`)).text()
    t.match(metrics, /gateway_publishes_under_way 0\n/, 'nothing waits for ever')
    await until('it goes on', () => b.heard.at(-1)?.text === 'lit')
  },
)

t.test('X1 the engine is killed and started again: clients come back with their positions, which hold', async (t) => {
  const a = await new Listener(t, first.url, ann.token, 'general').joined()
  const b = await new Listener(t, second.url, ben.token, 'general').joined()
  const mine = await new Reader(t, first, '/', ben.token).connected()
  const board = await new Reader(t, second, '/insights/live', ann.token).connected()
  const [mineBefore, boardBefore] = [mine.position, board.position]
  await a.say('engine one')
  await until('it is heard', () => b.heard.length === 1)
  await site.kill()
  t.match(await a.say('nobody hears'), { error: { code: String, retry_after: 1 } })
  t.ok(b.socket.connected, 'sockets stay')
  t.match(await refusalOf(second, ben.token), { code: 'engine_unavailable' })
  await site.start({ env: engineEnv })
  await post('general', 'engine two')
  await Promise.all([a.joined(2), b.joined(2)])
  t.match(await b.say('engine three'), { id: String })
  const due = ['engine one', 'engine two', 'engine three']
  for (const each of [a, b]) {
    await until('all is heard', () => each.heard.length >= due.length)
    t.same([textsOf(each), each.resyncs, each.wrong], [due, 0, []])
  }
  await Promise.all([mine.connected(2), board.connected(2)])
  for (const each of [mine, board]) {
    t.equal(each.starts, 2, 'streams of the engine begin anew, and say so')
    t.same(each.wrong, [])
  }
  t.match(await mine.socket.emitWithAck('resume', mineBefore), { resync: true })
  t.match(await board.socket.emitWithAck('resume', boardBefore), { resync: true })
  const [code = ''] = await activeCodes(admin, 1)
  await ben.scan(code)
  await until('they go on', () => mine.shown.length === 1 && board.saidOf('feed').length > 0)
})

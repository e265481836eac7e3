// Hunts, with a real Redis, one engine and gateways as processes: a message skipped or told twice when a gateway, Redis or
// the engine dies; a room, a count or a session that other processes do not know of.
import t from 'tap'
import { Gateway, Listener } from './support/gateways.js'
import { connectSocket, logInAdmin, type Member, saidOf, signUp, type Told } from './support/members.js'
import { RedisServer } from './support/redis.js'
import { Deployment, until } from './support/server.js'

t.setTimeout(120_000)
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

t.test('X3 presence counts members over all processes, and forgets those of one that is gone', async (t) => {
  const third = await Gateway.started(t, redis.url)
  await third.ready()
  const a = await new Listener(t, first.url, ann.token, 'wins').joined()
  await new Listener(t, second.url, ben.token, 'wins').joined()
  await new Listener(t, third.url, ben.token, 'wins').joined()
  const latest = () =>
    a
      .saidOf('presence')
      .filter(({ channel }) => channel === 'wins')
      .at(-1)
  await until('three are counted', () => latest()?.count === 3)
  t.same(new Set(latest()?.sample), new Set(['ann', 'ben']))
  t.equal(await third.end('SIGTERM'), 0, 'it ends in order')
  await until('two are left', () => latest()?.count === 2)
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

t.test(
  'X1 Redis is killed and started again: nobody loses the connection, nothing is skipped or told twice',
  async (t) => {
    const a = await new Listener(t, first.url, ann.token, 'feedback').joined()
    const b = await new Listener(t, second.url, ben.token, 'feedback').joined()
    await post('feedback', 'calm')
    await until('all is heard', () => b.heard.length === 1 && a.heard.length === 1)
    await redis.kill()
    await until('the gateway notices', async () => /Redis/.test(await first.reasons()))
    t.match(await a.say('lost'), { error: { code: 'engine_unavailable', retry_after: 1 } })
    for (const text of numbered('dark', 5)) await post('feedback', text)
    await redis.start()
    const due = ['calm', ...numbered('dark', 5)]
    for (const each of [a, b]) {
      await until('it is made good', () => each.heard.length >= due.length)
      t.same(textsOf(each), due)
      t.same([each.joins, each.wrong], [1, []])
    }
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
})

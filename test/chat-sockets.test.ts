// Hunts, with real clients against the whole server: a message skipped or shown twice, a room somebody has no right to, a
// refusal that still tells others, a position that means something else after a restart.
import assert from 'node:assert/strict'
import { generateSync } from 'otplib'
import { io } from 'socket.io-client'
import t from 'tap'
import { chatCommandSchemas, chatEventSchemas, refusalSchema } from '../gateway/sockets/chat-events.js'
import {
  type Answer,
  connectSocket,
  logInAdmin,
  type Member,
  saidOf,
  signUp,
  type Told,
  type ToldSocket,
} from './support/members.js'
import { adminAccount, Deployment, until } from './support/server.js'

const quiet = { PAYOUTS: 'off', EMOTES: 'off' }
const site = await Deployment.create(t)
await site.start({ env: quiet })
const admin = await logInAdmin(site)
const ann = await signUp(site, 'ann')
const ben = await signUp(site, 'ben')

/** The answer, which is as the AsyncAPI document says. */
async function ask(socket: ToldSocket, event: string, payload: object): Promise<Told> {
  const answer = await socket.emitWithAck(event, payload)
  const described = chatCommandSchemas[event as keyof typeof chatCommandSchemas]
  const schema = answer.error === undefined && described !== undefined ? described.ack : refusalSchema
  assert.deepEqual(schema.parse(answer), answer)
  return answer
}
const sockets: ToldSocket[] = []
async function enter(scope: Parameters<typeof connectSocket>[0], who: { readonly token: string }) {
  const socket = await connectSocket(scope, site, '/social/ws', who.token)
  sockets.push(socket)
  return socket
}
const setTier = (who: Member, tier: string | null) => admin.put(`/v1/admin/users/${who.user.id}`, { tier })
let texts = 0
const unlike = () => `message ${++texts}`
await setTier(ann, 'high_roller')
await setTier(ben, 'high_roller')

async function say(socket: ToldSocket, channel: string, more: object = {}): Promise<Told> {
  const answer = await ask(socket, 'message:send', { channel, text: unlike(), ...more })
  if (answer.error !== undefined) throw new Error(JSON.stringify(answer))
  return answer
}

t.test(
  'X1 what is said is told to all in the channel once, in order, and each event has the next offset',
  async (t) => {
    const [a, b] = await Promise.all([enter(t, ann), enter(t, ben)])
    const at = await ask(a, 'join', { channel: 'general' })
    t.match(at, { channel: 'general', epoch: String, offset: Number, messages: [], unread: 0 })
    await ask(b, 'join', { channel: 'general' })
    const first = await say(a, 'general', { client_id: 'one', text: 'hello @ben' })
    const again = await ask(a, 'message:send', { channel: 'general', client_id: 'one', text: 'hello @ben' })
    t.same(again, first, 'sent twice with one client_id it is posted once')
    const reply = await say(b, 'general', { reply_to: first.id })
    await ask(b, 'message:react', { id: first.id, emoji: '🎉' })
    await ask(b, 'message:react', { id: first.id, emoji: '🎉' })
    await ask(a, 'message:edit', { id: first.id, text: 'hello all' })
    await ask(b, 'message:delete', { id: reply.id })
    await until(
      'all is told',
      () => saidOf(a, 'message:deleted').length === 1 && saidOf(b, 'message:deleted').length === 1,
    )
    for (const socket of [a, b]) {
      const events = socket.told.filter(({ data }) => data.channel === 'general' && data.offset !== undefined)
      const names = ['message:new', 'message:new', 'reaction:changed', 'message:changed', 'message:deleted']
      t.same(
        events.map(({ event }) => event),
        names,
      )
      t.same(
        events.map(({ data }) => data.offset - at.offset),
        [1, 2, 3, 4, 5],
      )
      t.ok(events.every(({ data }) => data.epoch === at.epoch))
    }
    t.match(saidOf(b, 'message:new')[1], { reply_to: { id: first.id, username: 'ann', text: 'hello @ben' } })
    t.match(saidOf(b, 'mention'), [{ id: first.id, because: 'mention', by: { username: 'ann' } }])
    t.match(saidOf(a, 'mention'), [{ id: reply.id, because: 'reply' }])
    t.match(await ask(a, 'read', { channel: 'general', offset: at.offset + 5 }), { unread: 0 })
  },
)

t.test('X1 whoever comes back with a position gets exactly what changed since, as it is now', async (t) => {
  const a = await enter(t, ann)
  const { epoch, offset } = await ask(a, 'join', { channel: 'crypto' })
  const kept = await say(a, 'crypto')
  const edited = await say(a, 'crypto')
  const deleted = await say(a, 'crypto')
  await ask(a, 'message:edit', { id: edited.id, text: 'edited' })
  await ask(a, 'message:delete', { id: deleted.id })
  const b = await enter(t, ben)
  const back = await ask(b, 'join', { channel: 'crypto', epoch, offset })
  t.same(back.resync, undefined)
  t.equal(back.offset, offset + 5)
  t.match(back.messages, [
    { id: kept.id, offset: offset + 1 },
    { id: edited.id, offset: offset + 4, text: 'edited' },
    { id: deleted.id, offset: offset + 5, text: '', deleted_at: String },
  ])
  t.same((await ask(b, 'join', { channel: 'crypto', epoch, offset: back.offset })).messages, [])
  t.match(await ask(b, 'join', { channel: 'crypto', epoch: 'other', offset }), { resync: true })
  t.match(await ask(b, 'join', { channel: 'crypto', epoch, offset: back.offset + 1 }), { resync: true })
})

t.test('BJ-CHAT-10 rights and tier changes move sockets between rooms at once', async (t) => {
  const [a, b] = await Promise.all([enter(t, ann), enter(t, ben)])
  const lounge = 'high-roller-lounge'
  await Promise.all([ask(a, 'join', { channel: lounge }), ask(b, 'join', { channel: lounge })])
  t.match(await ask(b, 'join', { channel: 'whale-room' }), { error: { code: 'tier_too_low' } })
  await setTier(ben, 'standard')
  await until('he is out', () => saidOf(b, 'channel:closed').length > 0)
  t.match(saidOf(b, 'channel:closed'), [{ channel: lounge, code: 'not_readable' }])
  await say(a, lounge)
  await say(a, 'general')
  t.same(saidOf(b, 'message:new'), [], 'and hears nothing more of it')
  t.match(await ask(b, 'message:send', { channel: lounge, text: 'x' }), { error: { code: 'tier_too_low' } })
  t.match(await ask(b, 'join', { channel: lounge }), { error: { code: 'tier_too_low' } })
  await setTier(ben, 'high_roller')
  t.match(await ask(b, 'join', { channel: lounge }), { channel: lounge })
})

t.test('BJ-T17 who is no administrator any more is at once out of what their tier does not open', async (t) => {
  const carl = await signUp(site, 'carl')
  const { secret } = (await admin.post('/v1/users/me/2fa', { password: adminAccount.password })).body
  let step = 0
  /** Each works once; those of the steps before and after are taken too. */
  const withCode = (send: (totp: string) => Promise<Answer>) =>
    until('a code is taken', async () => {
      const next = Math.max(step + 1, Math.floor(Date.now() / 30_000) - 1)
      if ((await send(generateSync({ secret, epoch: next * 30 }))).status !== 200) return false
      step = next
      return true
    })
  await withCode((totp) => admin.post('/v1/users/me/2fa/enable', { totp }))
  await withCode((totp) => admin.post('/v1/admin/administrators', { user_id: carl.user.id, totp }))
  const scheduled = { title: 'Whales', host_name: 'Jack', tier_restriction: 'whale' }
  const { id: event } = (await admin.post('/v1/admin/streaming/events', scheduled)).body
  const c = await enter(t, carl)
  t.match(await ask(c, 'join', { channel: 'general' }), { channel: 'general' })
  t.match(await ask(c, 'join', { channel: 'whale-room' }), { channel: 'whale-room' })
  t.match(await ask(c, 'event:watch', { event }), { event })
  await withCode((totp) => admin.delete(`/v1/admin/administrators/${carl.user.id}`, { totp }))
  await until('he is out', () => saidOf(c, 'channel:closed').length > 0 && saidOf(c, 'event:closed').length > 0)
  t.match(saidOf(c, 'channel:closed'), [{ channel: 'whale-room', code: 'not_readable' }])
  t.match(saidOf(c, 'event:closed'), [{ event, code: 'tier_too_low' }])
})

t.test('a mention in a room that is closed to them is not told, a second connection knows who is there', async (t) => {
  const dora = await signUp(site, 'dora')
  const [a, d] = await Promise.all([enter(t, ann), enter(t, dora)])
  await Promise.all([ask(a, 'join', { channel: 'comps' }), ask(d, 'join', { channel: 'comps' })])
  await say(a, 'high-roller-lounge', { text: 'do not tell @dora' })
  const open = await say(a, 'comps', { text: 'hello @dora' })
  await until('the mention is told', () => saidOf(d, 'mention').length > 0)
  t.match(saidOf(d, 'mention'), [{ id: open.id }])
  const second = await enter(t, dora)
  await ask(second, 'join', { channel: 'comps' })
  await until('it knows', () => saidOf(second, 'presence').length > 0)
  t.match(saidOf(second, 'presence')[0], { channel: 'comps', count: 2, sample: ['ann', 'dora'] })
})

/** Sockets have a pace that requests have not. */
async function chatPost(who: Member, channel: string, text: string): Promise<void> {
  const { status, text: answer } = await who.post(`/v1/social/channels/${channel}/messages`, { text })
  if (status >= 300) throw new Error(answer)
}

t.test('X1 more than fits is a resync of the last messages, without holes', async (t) => {
  const a = await enter(t, ann)
  const { epoch, offset } = await ask(a, 'join', { channel: 'flavor-ideas', limit: 10 })
  const long = (n: number) => `${n} ${'x'.repeat(1_990)}`
  for (let n = 1; n <= 90; n++) await chatPost(ann, 'flavor-ideas', long(n))
  const back = await ask(a, 'join', { channel: 'flavor-ideas', epoch, offset, limit: 100 })
  t.equal(back.resync, true)
  const numbers = back.messages.map(({ number }: Told) => number)
  t.ok(numbers.length > 50 && numbers.length < 90, `${numbers.length} messages`)
  t.same(
    numbers,
    numbers.map((_: number, at: number) => 90 - numbers.length + 1 + at),
  )
})

t.test('X1 those who come back together are told the same, by WebSocket and by polling', async (t) => {
  const a = await enter(t, ann)
  const { epoch, offset } = await ask(a, 'join', { channel: 'general' })
  for (let n = 1; n <= 8; n++) await chatPost(ann, 'general', `${n} ${'ü€🎲'.repeat(150)}`)
  const polling = io(`${site.url}/social/ws`, {
    ...{ forceNew: true, reconnection: false, transports: ['polling'] },
    auth: { token: ben.token },
  })
  t.teardown(() => void polling.disconnect())
  await new Promise<void>((resolve) => polling.once('connect', resolve))
  const others = await Promise.all([enter(t, ben), enter(t, ben), enter(t, ann)])
  const answers: Told[] = []
  for (const socket of [a, ...others, polling, ...others]) {
    answers.push(await ask(socket as ToldSocket, 'join', { channel: 'general', epoch, offset }))
  }
  t.equal(answers[0]?.messages.length, 8)
  const [first, ...rest] = answers.map(({ unread: _, ...answer }) => answer)
  for (const answer of rest) t.same(answer, first)
  const { offset: next } = await say(a, 'general')
  for (const socket of others) {
    await until('it is told', async () => saidOf(socket, 'message:new').some((told) => told.offset === next))
    t.equal(saidOf(socket, 'message:new').filter((told) => told.offset === next).length, 1)
  }
})

t.test('bad input: each its own code, and nothing is told to anybody', async (t) => {
  const [a, b] = await Promise.all([enter(t, ann), enter(t, ben)])
  await Promise.all([ask(a, 'join', { channel: 'feedback' }), ask(b, 'join', { channel: 'feedback' })])
  const elsewhere = await say(a, 'general')
  const send = (more: object) => ask(a, 'message:send', { channel: 'feedback', text: 'hm', ...more })
  const refused: [string, Promise<Told>][] = [
    ['text_too_long', send({ text: 'x'.repeat(2_001) })],
    ['message_empty', send({ text: '  ' })],
    ['channel_unknown', send({ channel: 'nowhere' })],
    [
      'posting_closed',
      Promise.resolve(await ask(await enter(t, ben), 'message:send', { channel: 'announcements', text: 'x' })),
    ],
    ['media_invalid', send({ media: { type: 'gif', url: 'https://giphy.com.evil.example/x.gif' } })],
    ['media_invalid', send({ media: { type: 'gif', url: 'javascript:alert(1)' } })],
    ['reply_elsewhere', send({ reply_to: elsewhere.id })],
    ['message_unknown', send({ reply_to: 'forged' })],
    ['invalid_input', send({ text: 7 })],
    ['emoji_invalid', ask(a, 'message:react', { id: elsewhere.id, emoji: 'no' })],
    ['not_yours', ask(b, 'message:edit', { id: elsewhere.id, text: 'x' })],
    ['not_yours', ask(b, 'message:delete', { id: elsewhere.id })],
    ['not_joined', ask(a, 'typing', { channel: 'wins' })],
    ['unknown_event', ask(a, 'message:shout', {})],
  ]
  for (const [code, answer] of refused) t.match(await answer, { error: { code, message: String } })
  const done = await say(a, 'feedback')
  await until('the last one is told', () => saidOf(b, 'message:new').length > 0)
  t.match(saidOf(b, 'message:new'), [{ id: done.id }])
})

t.test('BJ-CHAT-21, 22: who writes too fast is told how long to wait, and longer each time', async (t) => {
  const cat = await signUp(site, 'cat')
  const b = await enter(t, cat)
  await say(b, 'general')
  const hurried = async () => (await ask(b, 'message:send', { channel: 'general', text: unlike() })).error
  const waits = [await hurried(), await hurried(), await hurried()]
  t.same(
    waits.map(({ code }) => code),
    ['cooldown', 'cooldown', 'cooldown'],
  )
  t.same(
    waits.map(({ retry_after }) => retry_after),
    [2, 4, 8],
  )
  await setTier(cat, 'high_roller')
  await Promise.all(Array.from({ length: 10 }, () => say(b, 'general')))
})

t.test('X1 a server killed with -9 comes back with the same streams', async (t) => {
  const before = await ask(await enter(t, ann), 'join', { channel: 'crypto' })
  const a = await enter(t, ann)
  const said = await say(a, 'crypto')
  await site.kill()
  await site.start({ env: quiet })
  const back = await ask(await enter(t, ann), 'join', { channel: 'crypto', epoch: before.epoch, offset: before.offset })
  t.same(back.resync, undefined)
  t.same(
    back.messages.map(({ id }: Told) => id),
    [said.id],
  )
  t.equal(back.offset, before.offset + 1)
})

t.test('every event that was told is as the AsyncAPI document says', async (t) => {
  const seen = new Set<string>()
  for (const { event, data } of sockets.flatMap(({ told }) => told)) {
    seen.add(event)
    assert.deepEqual(chatEventSchemas[event as keyof typeof chatEventSchemas].parse(data), data)
  }
  const always = ['message:new', 'message:changed', 'message:deleted', 'reaction:changed', 'channel:closed', 'mention']
  for (const event of always) t.ok(seen.has(event), `${event} was told`)
  const { body } = await admin.get('/asyncapi.json')
  t.equal(body.asyncapi, '3.0.0')
  const count = Object.keys(chatEventSchemas).length + Object.keys(chatCommandSchemas).length
  t.equal(Object.keys(body.operations).length, count, 'each event and each command is in it')
  for (const [, path = ''] of JSON.stringify(body).matchAll(/"\$ref":"#\/([^"]+)"/g)) {
    t.ok(
      path.split('/').reduce((at: Told | undefined, step) => at?.[step], body),
      `${path} is there`,
    )
  }
})

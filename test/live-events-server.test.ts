// Hunts, with real clients against the whole server: a watcher who is not told, counted twice or has no right; a reminder
// that does not come; an event, its peak or its place in the archive lost by a server that was killed.
import assert from 'node:assert/strict'
import t from 'tap'
import { liveCommandSchemas, liveEventSchemas } from '../gateway/sockets/live-event-schemas.js'
import { HOUR } from './support/loyalty.js'
import {
  type Client,
  connectSocket,
  logInAdmin,
  saidOf,
  signUp,
  type Told,
  type ToldSocket,
} from './support/members.js'
import { Deployment, until } from './support/server.js'

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

  const [a, b, alone] = [await enter(ann), await enter(ben), await enter(admin)]
  const scheduled_at = new Date(Date.now() + HOUR + 3_000).toISOString()
  const next = await schedule({ title: 'Next', scheduled_at })
  await schedule({ title: 'Next for VIPs', tier_restriction: 'vip', scheduled_at })
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

  await until('all are reminded', () => saidOf(alone, 'event:reminder').length === 2)
  for (const socket of [a, b])
    t.same(
      saidOf(socket, 'event:reminder').map(({ id }) => id),
      [next.id],
    )

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
  t.same(await namesIn(ann, 'schedule'), ['Next', 'Later'], 'a restart keeps what is to come')
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
  for (const { id } of [next, later]) await admin.post(`${EVENTS}/${id}/cancel`)
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

// Hunts, over REST against the whole server and local servers that speak OpenAI, Google and 7TV: a message that its
// author or another member cannot read at once, a page that skips or repeats one, a refusal without its code, a right
// that is not asked for, a moderator's act that leaves no trace, a text that is translated twice or reviewed never.
import t, { type Test } from 'tap'
import { Client, logInAdmin, type Member, newKey, signUp, type Told } from './support/members.js'
import { Deployment, until } from './support/server.js'
import { googleKey, openAiKey, sevenTvEmote, startGoogle, startOpenAi, startSevenTv } from './support/third-party.js'

t.setTimeout(60_000)
const MEMORY_HOLDS = 500
const openAi = await startOpenAi(t)
const google = await startGoogle(t)
const sevenTv = await startSevenTv(t, { global: [sevenTvEmote('KEKW'), sevenTvEmote('Pog')] })
const env = {
  OPENAI_API_KEY: openAiKey,
  OPENAI_BASE_URL: openAi.baseUrl,
  GOOGLE_TRANSLATE_API_KEY: googleKey,
  GOOGLE_TRANSLATE_BASE_URL: google.baseUrl,
  RATE_LIMIT_MEMBER_PER_SECOND: '10000',
  RATE_LIMIT_MEMBER_BURST: '10000',
}
const site = await Deployment.create(t)
await site.start({ env })
const admin = await logInAdmin(site)
const ann = await signUp(site, 'ann')
const ben = await signUp(site, 'ben')
const cy = await signUp(site, 'cyd')
for (const { user } of [ann, ben]) await admin.put(`/v1/admin/users/${user.id}`, { tier: 'high_roller' })

const general = '/v1/social/channels/general/messages'
const on = (id: string, act = '') => `/v1/social/messages/${id}${act}`
const moderated = (id: string, act = '') => `/v1/admin/social/messages/${id}${act}`
let texts = 0
const unlike = () => `message ${++texts}`

async function say(who: Client, body: object = {}, channel = 'general'): Promise<Told> {
  const {
    status,
    body: said,
    text,
  } = await who.post(`/v1/social/channels/${channel}/messages`, {
    text: unlike(),
    ...body,
  })
  if (status !== 201) throw new Error(text)
  return said
}
const page = async (who: Client, channel = 'general', query = '') =>
  (await who.get(`/v1/social/channels/${channel}/messages?${query}`)).body
const read = async (who: Client, id: string, channel = 'general'): Promise<Told | undefined> =>
  (await page(who, channel)).messages.find((each: Told) => each.id === id)
const channelsOf = async (who: Client): Promise<Told[]> =>
  (await who.get('/v1/social/channels')).body.categories.flatMap(({ channels }: Told) => channels)
const channelOf = async (who: Client, id: string) => (await channelsOf(who)).find((each) => each.id === id)
const reportsOn = async (id: string): Promise<Told[]> =>
  (await admin.get('/v1/admin/social/queue?limit=100')).body.reports.filter(({ message }: Told) => message?.id === id)
const actsOn = async (type: string, id: string): Promise<string[]> =>
  (await admin.get(`/v1/admin/audit-log?resource_type=${type}&resource_id=${id}`)).body.entries.map(
    ({ action, by }: Told) => `${action} by ${by === adminId ? 'admin' : by}`,
  )
const adminId = (await admin.get('/v1/users/me')).body.id
const gauge = async (name: string) =>
  Number(new RegExp(`^comptroller_${name} (\\S+)$`, 'm').exec((await admin.get('/metrics')).text)?.[1])

async function refused(t: Test, asked: ReturnType<Client['get']>, status: number, code: string, more: Told = {}) {
  const answer = await asked
  t.match(answer.headers.get('content-type'), /^application\/problem\+json/, code)
  t.match(answer, { status, body: { status, code, ...more } }, code)
}

t.test('BJ-CHAT-01, 10: channels come by category, those of higher tiers to whom they are for', async (t) => {
  const { categories } = (await cy.get('/v1/social/channels')).body
  t.same(
    categories.map(({ name }: Told) => name),
    ['General', 'Comps & Crypto', 'Governance'],
  )
  t.match(categories[0].channels[1], { id: 'general', tier_restriction: 'all', unread: 0, posting: 'members' })
  t.match(await channelOf(ann, 'high-roller-lounge'), { tier_restriction: 'high_roller' })
  t.equal(await channelOf(ann, 'whale-room'), undefined)
  t.match(await channelOf(admin, 'whale-room'), { tier_restriction: 'whale' }, 'moderators see all')
  await refused(t, cy.get('/v1/social/channels/high-roller-lounge/messages'), 403, 'tier_too_low')
  await refused(t, cy.get('/v1/social/channels/high-roller-lounge/pins'), 403, 'tier_too_low')
  const told = await say(ann, {}, 'high-roller-lounge')
  for (const act of ['/react', '/report', '/translate']) {
    const body = { emoji: '🎉', because: 'rude', language: 'es' }
    await refused(t, cy.post(on(told.id, act), body), 403, 'tier_too_low')
  }
})

t.test('BJ-CHAT-02, 03: who writes and who reads see it at once; sent twice it is posted once', async (t) => {
  const body = { text: 'hello @ben', client_id: 'one', language: 'en' }
  const first = await say(ann, body)
  t.same(await say(ann, body), first, 'by client_id')
  await refused(t, ann.post(general, { ...body, text: 'other' }), 409, 'idempotency_conflict')
  const key = newKey()
  const keyed = await ann.post(general, { text: 'keyed' }, { key })
  t.same((await ann.post(general, { text: 'keyed' }, { key })).body, keyed.body, 'by Idempotency-Key')
  for (const reader of [ann, ben]) {
    const { messages, offset } = await page(reader, 'general', 'limit=2')
    t.same(
      messages.map(({ id }: Told) => id),
      [keyed.body.id, first.id],
    )
    t.equal(offset, keyed.body.offset)
  }
  t.match(await read(ben, first.id), {
    ...{ text: 'hello @ben', original_language: 'en', mentions: [ben.user.id], client_id: 'one', number: first.number },
    user: { id: ann.user.id, username: 'ann', tier: 'high_roller' },
  })
  const gif = { type: 'gif', url: 'https://media.giphy.com/media/x/giphy.gif' }
  const { id } = await say(ben, { text: '', media: gif, reply_to: first.id })
  t.match(await read(ann, id), { media_url: gif.url, reply_to: { id: first.id, text: 'hello @ben', username: 'ann' } })
})

t.test('BJ-CHAT-01: unread counts fall only by reading, and not for others', async (t) => {
  const before = (await channelOf(ann, 'feedback'))?.unread
  const said = [await say(ben, {}, 'feedback'), await say(ben, {}, 'feedback'), await say(ben, {}, 'feedback')]
  t.equal((await channelOf(ann, 'feedback'))?.unread, before + 3)
  const readTo = async (body: object) => (await ann.post('/v1/social/channels/feedback/read', body)).body
  t.same(await readTo({ number: said[1]?.number }), { unread: 1 })
  t.same(await readTo({ number: said[0]?.number }), { unread: 1 }, 'never back')
  t.same(await readTo({ offset: said[2]?.offset }), { unread: 0 })
  t.equal((await channelOf(ann, 'feedback'))?.unread, 0)
  t.equal((await channelOf(cy, 'feedback'))?.unread, 3)
  await refused(t, ann.post('/v1/social/channels/feedback/read', {}), 422, 'invalid_input')
})

t.test('pages through memory and Postgres skip nothing and repeat nothing, also what was just deleted', async (t) => {
  const count = MEMORY_HOLDS + 20
  const posted: Told[] = []
  const writer = async (who: Member) => {
    while (posted.length < count) posted.push(await say(who, {}, 'crypto'))
  }
  await Promise.all(Array.from({ length: 24 }, (_, index) => writer(index % 2 === 0 ? ann : ben)))
  const last = Math.max(...posted.map(({ number }) => number))
  const gone = posted.find(({ number }) => number === 7)
  const author = (await ann.delete(on(gone?.id))).status === 200 ? ann : ben
  if (author === ben) t.equal((await ben.delete(on(gone?.id))).status, 200)
  const numbers: number[] = []
  let before: number | null = null
  do {
    const query: string = before === null ? 'limit=90' : `limit=90&before=${before}`
    const told: Told = await page(cy, 'crypto', query)
    numbers.push(...told.messages.map(({ number }: Told) => number))
    before = told.next_before
  } while (before !== null)
  t.same(
    numbers,
    Array.from({ length: last }, (_, index) => last - index).filter((number) => number !== 7),
  )
})

t.test('BJ-CHAT-05, 16: what its author, and only its author, may change', async (t) => {
  const { id } = await say(ann)
  await refused(t, ben.patch(on(id), { text: 'mine' }), 403, 'not_yours')
  await refused(t, ben.delete(on(id)), 403, 'not_yours')
  t.match(await ann.patch(on(id), { text: 'better' }), { status: 200, body: { offset: Number } })
  t.match(await ben.post(on(id, '/react'), { emoji: '🎉' }), { body: { count: 1 } })
  t.match(await ben.post(on(id, '/react'), { emoji: '🎉' }), { body: { count: 1 } }, 'one of each a member')
  t.match(await cy.post(on(id, '/react'), { emoji: '🎉' }), { body: { count: 2 } })
  t.match(await ben.post(on(id, '/react'), { emoji: '🎉', on: false }), { body: { count: 1 } })
  t.match(await read(cy, id), { text: 'better', edited_at: String, reactions: { '🎉': 1 } })
  t.equal((await ann.delete(on(id))).status, 200)
  t.equal(await read(cy, id), undefined)
  await refused(t, ann.patch(on(id), { text: 'again' }), 404, 'message_unknown')
})

t.test('bad input: each has its code, and nothing of it is said', async (t) => {
  const { offset } = await page(ann)
  const { id: elsewhere } = await say(ann, {}, 'comps')
  const bad: [body: object, status: number, code: string][] = [
    [{ text: 'x'.repeat(2_001) }, 422, 'text_too_long'],
    [{ text: ' \u200b ' }, 422, 'message_empty'],
    [{ media: { type: 'gif', url: 'https://evil.example/giphy.com/x.gif' } }, 422, 'media_invalid'],
    [{ text: 'hi', reply_to: elsewhere }, 422, 'reply_elsewhere'],
    [{ text: 'hi', reply_to: 'nothing' }, 404, 'message_unknown'],
    [{ text: 'hi', media: { type: 'film' } }, 422, 'invalid_input'],
    [{ text: 'half \ud83d' }, 422, 'invalid_input'],
  ]
  for (const [body, status, code] of bad) await refused(t, ann.post(general, body), status, code)
  await refused(t, ann.post('/v1/social/channels/nowhere/messages', { text: 'hi' }), 404, 'channel_unknown')
  await refused(t, ann.post('/v1/social/channels/announcements/messages', { text: 'hi' }), 403, 'posting_closed')
  const { id } = await say(cy)
  await refused(t, cy.post(general, { text: unlike() }), 429, 'cooldown', { retry_after: 2 })
  await refused(t, cy.patch(on(id), { text: 'nul \0' }), 422, 'invalid_input')
  await refused(t, ann.post(on(id, '/react'), { emoji: 'no' }), 422, 'emoji_invalid')
  await refused(t, ann.post(on(id, '/report'), { because: ' ' }), 422, 'invalid_input')
  await refused(t, ann.post(on('nothing', '/report'), { because: 'rude' }), 404, 'message_unknown')
  await refused(t, new Client(site).get('/v1/social/channels'), 401, 'unauthorized')
  await refused(t, ann.get(`/v1/social/users/${newKey()}`), 404, 'user_unknown')
  await refused(t, ann.get('/v1/admin/social/queue'), 403, 'admin_only')
  t.equal((await page(ann)).offset, offset + 1)
})

t.test('BJ-CHAT-18: the profile says who somebody is, and nothing private', async (t) => {
  const { body } = await cy.get(`/v1/social/users/${ann.user.id}`)
  t.match(body, { username: 'ann', tier_badge: 'high_roller', total_scans: 0, lifetime_comps: 0, avatar_url: null })
  t.same(
    Object.keys(body).filter((key) => /mail|name$|birth|phone/.test(key)),
    ['username'],
  )
})

t.test(
  'BJ-CHAT-06, BJ-MOD-02, 07: what is reported waits for a moderator, who keeps it or takes it away',
  async (t) => {
    const kept = await say(ann)
    const removed = await say(ann)
    const [first, again] = [
      await ben.post(on(kept.id, '/report'), { because: 'rude' }),
      await ben.post(on(kept.id, '/report'), { because: 'rude!' }),
    ]
    t.match(first, { status: 201, body: { report_id: String } })
    t.same(again.body, first.body, 'one member, one report')
    await cy.post(on(kept.id, '/report'), { because: 'rude' })
    await cy.post(on(removed.id, '/report'), { because: 'spam' })
    await until('all is in the queue', async () => (await reportsOn(removed.id)).length === 1)
    t.match(await reportsOn(kept.id), [
      { reported_by: ben.user.id, because: 'rude', channel: 'general', user_id: ann.user.id, message: { id: kept.id } },
      { reported_by: cy.user.id },
    ])
    t.equal((await admin.post(moderated(kept.id, '/keep'))).status, 200)
    t.equal((await admin.delete(moderated(removed.id))).status, 200)
    await until(
      'both are decided',
      async () => [...(await reportsOn(kept.id)), ...(await reportsOn(removed.id))].length === 0,
    )
    t.equal(await read(ben, removed.id), undefined)
    t.same(await actsOn('message', removed.id), ['chat.reports_closed by admin', 'chat.message_removed by admin'])
    t.same(await actsOn('message', kept.id), ['chat.reports_closed by admin'])
    t.match(await ben.post(`/v1/social/users/${ann.user.id}/report`, { because: 'impostor' }), { status: 201 })
    const reportsOfMembers = async (): Promise<Told[]> => {
      const { body } = await admin.get('/v1/admin/social/queue?limit=100')
      return body.reports.filter(({ message }: Told) => message === null)
    }
    await until('the report of a member is in the queue', async () => (await reportsOfMembers()).length === 1)
    const [{ id, user_id } = {}] = await reportsOfMembers()
    t.equal(user_id, ann.user.id)
    const close = (report: string) => admin.post(`/v1/admin/social/reports/${report}/close`)
    t.equal((await close(id)).status, 200)
    await until('it is closed', async () => (await reportsOfMembers()).length === 0)
    await refused(t, close(id), 404, 'report_unknown')
    t.same(await actsOn('member', ann.user.id), ['chat.report_closed by admin'])
  },
)

t.test('BJ-MOD-01: what the filter flags waits in the queue, the worst is gone; nobody waits for it', async (t) => {
  const { id: flagged } = await say(ann, { text: 'I will kill you' })
  const { id: worst } = await say(ben, { text: 'wipe out all of them' })
  const { id: fine } = await say(ben, { text: 'have a nice day' })
  await until('it is flagged', async () => (await read(cy, flagged))?.moderation_status === 'flagged')
  await until('it is taken away', async () => (await read(cy, worst)) === undefined)
  await until('it is in the queue', async () => (await reportsOn(flagged)).length === 1)
  t.match(await reportsOn(flagged), [{ reported_by: 'filter', because: 'violence 0.96', message: { text: /kill/ } }])
  t.match(await read(cy, fine), { moderation_status: 'approved' })
  await admin.post(moderated(flagged, '/keep'))
  t.match(await read(cy, flagged), { moderation_status: 'approved' })
  await until('the log has it', async () => (await actsOn('message', worst)).includes('chat.message_removed by filter'))
  t.equal(await gauge('moderation_flagged'), 1)
  t.equal(await gauge('moderation_removed'), 1)
  await ann.patch(on(flagged), { text: 'I will kill you all' })
  await until('an edit is reviewed too', async () => (await read(cy, flagged))?.moderation_status === 'flagged')
})

t.test('BJ-CHAT-07, BJ-TRL-02: a message is translated once, however many ask', async (t) => {
  const { id } = await say(ann, { text: 'hola', language: 'es' })
  const askedBefore = google.received.length
  const ask = (who: Client, language = 'en') => who.post(on(id, '/translate'), { language })
  const told = { status: 200, body: { text: 'en: hola', language: 'en', source_language: 'es' } }
  for (const answer of await Promise.all([ask(ben), ask(cy)])) t.match(answer, told)
  t.match(await ask(ann), told)
  t.equal(google.received.length, askedBefore + 1)
  t.match(await ask(ben, 'pt'), { body: { text: 'pt: hola' } })
  await refused(t, ask(ben, 'tlh'), 422, 'language_unsupported', { field: 'language' })
  await ann.patch(on(id), { text: 'hola a todos' })
  t.match(await ask(ben), { body: { text: 'en: hola a todos' } })
  await ann.delete(on(id))
  await refused(t, ask(ben), 404, 'message_unknown')
})

t.test('BJ-MOD-03, 04: who is timed out or banned reads and does not write, until it is lifted', async (t) => {
  const dee = await signUp(site, 'dee')
  const silence = (act: string, body: object = { because: 'spam' }) =>
    admin.post(`/v1/admin/social/users/${dee.user.id}/${act}`, body)
  const { until: end } = (await silence('timeout', { length: '1h', because: 'spam' })).body
  t.ok(Math.abs(Date.parse(end) - Date.now() - 3_600_000) < 60_000)
  await refused(t, dee.post(general, { text: 'hi' }), 403, 'timed_out', { retry_after: Number })
  await refused(t, silence('timeout', { length: '2h', because: 'spam' }), 422, 'invalid_input')
  t.equal((await silence('ban')).status, 200)
  await refused(t, dee.post(general, { text: 'hi' }), 403, 'banned')
  await refused(t, silence('timeout', { length: '7d', because: 'spam' }), 409, 'already_banned')
  t.equal((await silence('lift', {})).status, 200)
  t.equal((await dee.post(general, { text: 'thank you' })).status, 201)
  await refused(t, admin.post(`/v1/admin/social/users/${adminId}/ban`, { because: 'me' }), 409, 'is_moderator')
  await refused(t, admin.post(`/v1/admin/social/users/${newKey()}/ban`, { because: 'who' }), 404, 'user_unknown')
  await refused(t, ann.post(`/v1/admin/social/users/${dee.user.id}/ban`, { because: 'I say so' }), 403, 'admin_only')
  await until('all of it is logged', async () => (await actsOn('member', dee.user.id)).length === 3)
  t.same(await actsOn('member', dee.user.id), [
    'chat.member_lifted by admin',
    'chat.member_banned by admin',
    'chat.member_timed_out by admin',
  ])
  const { silences } = (await admin.get(`/v1/admin/social/users/${dee.user.id}/silences?limit=2`)).body
  t.match(silences, [{ action: 'lifted' }, { action: 'banned', until: null, because: 'spam', by: adminId }])
})

t.test('BJ-MOD-05, 06, BJ-CHAT-04, 11: channels and pins are moderators’', async (t) => {
  const room = { id: 'test-room', name: 'Test', category: 'General', tier_restriction: 'vip', display_order: 3 }
  await refused(t, ann.post('/v1/admin/social/channels', room), 403, 'admin_only')
  const { status, body } = await admin.post('/v1/admin/social/channels', { ...room, modes: { slow_mode_seconds: 30 } })
  t.match({ status, body }, { status: 201, body: { ...room, is_active: true, modes: { slow_mode_seconds: 30 } } })
  await refused(t, admin.post('/v1/admin/social/channels', room), 409, 'channel_exists')
  const { id } = await say(ann, {}, room.id)
  await refused(t, ann.post(`/v1/social/channels/${room.id}/messages`, { text: 'x' }), 429, 'slow_mode')
  const { id: second } = await say(ben, {}, room.id)
  for (const each of [id, second]) t.equal((await admin.post(moderated(each, '/pin'))).status, 200)
  const pins = async (who: Client) => {
    const { messages } = (await who.get(`/v1/social/channels/${room.id}/pins`)).body
    return messages.map((each: Told) => each.id)
  }
  t.same(await pins(ann), [second, id], 'the newest pin first')
  await admin.delete(moderated(id, '/pin'))
  t.same(await pins(ann), [second])
  const edit = (change: object) => admin.put(`/v1/admin/social/channels/${room.id}`, change)
  const yes = true
  t.match(await edit({ name: 'Renamed', modes: { emote_only: yes } }), {
    body: { name: 'Renamed', category: 'General', modes: { emote_only: yes, slow_mode_seconds: 30 } },
  })
  await refused(t, ben.post(`/v1/social/channels/${room.id}/messages`, { text: 'words' }), 403, 'emote_only')
  t.match(await edit({ is_active: false }), { body: { is_active: false } })
  await refused(t, ann.post(`/v1/social/channels/${room.id}/messages`, { text: '🎉' }), 404, 'channel_unknown')
  await refused(t, ann.get(`/v1/social/channels/${room.id}/messages`), 404, 'channel_unknown')
  t.match((await page(admin, room.id)).messages, [{ id: second }, { id }], 'moderators look it up')
  t.equal(await channelOf(ann, room.id), undefined)
  t.match(await channelOf(admin, room.id), { is_active: false })
  await refused(t, edit({ name: 'Again' }), 409, 'channel_archived')
  t.match(await edit({ is_active: true, modes: { emote_only: false } }), { body: { is_active: true } })
})

t.test('word rules hold from the next message on, but for exempt tiers', async (t) => {
  const rules = [
    { id: 'scam', pattern: 'free money', action: 'refuse', exempt_from: 'high_roller' },
    { id: 'doubt', pattern: 'casino*', action: 'flag', exempt_from: null },
  ]
  t.equal((await admin.put('/v1/admin/social/word-rules', { rules })).status, 200)
  t.same((await admin.get('/v1/admin/social/word-rules')).body, { rules })
  const twice = { rules: [rules[0], rules[0]] }
  await refused(t, admin.put('/v1/admin/social/word-rules', twice), 422, 'rule_twice')
  await refused(t, cy.post(general, { text: 'Free  money!' }), 422, 'word_refused')
  t.equal((await ann.post(general, { text: 'Free money!' })).status, 201)
  const { id } = await say(ben, { text: 'Casinos' })
  t.match(await read(cy, id), { moderation_status: 'flagged' })
  await say(ann, { text: 'my casino' })
  const queue = async (query: string) => (await admin.get(`/v1/admin/social/queue?${query}`)).body
  const all: Told[] = await until('both are in the queue', async () => {
    const { reports } = await queue('limit=100')
    return reports.filter(({ because }: Told) => because === 'words').length === 2 && reports
  })
  t.equal((await reportsOn(id)).length, 1)
  const paged: Told[] = []
  let cursor: string | null = null
  do {
    const told: Told = await queue(cursor === null ? 'limit=1' : `limit=1&cursor=${cursor}`)
    paged.push(...told.reports)
    cursor = told.next_cursor
  } while (cursor !== null)
  t.same(paged, all, 'page by page the same')
  await refused(t, admin.get('/v1/admin/social/queue?cursor=x'), 422, 'cursor_invalid')
})

t.test('after a restart all is as it was, and emotes are there', async (t) => {
  const { id } = await say(ann, { text: 'adios' })
  const translate = () => ben.post(on(id, '/translate'), { language: 'en' })
  await translate()
  const sql = await site.database(t)
  await until('the translation is kept', async () => {
    return (await sql`select 1 from social_message_translations where message_id = ${id}`).length
  })
  await sql.end()
  const [before, unread] = [await page(ann), (await channelOf(cy, 'feedback'))?.unread]
  const asked = google.received.length
  const queued = (await admin.get('/v1/admin/social/queue?limit=100')).body.reports
  t.match(await site.stop(), { code: 0 })
  await site.start({ env: { ...env, EMOTES: '7tv', SEVENTV_API_BASE_URL: sevenTv.baseUrl } })
  t.same(await page(ann), before)
  t.equal((await channelOf(cy, 'feedback'))?.unread, unread)
  t.match(await translate(), { body: { text: 'en: adios' } })
  t.equal(google.received.length, asked, 'translated before')
  await until('the emotes are loaded', async () => (await gauge('emotes_emotes')) === 2)
  const { headers, body } = await cy.get('/v1/social/emotes')
  t.match(body, { emotes: [{ code: 'KEKW', url: 'https://cdn.7tv.app/emote/01KEKW/2x.webp' }, { code: 'Pog' }] })
  t.match(headers.get('cache-control'), /max-age=300/)
  const emote = (code: string) => ann.post(general, { media: { type: 'emote', code } })
  await refused(t, emote('NoSuch'), 422, 'emote_unknown')
  t.equal((await emote('KEKW')).status, 201)
  await until('what was written last is reviewed once more', async () => (await gauge('moderation_reviewed')) > 10)
  const again = (await admin.get('/v1/admin/social/queue?limit=100')).body.reports
  t.same(again, queued, 'and judged no second time')
})

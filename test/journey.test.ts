// Hunts, against the whole server: an ordinal given twice, a prize won twice or by the wrong one, an answer that differs
// when it is asked for again, a scan its member cannot see at once, a number that differs between what people are told.
import t from 'tap'
import { isAlive } from '../persistence/postgres/postmaster.js'
import {
  activeCodes,
  batchOf,
  Client,
  codesOf,
  connectSocket,
  generateBatch,
  importCodes,
  logInAdmin,
  type Member,
  newKey,
  requestsMade,
  saidOf,
  signUp,
  signUpMany,
  type Told,
} from './support/members.js'
import { Deployment, until } from './support/server.js'

const CODE = /^[A-HJ-NP-Z2-9]{4}(-[A-HJ-NP-Z2-9]{4}){2}$/
const VIPS = 50
const SCANS_BY_VIPS = 500

const site = await Deployment.started(t)
const admin = await logInAdmin(site)
/** Every accepted scan as it was answered, with who made it and with what. */
const accepted: { readonly by: string; readonly code: string; readonly body: Told }[] = []

async function scan(member: Member, code: string): Promise<Told> {
  const body = await member.scan(code)
  accepted.push({ by: member.user.id, code, body })
  return body
}
const newest = async (member: Member, limit = 1) =>
  (await member.get(`/v1/scans/recent?limit=${limit}`)).body.scans.map(({ id }: Told) => id)

t.test('BJ-QR-01, 02, 04, 05, 06, 09, 10, 11: a batch is generated in the background and exported', async (t) => {
  const quantity = 100_000
  const order = { name: '=Run "1", Reno', quantity, product_sku: 'MINT-ICE-6MG' }
  const key = newKey()
  const { status, body } = await admin.post('/v1/admin/qr/generate', order, { key })
  t.same({ status, body }, { status: 202, body: { batch_id: 1, code_count: quantity } })
  const early = await admin.post('/v1/admin/qr/export', { batch_id: 1 })
  t.match(early, { status: 409, body: { code: 'batch_incomplete' } })
  t.match(await batchOf(admin, 1), { status: 'generating', code_count: quantity, exported_at: null })
  let progress = 0
  await until('the batch is complete', async () => {
    const batch = await batchOf(admin, 1)
    t.ok(batch.progress >= progress, 'progress never goes back')
    progress = batch.progress
    return batch.status === 'complete'
  })
  t.match(await batchOf(admin, 1), { generated_count: quantity, progress: 1, codes: { generated: quantity } })
  t.same(
    (await admin.post('/v1/admin/qr/generate', order, { key })).body,
    body,
    'repeated with its key: no second batch',
  )
  t.match(await admin.get('/v1/admin/qr/batches?status=generating'), { body: { batches: [] } })

  const { headers, text } = await admin.post('/v1/admin/qr/export', { batch_id: 1 })
  t.match(headers.get('content-type'), /^text\/csv/)
  t.match(headers.get('content-disposition'), /filename="blakjaks_codes_\d{8}_\d{6}\.csv"/)
  const [head, ...lines] = text.trimEnd().split('\n')
  t.equal(head, 'code,batch_id,batch_name,generated_at')
  t.match(lines[0], /^[A-Z2-9-]{14},1,"'=Run ""1"", Reno",\d{4}-\d\d-\d\dT[\d:.]+Z$/, 'no formula for a spreadsheet')
  const codes = new Set(lines.map((line) => line.slice(0, 14)))
  t.equal(codes.size, quantity)
  t.ok([...codes].every((code) => CODE.test(code)))
  await until('the export is on record', async () => (await batchOf(admin, 1)).exported_at)
  const unknown = { ...order, product_sku: 'PLUM-1MG' }
  t.match(await admin.post('/v1/admin/qr/generate', unknown), { status: 422, body: { code: 'sku_unknown' } })
  t.match(await admin.post('/v1/admin/qr/export', { batch_id: 99 }), { status: 404, body: { code: 'batch_unknown' } })
})

t.test('BJ-QR-07, 08, 12: what the manufacturer reports becomes active, once', async (t) => {
  const [one = '', two = '', three = '', spoilt = ''] = await codesOf(admin, await generateBatch(admin, 4))
  const csv = ['\ufeff"code",lot', `${one},7`, `${two.toLowerCase()},7`, `${one},8`, 'AAAA-AAAA-AAAA,7', 'O0O0,7'].join(
    '\r\n',
  )
  const report = () => admin.post('/v1/admin/qr/import-feedback', csv, { contentType: 'text/csv' })
  t.same((await report()).body, { manufactured: 2, already: 1, unknown: 1, invalid: 1 })
  t.same((await report()).body, { manufactured: 0, already: 3, unknown: 1, invalid: 1 }, 'repeating it is harmless')
  const headless = await admin.post('/v1/admin/qr/import-feedback', `kode\n${three}\n`, { contentType: 'text/csv' })
  t.match(headless, { status: 422, body: { code: 'csv_invalid' } })
  const { body: invalidated } = await admin.post('/v1/admin/qr/invalidate', { codes: [spoilt, 'nonsense'] })
  t.same(invalidated, { changed: 1, already: 0, unknown: 0, invalid: 1 })
  await admin.post('/v1/admin/qr/invalidate', { codes: [two] })
  await admin.post('/v1/admin/qr/reuse', { codes: [two] })
  await until('the history of the code is written behind', async () => {
    const { body } = await admin.get(`/v1/admin/qr/codes/${two}`)
    const events = body.history.map(({ event }: Told) => event).join(' ')
    return body.status === 'generated' && events === 'generated manufactured invalidated generated'
  })
  t.match(await admin.get('/v1/admin/qr/codes/AAAA-AAAA-AAAA'), { status: 404, body: { code: 'code_unknown' } })
})

t.test('BJ-SCAN-01, 03, 07, 08, BJ-FRD-03: the answer to a scan, and every refusal', async (t) => {
  const [good = '', other = '', ...inactive] = await codesOf(admin, await generateBatch(admin, 4))
  await importCodes(admin, [good, other])
  const ann = await signUp(site, 'ann')
  const ben = await signUp(site, 'ben')
  const key = newKey()
  const request = { code: good, timestamp: '2020-01-01T00:00:00Z', location: { lat: 39.5, lng: -119.8 } }
  const first = await ann.post('/v1/scans/submit', { ...request, device_id: 'ann-1', method: 'manual' }, { key })
  const now = new Date()
  const progress = {
    current_tier: 'standard',
    current_count: 1,
    next_tier: 'vip',
    next_tier_threshold: 7,
    quarter_label: `Q${Math.floor(now.getUTCMonth() / 3) + 1} ${now.getUTCFullYear()}`,
  }
  t.equal(first.status, 200)
  t.same(first.body, {
    success: true,
    product_name: 'BlakJaks Spearmint',
    usdt_earned: 0,
    tier_multiplier: 1,
    tier_progress: progress,
    comp_earned: null,
    milestone_hit: null,
    scan: { id: first.body.scan.id, ordinal: 1 },
  })
  accepted.push({ by: ann.user.id, code: good, body: first.body })

  const again = await ann.post('/v1/scans/submit', { ...request, device_id: 'ann-1', method: 'manual' }, { key })
  t.same([again.status, again.text], [200, first.text], 'repeated with its key: the same bytes')
  const refuse = async (who: Client, body: object, expected: { status: number; body: object }, sending = {}) => {
    const answer = await who.post('/v1/scans/submit', body, sending)
    t.match(answer, expected, JSON.stringify(body))
    t.match(answer.headers.get('content-type'), 'application/problem+json')
    return answer
  }
  await refuse(ann, { ...request, code: other }, { status: 409, body: { code: 'idempotency_conflict' } }, { key })
  await refuse(ann, { code: good }, { status: 409, body: { code: 'code_already_scanned' } })
  await refuse(ben, { code: good, device_id: 'x' }, { status: 409, body: { code: 'code_already_scanned' } }, { key })
  await refuse(ann, { code: 'O0O0-1111-IIII' }, { status: 400, body: { code: 'code_malformed', field: 'code' } })
  await refuse(ann, { code: 'AAAA-AAAA-AAAA' }, { status: 404, body: { code: 'code_unknown' } })
  await refuse(ann, { code: inactive[0] }, { status: 409, body: { code: 'code_not_active' } })
  await admin.post('/v1/admin/qr/invalidate', { codes: [inactive[1]] })
  await refuse(ann, { code: inactive[1] }, { status: 409, body: { code: 'code_not_active' } })
  await refuse(new Client(site), { code: other }, { status: 401, body: { code: 'unauthorized' } })
  await refuse(new Client(site, 'nonsense'), { code: other }, { status: 401, body: { code: 'unauthorized' } })
  const nowhere = { code: other, location: { lat: 91, lng: 0 } }
  await refuse(ann, nowhere, { status: 422, body: { errors: [{ field: 'location.lat' }] } })
  await admin.put(`/v1/admin/users/${ben.user.id}`, { standing: 'suspended', reason: 'test' })
  await refuse(ben, { code: other }, { status: 403, body: { code: 'account_suspended' } })
  await admin.put(`/v1/admin/users/${ben.user.id}`, { standing: 'active' })
  await refuse(ben, { code: other }, { status: 401, body: { code: 'session_ended' } })
  t.same(await newest(ann, 100), [first.body.scan.id], 'none of it counted')
  await until('the refused attempt of another device is flagged', async () => {
    const { body } = await admin.get(`/v1/admin/scans/flags?user_id=${ben.user.id}`)
    return body.flags.some(({ rule }: Told) => rule === 'several_devices')
  })
})

t.test('BJ-TIER-01, 02, 07, BJ-MID-02, BJ-SCAN-02, BJ-FRD-01: sixty scans of one member', async (t) => {
  const codes = await activeCodes(admin, 61)
  const cat = await signUp(site, 'cat')
  const socket = await connectSocket(t, site, '/', cat.token)
  const own = () => accepted.filter(({ by }) => by === cat.user.id)
  const tiers: string[] = []
  for (const [index, code] of codes.slice(0, 60).entries()) {
    let body: Told
    if (index % 3 > 0) body = await scan(cat, code)
    else {
      body = await socket.emitWithAck('scan:submit', { code, idempotency_key: `socket-${index}` })
      accepted.push({ by: cat.user.id, code, body })
    }
    tiers.push(body.tier_progress.current_tier)
    const ids = await newest(cat)
    if (ids[0] !== body.scan.id) t.fail(`scan ${index + 1} is not the newest right after it was answered`)
  }
  const repeated = { code: codes[0], idempotency_key: 'socket-0' }
  t.same(await socket.emitWithAck('scan:submit', repeated), own()[0]?.body, 'repeated with its key')
  const used = await socket.emitWithAck('scan:submit', { code: codes[1] })
  t.match(used, { error: { code: 'scan_velocity_exceeded', retry_after: Number } })
  const changes = ['standard', 'vip', 'high_roller', 'whale'].map((tier) => [tier, tiers.indexOf(tier) + 1])
  t.same(changes, [
    ['standard', 1],
    ['vip', 7],
    ['high_roller', 15],
    ['whale', 30],
  ])
  t.match((await cat.get('/v1/users/me')).body, { tier: 'whale', member_id: /^BJ-\d{4}-WH$/ })
  t.match((await cat.get('/v1/users/me/stats')).body, { quarter_scans: 60, lifetime_scans: 60 })
  await until('all is told on the socket', () => saidOf(socket, 'scan:accepted').length === 60)
  t.same(
    saidOf(socket, 'tier:changed').map(({ from, to, quarter_scans: scans }) => `${from} ${to} ${scans}`),
    ['standard vip 7', 'vip high_roller 15', 'high_roller whale 30'],
  )

  const [, ...rest] = codes.slice(59)
  const tooMany = await cat.post('/v1/scans/submit', { code: rest[0] })
  t.match(tooMany, { status: 429, body: { code: 'scan_velocity_exceeded' } })
  const retryAfter = Number(tooMany.headers.get('retry-after'))
  t.ok(retryAfter > 3_400 && retryAfter <= 3_600, `until the first is an hour old: ${retryAfter} s`)

  const paged: Told[] = []
  for (let cursor: string | null = ''; cursor !== null; ) {
    const { body } = await cat.get(`/v1/scans/recent?limit=7${cursor && `&cursor=${cursor}`}`)
    paged.push(...body.scans)
    cursor = body.next_cursor
  }
  t.same(
    paged.map(({ id, ordinal, code }) => ({ id, ordinal, code })),
    own()
      .reverse()
      .map(({ code, body }) => ({ ...body.scan, code })),
    'page by page: all of them, newest first, none twice',
  )
})

t.test('BJ-SCAN-11, BJ-AUTH-11: a scan of a referred member is a chip for the referrer', async (t) => {
  const [code = ''] = await activeCodes(admin, 1)
  const dan = await signUp(site, 'dan')
  await scan(await signUp(site, 'eve', { ref: 'DAN' }), code)
  const chipsOf = async () => (await dan.get('/v1/users/me/stats')).body.gold_chips
  t.equal(await until('dan has his chip', chipsOf), 1)
})

t.test('BJ-COMP-01, BJ-SCAN-04, 09, 10, BJ-T04: fifty VIPs at once, and one of them scans the 500th', async (t) => {
  const deposit = { pool: 'member', amount: '150.00', reference: 'wire-1' }
  for (let time = 0; time < 2; time++) t.equal((await admin.post('/v1/admin/treasury/fund', deposit)).status, 200)
  const vips = await signUpMany(site, 'vip', VIPS)
  const codes = await activeCodes(admin, VIPS * 7 + SCANS_BY_VIPS)
  const live = await connectSocket(t, site, '/insights/live')
  await Promise.all(
    vips.map(async (vip) => {
      for (const code of codes.splice(0, 7)) await scan(vip, code)
    }),
  )
  for (const vip of vips) t.match((await vip.get('/v1/users/me')).body, { tier: 'vip' })
  const before = accepted.length
  t.ok(before < 500, 'the 500th is still to come')
  const sockets = await Promise.all(vips.map(({ token }) => connectSocket(t, site, '/', token)))

  const clients = Promise.all(
    vips.map(async (vip) => {
      for (let code = codes.pop(); code !== undefined; code = codes.pop()) {
        const { scan: own } = await scan(vip, code)
        const ids = await newest(vip, 3)
        if (ids[0] !== own.id) t.fail(`scan ${own.ordinal} is not the newest right after it was answered`)
      }
    }),
  )
  while (codes.length > 0) {
    const { status, text } = await admin.get('/readyz')
    if (status !== 200) t.fail(`not ready while it serves: ${text}`)
  }
  await clients
  t.equal(accepted.length, before + SCANS_BY_VIPS)
  const ordinals = accepted.map(({ body }) => body.scan.ordinal).sort((a, b) => a - b)
  t.same(
    ordinals,
    Array.from(accepted.keys(), (index) => index + 1),
    'every ordinal once',
  )

  const winners = accepted.filter(({ body }) => body.comp_earned !== null)
  t.equal(winners.length, 1)
  const [{ by, body } = { by: '', body: {} as Told }] = winners
  const comp = { amount: 100, type: 'crypto', lifetime_comps: 100, wallet_balance: 0, gold_chips: 0 }
  t.match(body, { usdt_earned: 100, milestone_hit: '500th', scan: { ordinal: 500 } })
  t.same(body.comp_earned, comp)
  t.ok(
    accepted.every(({ body }) => body === winners[0]?.body || (body.usdt_earned === 0 && body.milestone_hit === null)),
  )
  await until('every VIP was told of every scan', () =>
    vips.every(({ user }, index) => {
      const expected = accepted.slice(before).filter((one) => one.by === user.id).length
      return saidOf(sockets[index] as never, 'scan:accepted').length === expected
    }),
  )
  for (const [index, socket] of sockets.entries()) {
    const told = saidOf(socket, 'comp:awarded')
    const won = { comp_type: 'crypto_100', amount: 100, ordinal: 500, milestone: '500th', funded: true }
    t.match(told, vips[index]?.user.id === by ? [{ ...won, scan_id: body.scan.id }] : [])
    t.equal(told.length, vips[index]?.user.id === by ? 1 : 0)
  }
  const { body: treasury } = await admin.get('/v1/admin/treasury/pools')
  const open = { waiting: { count: 1, amount: 100 } }
  t.match(treasury.pools[0], { pool: 'member', available: 50, held: 100, paid: 0, open }, 'one deposit, one hold')

  const lastCounter = () => saidOf(live, 'counter').at(-1)
  await until('the live counter has counted every accepted scan', () => lastCounter()?.value === accepted.length)
  const items = await until('the feed has told of the comp', () => {
    const comps = saidOf(live, 'feed').filter(({ kind }) => kind === 'comp')
    return comps.length > 0 ? comps : null
  })
  t.equal(items.length, 1)
  t.same(Object.keys(items[0] ?? {}).sort(), ['amount', 'at', 'comp_type', 'epoch', 'kind', 'offset', 'text'])
  t.match(items[0], { text: 'Someone won $100!', amount: 100, comp_type: 'crypto_100' })
  t.notMatch(JSON.stringify(live.told), new RegExp(`${by}|vip\\d|example|BJ-0`), 'nobody is named in public')
  const { body: unlocks } = await new Client(site).get('/v1/comps/unlocks')
  t.match(unlocks.unlocks[0], { type: 'crypto_100', unlocked: true })
})

t.test('BJ-SCAN-05, BJ-COMP-07, BJ-TIER-06, P1: Postgres says what was answered', async (t) => {
  const sql = await site.database(t)
  await until('Postgres has caught up', async () => {
    const [row] = await sql`select count(*)::int as n from scans`
    return row?.n === accepted.length
  })
  const rows = await sql`
    select ordinal::int, id::text, user_id::text as by, code_text(code) as code, tier, comp_amount::float8 as comp
    from scans order by ordinal`
  const told = [...accepted].sort((a, b) => a.body.scan.ordinal - b.body.scan.ordinal)
  t.same(
    [...rows],
    told.map(({ by, code, body: { scan, tier_progress: progress, comp_earned: comp } }) => ({
      ...scan,
      by,
      code,
      tier: progress.current_tier,
      comp: comp?.amount ?? null,
    })),
  )
  const [first] =
    await sql`select *, host(ip_address) as ip, geolocation[0] as lat, geolocation[1] as lng from scans where ordinal = 1`
  t.match(first, { device_id: 'ann-1', scan_method: 'manual', product_sku: 'SPEARMINT-3MG', ip: '127.0.0.1' })
  t.match(first, { lat: 39.5, lng: -119.8 })
  t.equal(first?.client_at.toISOString(), '2020-01-01T00:00:00.000Z', "the client's clock is stored")
  t.ok(Math.abs(first?.scanned_at - Date.now()) < 600_000, 'and not believed')
  const comps = await sql`select type, amount::float8, status, funded, milestone from comps`
  t.same([...comps], [{ type: 'crypto_100', amount: 100, status: 'pending', funded: true, milestone: '500th' }])
  const [{ n } = { n: 0 }] = await sql`select count(*)::int as n from tier_history where tier = 'vip'`
  t.equal(n, VIPS + 1)
  const [parked] = await sql`select count(*)::int as n from dead_letters`
  t.equal(parked?.n, 0)
})

t.test('BJ-GW-01: what is served is documented, and the operators are served too', async (t) => {
  const anyone = new Client(site)
  const { body: document } = await anyone.get('/openapi.json')
  t.match(document.openapi, /^3\.1/)
  const documented = Object.entries<Told>(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => new RegExp(`^${method.toUpperCase()} ${path.replace(/\{\w+\}/g, '[^/]+')}$`)),
  )
  for (const request of requestsMade)
    t.ok(
      documented.some((pattern) => pattern.test(request)),
      request,
    )
  for (const path of ['/', '/docs']) {
    const page = await anyone.get(path)
    t.match([page.status, page.headers.get('content-type')], [200, /^text\/html/], path)
  }
  for (const path of ['/healthz', '/readyz']) t.same((await anyone.get(path)).body, { status: 'ok' })
  const { text: metrics } = await anyone.get('/metrics')
  t.match(metrics, /^comptroller_shard_durable_seq \d+$/m)
  t.match(metrics, /^comptroller_turn_faults_total 0$|^(?!.*comptroller_turn_faults_total\{)/m)
})

t.test('npm start a second time finds its data, and counting goes on where it stopped', async (t) => {
  const [code = '', another = ''] = await activeCodes(admin, 2)
  const fay = await signUp(site, 'fay')
  const key = newKey()
  const first = await fay.post('/v1/scans/submit', { code }, { key })
  const seen = await fay.get('/v1/scans/recent')
  const refused = await fay.post('/v1/scans/submit', { code }, { key: 'refused' })
  const ending = await site.stop()
  t.equal(ending.code, 0)
  t.notMatch(ending.stdout, /"level":(40|50|60)/, 'no warning and no error in the log')

  await site.start({ npm: true })
  t.equal((await fay.post('/v1/scans/submit', { code }, { key })).text, first.text, 'the same bytes across a restart')
  const again = await fay.post('/v1/scans/submit', { code }, { key: 'refused' })
  t.match(again, { status: 409, body: { code: 'code_already_scanned', detail: refused.body.detail } })
  t.same((await fay.get('/v1/scans/recent')).body, seen.body)
  t.equal((await fay.post('/v1/auth/refresh', { refresh_token: fay.refreshToken })).status, 200)
  const second = await fay.scan(another)
  t.equal(second.scan.ordinal, accepted.length + 2)
  t.match((await (await logInAdmin(site)).get('/v1/users/me')).body, { member_id: 'BJ-0001-ST', is_admin: true })
  const live = await connectSocket(t, site, '/insights/live')
  const snapshot = await until('the page learns where it is', () => saidOf(live, 'snapshot')[0])
  t.equal(snapshot.counter.value, accepted.length + 2)

  const pid = await site.serverPid()
  await site.stop()
  await until('npm was asked to stop, and the server is gone', () => !isAlive(pid))
})

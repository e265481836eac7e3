// Hunts: a refused row that nobody hears of, that takes others with it, that is written twice or over something newer,
// or whose code can be used again; write-behind that stands still and does not say why (P3).
import t, { type Test } from 'tap'
import { packRecord } from '../engine/record.js'
import type { Sql } from '../persistence/postgres/connection.js'
import { activeCodes, type Client, logInAdmin, type Member, signUp } from './support/members.js'
import { open, startOnTemplate } from './support/postgres.js'
import { freshDatabase, freshJournal, recordOf, scanFact, scansOf, startProjector } from './support/projection.js'
import { Deployment, until } from './support/server.js'

t.setTimeout(240_000)

/** Makes Postgres refuse some rows for real. */
const forbid = (sql: Sql, table: string, condition: string) =>
  sql.unsafe(`alter table ${table} add constraint poison check (not (${condition})) not valid`)
const allow = (sql: Sql, table: string) => sql.unsafe(`alter table ${table} drop constraint poison`)

const gauge = async (anyone: Client, name: string) =>
  Number(new RegExp(`^comptroller_${name} (\\S+)$`, 'm').exec((await anyone.get('/metrics')).text)?.[1])

const scansInPostgres = async (sql: Sql) =>
  (await sql`select ordinal::int as n from scans order by 1`).map(({ n }) => n)

t.test('a poison row of a running server, from the refusal to the retry', async (whole) => {
  const t = whole
  const site = await Deployment.started(whole)
  let sql = await site.database(whole)
  let admin = await logInAdmin(site)
  const codes = await activeCodes(admin, 10)
  const [anna, ben] = [await signUp(site, 'anna'), await signUp(site, 'ben')]
  const scan = (member: Member, number: number, device: string) =>
    member.post('/v1/scans/submit', { code: codes[number], device_id: device })
  /** It logs in as the administrator too, which ends their other session. */
  const cli = async (...args: string[]) => {
    const ending = await site.run(['parked', ...args])
    admin = await logInAdmin(site)
    return ending
  }
  const lines = (text: string) =>
    text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))

  await t.test('it is answered like any other, parked, and the rest flows', async (t) => {
    await forbid(sql, 'scans', `device_id = 'poison'`)
    t.equal((await scan(anna, 0, 'phone')).status, 200)
    t.equal((await scan(anna, 1, 'poison')).status, 200)
    t.equal((await scan(ben, 2, 'phone')).status, 200)
    await until('the scans around it are in Postgres', async () => (await scansInPostgres(sql)).length === 2)
    t.same(await scansInPostgres(sql), [1, 3])
  })

  await t.test('an operator cannot overlook it: gauge, log, readiness, API and command line', async (t) => {
    t.equal(await gauge(admin, 'projector_parked_rows'), 1)
    t.match(site.output, /"level":50[^\n]*Postgres refused rows/)
    const ready = await admin.get('/readyz')
    t.equal(ready.status, 200, 'the server serves all the same')
    t.match(ready.body, { status: 'ok', warnings: [/parked: 1/] })
    const { body } = await admin.get('/v1/admin/parked-rows')
    t.match(body, {
      parked_now: 1,
      rows: [{ table: 'scans', kind: 'put', error_code: '23514', error: /poison/, attempts: 0, resolved_at: null }],
      next_cursor: null,
    })
    const listed = await cli('list')
    t.same(lines(listed.stdout), body.rows)
    const shown = await cli('show', String(body.rows[0].id))
    t.match(lines(shown.stdout), [{ row: { ordinal: 2, device_id: 'poison' } }])
  })

  await t.test('only administrators see parked rows or retry them', async (t) => {
    for (const path of ['/v1/admin/parked-rows', '/v1/admin/parked-rows/1'])
      t.match(await anna.get(path), { status: 403, body: { code: 'admin_only' } })
    for (const path of ['/v1/admin/parked-rows/1/retry', '/v1/admin/parked-rows/retry'])
      t.match(await anna.post(path, {}), { status: 403, body: { code: 'admin_only' } })
    t.match(await admin.get('/v1/admin/parked-rows/999'), { status: 404, body: { code: 'parked_row_unknown' } })
    const unknown = await admin.post('/v1/admin/parked-rows/999/retry', {})
    t.match(unknown, { status: 404, body: { code: 'parked_row_unknown' } })
    t.match(await cli('retry'), { code: 1, stderr: /--all/ })
  })

  await t.test('after a crash its code is still used up, and it is still announced', async (t) => {
    await site.kill()
    await site.start()
    sql = await site.database(whole)
    admin = await logInAdmin(site)
    t.match(await scan(ben, 1, 'phone'), { status: 409 })
    t.equal(await gauge(admin, 'projector_parked_rows'), 1)
    t.match(site.output, /rows are parked/)
  })

  await t.test('a retry before the cause is gone leaves it parked and says why', async (t) => {
    const retried = await cli('retry', '--all')
    t.equal(retried.code, 1)
    t.same(lines(retried.stdout), [{ resolved: 0, refused: 1 }])
    const { body } = await admin.get('/v1/admin/parked-rows')
    t.match(body.rows, [{ error_code: '23514', attempts: 1, resolved_at: null }])
    t.match(await cli('retry', String(body.rows[0].id)), { code: 1, stderr: /stays parked.*poison/ })
  })

  await t.test('retried by many at once it is written once, whole, and noted', async (t) => {
    await allow(sql, 'scans')
    const [{ id }] = (await admin.get('/v1/admin/parked-rows')).body.rows
    const retries = Array.from({ length: 5 }, () => admin.post(`/v1/admin/parked-rows/${id}/retry`, {}))
    const answers = await Promise.all(retries)
    t.same(answers.map(({ body }) => body.resolved).sort(), [0, 0, 0, 0, 1])
    t.ok(answers.every(({ status, body }) => status === 200 && body.error === null))
    t.same(await scansInPostgres(sql), [1, 2, 3])
    const listed = await sql`select code_text(code) as code, device_id from scans where ordinal = 2`
    t.same([...listed], [{ code: codes[1], device_id: 'poison' }])
    t.same((await admin.get('/v1/admin/parked-rows')).body, { parked_now: 0, rows: [], next_cursor: null })
    t.equal(await gauge(admin, 'projector_parked_rows'), 0)
    t.same((await admin.get('/readyz')).body, { status: 'ok' })
    const noted = lines((await cli('list', '--resolved')).stdout)
    t.match(noted, [{ id, table: 'scans', attempts: 3, resolved_at: /^\d{4}-/ }])
    t.match((await admin.get(`/v1/admin/parked-rows/${id}`)).body, { row: null }, 'its contents are where they belong')
    t.match(await cli('retry', String(id)), { code: 0, stdout: /"resolved":0/ }, 'repeating it is harmless')
  })

  await t.test('changes of one row wait behind the one refused, and a retry brings them in order', async (t) => {
    const nameOf = async ({ user }: Member) => {
      const [row] = await sql`select full_name, username from users where id = ${user.id}`
      return [row?.full_name, row?.username]
    }
    await forbid(sql, 'users', `full_name = 'Poison'`)
    t.equal((await anna.put('/v1/users/me/profile', { full_name: 'Poison' })).status, 200)
    await until('the first is parked', async () => (await gauge(admin, 'projector_parked_rows')) === 1)
    t.equal((await anna.put('/v1/users/me/profile', { full_name: 'Anna New', username: 'anna_new' })).status, 200)
    t.equal((await ben.put('/v1/users/me/profile', { full_name: 'Ben New' })).status, 200)
    await until('both are dealt with', async () => (await gauge(admin, 'projector_parked_rows')) === 2)
    await until('others flow', async () => (await nameOf(ben))[0] === 'Ben New')
    t.same(await nameOf(anna), ['anna Example', 'anna'])
    t.match((await anna.get('/v1/users/me')).body, { username: 'anna_new' }, 'what is decided is what counts')

    const { rows } = (await admin.get('/v1/admin/parked-rows')).body
    t.match(rows, [{ error_code: '23514' }, { error_code: 'behind' }])
    const early = await admin.post(`/v1/admin/parked-rows/${rows[1].id}/retry`, {})
    t.match(early.body, { resolved: 0, error_code: '23514' }, 'it does not overtake')
    await allow(sql, 'users')
    const retried = await admin.post(`/v1/admin/parked-rows/${rows[1].id}/retry`, {})
    t.match(retried.body, { resolved: 2, error: null })
    t.same(await nameOf(anna), ['Anna New', 'anna_new'])
    t.equal((await anna.put('/v1/users/me/profile', { full_name: 'Anna Last' })).status, 200)
    await until('and then nothing is held any more', async () => (await nameOf(anna))[0] === 'Anna Last')
    t.equal((await site.stop()).code, 0)
  })
})

t.test('what write-behind cannot go past', async (t) => {
  const server = await startOnTemplate(t)
  const operator = open(t, server.url, 1)
  const world = async (test: Test) => {
    const { sql, url } = await freshDatabase(test, operator, server.url)
    const journal = await freshJournal(test)
    const limits = { blockedDelayMs: 20, retryDelayMaxMs: 50 }
    const projected = () => startProjector(test, { url, directory: journal.directory }, limits)
    return { sql, ...journal, projected }
  }
  const markOf = async (sql: Sql) => Number((await sql`select applied_seq from projector_mark`)[0]?.applied_seq)

  await t.test('a record nobody can decode: all before it is written, then it says so and loses nothing', async (t) => {
    const { sql, write, journal, projected } = await world(t)
    await write(scansOf(20))
    journal.append(21, Buffer.from([0xc1, 1, 2, 3]))
    journal.append(22, packRecord(recordOf(22, { facts: [scanFact({ ordinal: 22 })] })))
    await write([{}])
    const { projector, lines } = projected()
    projector.announce(journal.durableSeq)
    await until('it is blocked', () => projector.stats.state === 'blocked')
    t.match(projector.stats, { blockedSeq: 21, lastError: /Record 21 .*cannot be read.*journal inspect --from 21/ })
    t.equal(await markOf(sql), 20)
    t.equal((await scansInPostgres(sql)).length, 20)
    await until('it tries again', () => projector.stats.state === 'blocked')
    const said = lines.filter((line) => line.includes('write-behind is blocked'))
    t.equal(said.length, 1, 'it is logged once, not at every attempt')
    t.match(said[0], /"level":50/)
    const stopped = projector.stop({ drain: true })
    await stopped
    t.equal(await markOf(sql), 20)
    t.equal(await sql`select from dead_letters`.then((rows) => rows.length), 0)
  })

  await t.test('a row starts read back is never parked: it blocks, and passes once Postgres takes it', async (t) => {
    const { sql, write, journal, projected } = await world(t)
    await write(scansOf(30))
    // Every scan changes this image, so only the last record of a batch is known to be refused.
    await forbid(sql, 'actor_images', `actor = 'counter/scans' and seq >= 17`)
    const { projector, applied, lines } = projected()
    projector.announce(journal.durableSeq)
    await until('it is blocked', () => projector.stats.state === 'blocked')
    t.match(projector.stats, { blockedSeq: 17, lastError: /actor_images of record 17.*goes on by itself/s })
    t.equal(await markOf(sql), 16)
    await allow(sql, 'actor_images')
    await applied(30)
    await until('it is well again', () => projector.stats.state === 'ok')
    t.equal(projector.stats.blockedSeq, 0)
    t.match(lines.join(''), /Postgres takes records again/)
    t.equal((await scansInPostgres(sql)).length, 30)
  })

  await t.test('a delta of which no row can be made blocks too', async (t) => {
    const { sql, write, journal, projected } = await world(t)
    await write([
      ...scansOf(5),
      { deltas: [{ table: 'members', delta: { op: 'claim', kind: 'email', member: 1 } }] },
      {},
    ])
    const { projector } = projected()
    projector.announce(journal.durableSeq)
    await until('it is blocked', () => projector.stats.state === 'blocked')
    t.match(projector.stats, { blockedSeq: 6 })
    t.equal(await markOf(sql), 5)
  })

  await t.test('a Postgres out of disk space is waited for, by name', async (t) => {
    const { sql, write, journal, projected } = await world(t)
    await write(scansOf(3))
    await sql.unsafe(`create function full_disk() returns trigger language plpgsql as $$
      begin raise 'could not extend file: No space left on device' using errcode = '53100'; end $$;
      create trigger full_disk before insert on scans for each row execute function full_disk()`)
    const { projector, applied, lines } = projected()
    projector.announce(journal.durableSeq)
    await until('it waits', () => projector.stats.state === 'retrying')
    t.match(projector.stats.lastError, /out of disk space.*Make room/)
    await sql.unsafe('drop trigger full_disk on scans')
    await applied(3)
    t.match(lines.join(''), /Postgres is out of disk space/)
    t.equal(await sql`select from dead_letters`.then((rows) => rows.length), 0)
  })
})

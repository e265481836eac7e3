// The write-behind on a real Postgres and real journal files: what a crash, a repeat, an outage or a bad row must not
// do to the rows (P1, P2, P3).
import { randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import { CodeBook } from '../actors/codes/code-book.js'
import { userCreated } from '../actors/user/facts.js'
import type { Sql } from '../persistence/postgres/connection.js'
import { applyBatch, MarkMovedError } from '../persistence/projector/apply.js'
import { Batch } from '../persistence/projector/batch.js'
import { foldRecord } from '../persistence/projector/fold.js'
import { defaultProjectorLimits } from '../persistence/projector/limits.js'
import { PostgresProjection } from '../persistence/projector/postgres-projection.js'
import { readCheckpoint } from '../persistence/restore/checkpoint.js'
import { restoreCodeBook } from '../persistence/restore/code-book.js'
import { PostgresStore } from '../persistence/store.js'
import { killAndWait, open, startOnTemplate } from './support/postgres.js'
import {
  actorId,
  applyAll,
  codesMade,
  EPOCH,
  freshDatabase,
  freshJournal,
  type Parts,
  recordOf,
  SHARD,
  scanFact,
  scansOf,
  startProjector,
  uuidOf,
} from './support/projection.js'

t.setTimeout(240_000)

/** Everything the projector writes for scans, to compare whole. */
async function contents(sql: Sql) {
  return {
    scans: await sql`select * from scans order by ordinal`,
    images: await sql`select * from actor_images order by actor`,
    mark: await sql`select applied_seq, applied_at_ms from projector_mark`,
  }
}

t.test('write-behind', async (t) => {
  const server = await startOnTemplate(t)
  const admin = open(t, server.url, 1)
  const world = async (test: Test) => {
    const database = await freshDatabase(test, admin, server.url)
    const journal = await freshJournal(test)
    return { ...database, ...journal, place: { url: database.url, directory: journal.directory } }
  }

  await t.test('a batch applied twice changes nothing (P1)', async (t) => {
    const { sql, url } = await world(t)
    const session = await PostgresProjection.open(url, SHARD, defaultProjectorLimits)
    t.teardown(() => session.end())
    const batch = new Batch(await session.readMark())
    for (const [index, parts] of scansOf(20).entries()) foldRecord(SHARD, recordOf(index + 1, parts), batch)
    t.same(await applyBatch(session, batch), { rows: 31, parked: [] })
    const once = await contents(sql)
    await t.rejects(applyBatch(session, batch), MarkMovedError)
    t.same(await contents(sql), once)
    t.equal(once.scans.length, 20)
  })

  await t.test('two projectors on one journal apply every record once (P1)', async (t) => {
    const { sql, write, place, journal } = await world(t)
    await write(scansOf(600))
    const limits = { batchRecordsMax: 7, lingerRecordsMax: 3 }
    const [one, other] = [startProjector(t, place, limits), startProjector(t, place, limits)]
    one.projector.announce(journal.durableSeq)
    other.projector.announce(journal.durableSeq)
    await Promise.all([one.applied(600), other.applied(600)])
    const { scans, images, mark } = await contents(sql)
    t.equal(scans.length, 600)
    t.equal(images.length, 11)
    t.equal(mark[0]?.applied_seq, 600n)
    t.equal(one.projector.stats.parkedRows + other.projector.stats.parkedRows, 0)
  })

  await t.test('a worker killed again and again leaves neither a gap nor a double (P1)', async (t) => {
    const { sql, write, place } = await world(t)
    await write(scansOf(200))
    let kills = 0
    for (let reached = 0; reached < 200; kills++) {
      const { projector, applied } = startProjector(t, place, { batchRecordsMax: 9, lingerRecordsMax: 1 })
      projector.announce(200)
      await applied(Math.min(200, reached + 30))
      await projector.stop({ drain: false })
      const [mark] = await sql`select applied_seq from projector_mark`
      reached = Number(mark?.applied_seq)
      t.equal((await sql`select 1 from scans`).length, reached)
    }
    t.ok(kills > 3)
    const { images } = await contents(sql)
    t.equal(images.find(({ actor }) => actor === 'counter/scans')?.image.toString(), 'counter at 200')
  })

  await t.test('a connection lost in the middle of a transaction is rolled back and done again', async (t) => {
    const { sql, write, place } = await world(t)
    await write(scansOf(50))
    const { projector, applied } = startProjector(t, place)
    await applied(0)
    const asked = sql`select pid from pg_stat_activity where application_name = ${`comptroller projector ${SHARD}`}`
    await sql.begin(async (tx) => {
      await tx`lock table scans in exclusive mode`
      projector.announce(50)
      // The mark has moved inside the transaction, which now waits for our lock.
      const blocked = () => tx`select 1 from pg_locks where relation = 'scans'::regclass and not granted`
      while ((await blocked()).length === 0);
      const [backend] = await asked
      await tx`select pg_terminate_backend(${backend?.pid})`
    })
    await applied(50)
    t.equal((await sql`select 1 from scans`).length, 50)
    t.ok(projector.stats.retries > 0)
    t.equal(projector.stats.state, 'ok')
  })

  await t.test('Postgres killed under load: the projector says so, waits and catches up (P2)', async (t) => {
    const { sql, write, place } = await world(t)
    await write(scansOf(100))
    const { projector, applied, lines } = startProjector(t, place, { batchRecordsMax: 10, lingerRecordsMax: 1 })
    projector.announce(100)
    await applied(20)
    const exit = new Promise((resolve) => server.onExit(resolve))
    await killAndWait(server.pid)
    await write(scansOf(200).slice(100))
    projector.announce(200)
    await exit
    await applied(200)
    t.match(lines.join(''), /Postgres does not take records/)
    t.match(lines.join(''), /Postgres takes records again/)
    t.equal((await sql`select 1 from scans`).length, 200)
  })

  await t.test('a worker that dies is replaced, and its successor goes on (P2)', async (t) => {
    const { sql, write, place } = await world(t)
    await write(scansOf(50))
    const { projector, applied, lines } = startProjector(t, place)
    await applied(0)
    projector.announce(1n as never) // no number: the worker dies of it
    while (!lines.join('').includes('restarting it')) await sql`select 1`
    projector.announce(50)
    await applied(50)
    t.equal((await sql`select 1 from scans`).length, 50)
  })

  await t.test('a stop drains what is durable; the next start has nothing to do', async (t) => {
    const { sql, write, place } = await world(t)
    await write(scansOf(300))
    const { projector } = startProjector(t, place)
    projector.announce(300)
    await projector.stop({ drain: true })
    t.equal(projector.stats.appliedSeq, 300)
    const before = await contents(sql)
    const again = startProjector(t, place)
    again.projector.announce(300)
    await again.applied(300)
    await again.projector.stop({ drain: true })
    t.equal(again.projector.stats.rows, 0)
    t.same(await contents(sql), before)
  })

  await t.test('rows Postgres refuses are parked with their error, and the rest flows (P3)', async (t) => {
    const { sql, write, place } = await world(t)
    const records = scansOf(64)
    records[9] = {
      ...records[9],
      facts: [scanFact({ ordinal: 10, ip: 'not an address', compType: 'x', compAmount: 5n })],
    }
    records[40] = { facts: [scanFact({ ordinal: 41 }), scanFact({ ordinal: 7, codeLo: 9_999 })] }
    records[50] = { ...records[50], facts: [scanFact({ ordinal: 51, codeHi: 'corrupt' })] }
    await write([codesMade(65), ...records])
    const { projector, applied, lines } = startProjector(t, place)
    projector.announce(65)
    await applied(65)
    const parked = await sql`select seq, table_name, error_code, error, row from dead_letters order by seq`
    t.match(parked, [
      { seq: 11n, table_name: 'scans', error_code: '22P02', error: /inet/, row: { ordinal: 10, comp_amount: '5' } },
      { seq: 42n, table_name: 'scans', error_code: '23505', error: /scans_pkey/, row: { ordinal: 7 } },
      { seq: 52n, table_name: 'fact scan.accepted', error_code: 'unreadable', row: { codeHi: 'corrupt' } },
    ])
    t.equal(parked.length, 3)
    t.equal((await sql`select 1 from scans`).length, 62)
    t.equal((await sql`select 1 from actor_images`).length, 11)
    t.equal(projector.stats.parkedRows, 3)
    t.match(lines.join(''), /Postgres refused rows.*not an address|Postgres refused rows/)

    const book = new CodeBook()
    await restoreCodeBook(sql, book)
    t.equal(book.status(10), 'scanned', 'a scan whose row was refused has used up its code')
  })

  await t.test('rows refused only together are written one by one; a key no index can hold is parked', async (t) => {
    const { sql, write, directory, url } = await world(t)
    const id = 'aaaaaaaa-0000-4000-8000-000000000001'
    const created = (userId: string, number: number): Parts => ({
      facts: [userCreated.make({ userId, number, referrerId: null, isAdmin: false })],
    })
    const outcome = { ok: true, reply: null } as const
    const key = randomBytes(6_000).toString('base64')
    await write([
      created(id, 1),
      created(id.toUpperCase(), 2),
      { idempotency: { key, fingerprint: '', outcome, forever: false } },
      { idempotency: { key: 'short', fingerprint: '', outcome, forever: false } },
    ])
    await applyAll({ url, directory, limits: defaultProjectorLimits }, 4)
    t.match(await sql`select id, number from users`, [{ id }])
    t.match(await sql`select seq, error_code, row ->> 'key' as key from dead_letters`, [
      { seq: 3n, error_code: '54000', key },
    ])
    t.match(await sql`select key from idempotency`, [{ key: 'short' }])
  })

  await t.test('a batch writes the last image of an actor, once', async (t) => {
    const { sql, write, directory, url } = await world(t)
    await write(scansOf(40))
    const reports = await applyAll({ url, directory, limits: defaultProjectorLimits }, 40)
    t.match(reports.at(-1), { kind: 'applied', appliedSeq: 40, records: 40, rows: 40 + 10 + 1 })
    const store = new PostgresStore(sql, SHARD)
    const ids = ['counter/scans', `user/${uuidOf(3)}`, 'user/nobody'].map(actorId)
    const loaded = await store.loadImages(ids)
    t.same([...loaded].map(([id, image]) => [id, Buffer.from(image).toString()]).sort(), [
      ['counter/scans', 'counter at 40'],
      [`user/${uuidOf(3)}`, 'user after 33'],
    ])
    const versions = await sql`select xmin from actor_images where actor = 'counter/scans'`
    t.equal(versions.length, 1)
  })

  await t.test('repeats are answered from Postgres; outdated client keys go, natural keys stay', async (t) => {
    const { sql, write, directory, url } = await world(t)
    const outcome = { ok: true, reply: { amount: 10n ** 18n, note: ['ü', null] } } as const
    const remember = (key: string, forever: boolean): Parts => ({
      idempotency: { key, fingerprint: `of ${key}`, outcome, forever },
    })
    await write([
      remember('old', false),
      remember('sale', true),
      {},
      {},
      remember('new', false),
      remember('old', false),
    ])
    const limits = { ...defaultProjectorLimits, idempotencyWindowMs: 2_500, purgeIntervalMs: 0, batchRecordsMax: 5 }
    await applyAll({ url, directory, limits }, 5)
    const store = new PostgresStore(sql, SHARD)
    t.equal(await store.loadOutcome('old'), undefined)
    t.same(await store.loadOutcome('sale'), { fingerprint: 'of sale', at: EPOCH + 2_000, outcome })
    await applyAll({ url, directory, limits }, 6)
    t.match(await store.loadOutcome('old'), { at: EPOCH + 6_000 }, 'a key used again after its window is a new one')
    const window = { idempotencyWindowMs: 60_000, idempotencyEntriesMax: 10 }
    const { idempotency } = await readCheckpoint(sql, SHARD, [], window)
    t.same(
      [...idempotency].map(({ key }) => key),
      ['new', 'old'],
    )
    const few = await readCheckpoint(sql, SHARD, [], { ...window, idempotencyEntriesMax: 0 })
    t.same(
      [...few.idempotency].map(({ key }) => key),
      ['old'],
      'one too many, so that memory knows it forgot some',
    )
  })
})

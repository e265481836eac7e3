// Migrations and locks on a real Postgres: what several processes do at once, and what a failure leaves behind.
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { connectSession, type Sql, waitUntilReady } from '../persistence/postgres/connection.js'
import { acquireShardLock } from '../persistence/postgres/locks.js'
import { migrate } from '../persistence/postgres/migrations.js'
import {
  firstLine,
  killAndWait,
  open,
  READY_WITHIN_MS,
  recordingLog,
  rejectsWithCode,
  silent,
  spawnChild,
  startOnTemplate,
  temporaryFolder,
} from './support/postgres.js'

t.setTimeout(240_000)

t.test('migrations and locks', async (t) => {
  const server = await startOnTemplate(t)
  const admin = open(t, server.url, 1)
  let databases = 0

  async function freshDatabase(test: Test): Promise<{ sql: Sql; url: string; folder: string }> {
    const name = `migrations_${++databases}`
    await admin.unsafe(`create database ${name}`)
    const url = server.url.replace(/[^/]+$/, name)
    return { url, sql: open(test, url, 4), folder: await temporaryFolder(test) }
  }
  const put = (folder: string, files: Record<string, string>) =>
    Promise.all(Object.entries(files).map(([name, text]) => writeFile(join(folder, name), text)))

  await t.test('a shard lock outlives a crash of Postgres, and its loss to another server is reported', async (t) => {
    const { sql, url } = await freshDatabase(t)
    const lock = await acquireShardLock(url, 'blakjaks')
    t.teardown(() => lock.release())
    const exit = new Promise((resolve) => server.onExit(resolve))
    await killAndWait(server.pid)
    await exit
    await waitUntilReady(server.url, READY_WITHIN_MS)
    const holders = () =>
      sql`select pid from pg_locks where locktype = 'advisory' and mode = 'ExclusiveLock' and granted`
    let held = await holders()
    while (held.length === 0) held = await holders()
    await rejectsWithCode(t, acquireShardLock(url, 'blakjaks'), 'shard_locked')

    const rival = connectSession(url, 'rival')
    t.teardown(() => rival.end({ timeout: 1 }))
    const taking = rival`select pg_advisory_lock(hashtextextended('comptroller/shard/blakjaks', 0))`.execute()
    while ((await sql`select 1 from pg_locks where locktype = 'advisory' and not granted`).length === 0);
    await sql`select pg_terminate_backend(${held[0]?.pid})`
    await taking
    t.match(await lock.lost, { code: 'shard_locked' })
  })

  await t.test('files run in order, once, and never change afterwards', async (t) => {
    const { sql, folder } = await freshDatabase(t)
    await put(folder, {
      '0002_b.sql': 'insert into a values (2);',
      '0001_a.sql': 'create table a (id int);\nselect 1;',
    })
    t.same(await migrate(sql, folder, silent), ['0001_a.sql', '0002_b.sql'])
    t.same(await migrate(sql, folder, silent), [])
    await put(folder, {
      '0004_d.sql': 'insert into a values (4)',
      '0001_a.sql': 'create table a (id int);\r\nselect 1;',
    })
    t.same(await migrate(sql, folder, silent), ['0004_d.sql'], 'Windows line ends are no change')
    t.same(await sql`select id from a order by id`, [{ id: 2 }, { id: 4 }])
    t.match(await sql`select * from schema_migrations where version = 4`, [
      { name: 'd', checksum: /^[0-9a-f]{64}$/, applied_at: Date },
    ])
    await put(folder, { '0003_c.sql': 'select 1' })
    await rejectsWithCode(t, migrate(sql, folder, silent), 'migration_out_of_order', /0003_c/)
    await rm(join(folder, '0003_c.sql'))
    await put(folder, { '0002_b.sql': 'insert into a values (3);' })
    await rejectsWithCode(t, migrate(sql, folder, silent), 'migration_changed', /0002_b/)
    await rm(join(folder, '0002_b.sql'))
    const { log, lines } = recordingLog()
    t.same(await migrate(sql, folder, log), [], 'an older program runs on a newer schema')
    t.match(lines.join(), /"versions":\[2\]/, 'and says so')
  })

  await t.test('a file that fails leaves nothing behind, those before it stay', async (t) => {
    const { sql, folder } = await freshDatabase(t)
    const broken = 'create table b (id int);\ninsert into b values (1);\ninsert into nowhere values (1);'
    await put(folder, { '0001_a.sql': 'create table a (id int)', '0002_b.sql': broken })
    await rejectsWithCode(t, migrate(sql, folder, silent), 'migration_failed', /0002_b\.sql:3: .*nowhere/)
    t.same(await sql`select to_regclass('a')::text as a, to_regclass('b')::text as b`, [{ a: 'a', b: null }])
    await put(folder, { '0002_b.sql': 'create table b (id int)' })
    t.same(await migrate(sql, folder, silent), ['0002_b.sql'])
  })

  await t.test(
    'a file that would end its transaction, or with a bad name, is refused before anything runs',
    async (t) => {
      const { sql, folder } = await freshDatabase(t)
      const body = 'create function f() returns int language plpgsql as $$\nbegin\n  return 1;\nend;\n$$;'
      await put(folder, { '0001_a.sql': body, '0002_b.sql': 'select 1;\nCOMMIT;' })
      await rejectsWithCode(t, migrate(sql, folder, silent), 'migration_invalid', /0002_b/)
      t.same(await sql`select to_regclass('schema_migrations')::text as found`, [{ found: null }])
      await rm(join(folder, '0002_b.sql'))
      t.same(await migrate(sql, folder, silent), ['0001_a.sql'], 'the end of a function body is none')
      for (const name of ['0001_again.sql', '2_short.sql']) {
        await put(folder, { [name]: 'select 1' })
        await rejectsWithCode(t, migrate(sql, folder, silent), 'migration_invalid', new RegExp(name))
        await rm(join(folder, name))
      }
    },
  )

  await t.test('runners at the same time apply every file once', async (t) => {
    const { sql, url, folder } = await freshDatabase(t)
    const names = Array.from({ length: 8 }, (_, index) => `000${index + 1}_step.sql`)
    await put(folder, Object.fromEntries(names.map((name, index) => [name, `create table step_${index} (id int)`])))
    const child = spawnChild(
      t,
      `const { connect } = await load('connection.js')
       const { migrate } = await load('migrations.js')
       const sql = connect(${JSON.stringify(url)}, { max: 1, applicationName: 'child' })
       print(await migrate(sql, ${JSON.stringify(folder)}, log))
       await sql.end()
       process.exit()`,
    )
    const runs = await Promise.all([
      migrate(sql, folder, silent),
      migrate(sql, folder, silent),
      firstLine<string[]>(child),
    ])
    t.same(runs.flat().sort(), names)
  })

  await t.test('a table in use makes a migration step back and try again', async (t) => {
    const { sql, folder } = await freshDatabase(t)
    await sql`create table busy (id int)`
    await put(folder, { '0001_busy.sql': 'alter table busy add column name text' })
    let migrating: Promise<string[]> | undefined
    await sql.begin(async (tx) => {
      await tx`select * from busy`
      migrating = migrate(sql, folder, silent)
      const attempts = new Set<string>()
      while (attempts.size < 2) {
        const waiting = await sql<{ xact: string }[]>`
          select xact_start::text as xact from pg_stat_activity
          where wait_event_type = 'Lock' and query like 'alter table busy%'`
        for (const { xact } of waiting) attempts.add(xact)
      }
    })
    t.same(await migrating, ['0001_busy.sql'])
  })

  await t.test('a second server of a shard is refused until the first lets go', async (t) => {
    const { url } = await freshDatabase(t)
    const first = await acquireShardLock(url, 'blakjaks')
    const other = await acquireShardLock(url, 'chat')
    await rejectsWithCode(t, acquireShardLock(url, 'blakjaks'), 'shard_locked', /already runs shard blakjaks/)
    await first.release()
    const second = await acquireShardLock(url, 'blakjaks')
    await Promise.all([second.release(), other.release()])
  })
})

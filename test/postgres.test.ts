// A real Postgres throughout: what may happen to its process, to ours, and to the files both leave behind.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, statSync, watch } from 'node:fs'
import { chmod, chown, cp, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { type Account, defaultAccount, isRoot } from '../persistence/postgres/account.js'
import { locateNativeTree, prepareBinaries } from '../persistence/postgres/binaries.js'
import { readOnLiveConnection, waitUntilReady } from '../persistence/postgres/connection.js'
import { startEmbeddedPostgres } from '../persistence/postgres/embedded.js'
import { isAlive } from '../persistence/postgres/postmaster.js'
import {
  firstLine,
  killAndWait,
  open,
  READY_WITHIN_MS,
  recordingLog,
  rejectsWithCode,
  silent,
  spawnChild,
  start,
  startInChild,
  temporaryFolder,
} from './support/postgres.js'

const NOBODY: Account = { uid: 65534, gid: 65534, name: 'nobody' }
const ownUid = process.getuid?.() ?? 0

// Most tests run one after the other on this data directory, since creating a cluster is what takes time.
t.setTimeout(240_000)
const sharedFolder = await temporaryFolder(t)
const sharedDirectory = join(sharedFolder, 'data')

t.test('a first start creates the database unprivileged, a second finds its rows', async (t) => {
  const dataDirectory = sharedDirectory
  const first = await start(t, dataDirectory)
  t.equal(first.adopted, false)
  const processUid = statSync(`/proc/${first.pid}`, { throwIfNoEntry: false })?.uid ?? statSync(dataDirectory).uid
  if (isRoot()) t.not(processUid, 0, 'Postgres never runs as root')
  else t.equal(processUid, ownUid)
  t.equal(statSync(dataDirectory).mode & 0o777, isRoot() ? 0o711 : 0o700)
  t.equal(statSync(join(dataDirectory, 'postgres.password')).mode & 0o777, 0o600)
  t.match(readdirSync(dataDirectory).sort(), ['postgres', 'postgres.log', 'postgres.password'], 'nothing else is left')

  const sql = open(t, first.url)
  await sql`create table counts (big bigint, at timestamptz)`
  await sql`insert into counts values (${9_007_199_254_740_993n}, ${new Date(0)})`
  const [row] = await sql`select big, at, lower('ÅÄ') as lowered from counts`
  t.same(row, { big: 9_007_199_254_740_993n, at: new Date(0), lowered: 'åä' }, 'bigint is exact, text is Unicode')
  const [set] = await sql`select current_setting('data_checksums') as checksums, current_setting('fsync') as fsync,
    current_setting('synchronous_commit') as commit, current_setting('listen_addresses') as addresses,
    current_setting('unix_socket_directories') as sockets, current_setting('server_encoding') as encoding`
  const safe = { checksums: 'on', fsync: 'on', commit: 'on', addresses: '127.0.0.1', sockets: '', encoding: 'UTF8' }
  t.same(set, safe)
  await first.stop()
  t.equal(isAlive(first.pid), false)

  const second = await start(t, dataDirectory)
  t.equal(second.adopted, false)
  t.same(await open(t, second.url)`select big from counts`, [{ big: 9_007_199_254_740_993n }])
})

t.test('Postgres killed: it is back on the same port with its rows, and a pool goes on', async (t) => {
  const server = await start(t, sharedDirectory)
  const sql = open(t, server.url)
  await sql`create table kept (id int)`
  await sql`insert into kept values (7)`
  for (const round of ['started by us', 'restarted once']) {
    const exit = new Promise<{ pid: number }>((resolve) => server.onExit(resolve))
    const killed = server.pid
    await killAndWait(killed)
    t.equal((await exit).pid, killed, `${round}: its exit is reported`)
    await waitUntilReady(server.url, READY_WITHIN_MS)
    t.same(await sql`select id from kept`, [{ id: 7 }])
    // Postgres answers a moment before our side notices that it does.
    while (server.pid === killed) await waitUntilReady(server.url, READY_WITHIN_MS)
  }
  await server.stop()
  await rejectsWithCode(t, waitUntilReady(server.url, 0), 'postgres_unreachable')
})

t.test('a read is not lost on connections whose backends outlived their Postgres', async (t) => {
  const server = await start(t, sharedDirectory)
  const sql = open(t, server.url, 8)
  const readOfAll = (read: <Rows>(work: () => Promise<Rows>) => Promise<Rows>) =>
    Promise.allSettled(Array.from({ length: 8 }, () => read(async () => await sql`select pg_sleep(0.05)`)))
  await readOfAll((work) => work())
  const control = open(t, server.url, 1)
  const terminateAll = () => control`select pg_terminate_backend(pid) from pg_stat_activity
    where usename = current_user and pid <> pg_backend_pid()`

  const unprotected = readOfAll((work) => work())
  await terminateAll()
  t.ok(
    (await unprotected).some(({ status }) => status === 'rejected'),
    'such a connection fails who uses it',
  )
  const onLive = <Rows>(work: () => Promise<Rows>) => readOnLiveConnection(sql, work)
  await readOfAll(onLive)
  const reads = readOfAll(onLive)
  await terminateAll()
  t.ok(
    (await reads).every(({ status }) => status === 'fulfilled'),
    'who asks again is answered',
  )
})

t.test(
  'sessions ended while they send, again and again: every connection of the pool answers afterwards',
  async (t) => {
    const server = await start(t, sharedDirectory)
    const connections = 8
    const sql = open(t, server.url, connections)
    const killer = open(t, server.url, 1)
    const died: unknown[] = []
    const note = (error: unknown) => died.push(error)
    process.on('uncaughtException', note) // unhandled rejections come here, too
    t.teardown(async () => process.off('uncaughtException', note))
    for (let round = 1; round <= 3; round++) {
      let asking = true
      const askOn = async () => {
        while (asking)
          await readOnLiveConnection(sql, () => sql`select ${['a', String(round)]}::text[]`).catch(() => {})
      }
      const asked = Promise.all(Array.from({ length: 5 * connections }, askOn))
      for (let time = 0; time < 30; time++) {
        await killer`select pg_terminate_backend(pid) from pg_stat_activity
        where application_name = 'comptroller test' and pid <> pg_backend_pid()`
        await readOnLiveConnection(sql, () => sql`select 1`).catch(() => {})
      }
      asking = false
      await asked
      const startedAt = performance.now()
      const answers = await Promise.allSettled(Array.from({ length: connections }, () => sql`select pg_sleep(0.05)`))
      t.same(
        answers.filter(({ status }) => status === 'rejected'),
        [],
        `round ${round}, after ${Math.round(performance.now() - startedAt)} ms`,
      )
    }
    t.same(died, [], 'nothing failed where nobody could catch it')
    const texts = ['plain', 'a "quoted" one', 'back\\slash', 'comma, brace } and\nnew line', '', 'NULL']
    const [row] = await sql`select array_to_json(${texts}::text[]) as texts`
    t.same(row?.texts, texts, 'arrays are sent as they are')
  },
)

t.test('our process killed: the next start adopts the running Postgres and watches over it too', async (t) => {
  const dataDirectory = sharedDirectory
  const child = spawnChild(t, startInChild(dataDirectory))
  const before = await firstLine<{ pid: number; url: string }>(child)
  child.kill('SIGKILL')
  await once(child, 'exit')
  const server = await start(t, dataDirectory)
  t.match(server, { adopted: true, pid: before.pid, url: before.url })

  const exit = new Promise((resolve) => server.onExit(resolve))
  await killAndWait(before.pid)
  await exit
  await waitUntilReady(before.url, READY_WITHIN_MS)
  const revived = server.pid
  await server.stop()
  t.equal(isAlive(revived), false, 'an adopted one is stopped like our own')
})

t.test('two processes on one data directory: the first to stop leaves Postgres to the other', async (t) => {
  const dataDirectory = join(await temporaryFolder(t), 'data')
  const children = [spawnChild(t, startInChild(dataDirectory)), spawnChild(t, startInChild(dataDirectory))]
  const [a, b] = await Promise.all(children.map((child) => firstLine<{ pid: number; url: string }>(child)))
  t.same([a?.pid, a?.url], [b?.pid, b?.url], 'started at once from nothing, they share one Postgres')
  const server = await start(t, dataDirectory)
  t.equal(server.pid, a?.pid)
  for (const child of children) {
    child.stdin?.end()
    await once(child, 'exit')
    t.ok(isAlive(server.pid), 'still ours')
  }
  await server.stop()
  t.equal(isAlive(server.pid), false)
})

t.test('killed in the middle of initdb: the next start begins anew', async (t) => {
  const dataDirectory = join(await temporaryFolder(t), 'data')
  await mkdir(dataDirectory, { mode: 0o711 })
  const initdbAtWork = new Promise<void>((resolve) => {
    const watcher = watch(dataDirectory, () => {
      if (!readdirSync(dataDirectory).some((name) => name.startsWith('postgres.init-'))) return
      watcher.close()
      resolve()
    })
  })
  const child = spawnChild(t, startInChild(dataDirectory))
  await initdbAtWork
  child.kill('SIGKILL')
  await once(child, 'exit')
  t.notOk(existsSync(join(dataDirectory, 'postgres')), 'an incomplete cluster never has the final name')
  const server = await start(t, dataDirectory)
  await waitUntilReady(server.url, READY_WITHIN_MS)
  t.same(readdirSync(dataDirectory).sort(), ['postgres', 'postgres.log', 'postgres.password'])
})

t.test('a pid file left by a crash never blocks the start', async (t) => {
  const dataDirectory = sharedDirectory
  const first = await start(t, dataDirectory)
  const pidFile = join(dataDirectory, 'postgres', 'postmaster.pid')
  const left = await readFile(pidFile, 'utf8')
  const owner = await stat(pidFile)
  await first.stop()
  const stranger = spawn('sleep', ['600'], { stdio: 'ignore', ...(isRoot() ? { uid: owner.uid, gid: owner.gid } : {}) })
  t.teardown(() => stranger.kill())
  for (const [what, text] of [
    ['a number given to another process of the same user', left.replace(/^\d+/, String(stranger.pid))],
    ['no content, as after a power cut', ''],
  ] as const) {
    await writeFile(pidFile, text)
    await chown(pidFile, owner.uid, owner.gid)
    const server = await start(t, dataDirectory)
    t.match(server, { adopted: false }, what)
    await server.stop()
  }
  t.ok(isAlive(stranger.pid ?? 0), 'the other process is left alone')
})

t.test('root with DATA_DIR below a 0700 folder: the cluster goes where its user can reach it', async (t) => {
  if (!isRoot()) return t.pass('concerns root only')
  const { log, lines } = recordingLog()
  const dataDirectory = join(await temporaryFolder(t, 0o700), 'data')
  const first = await start(t, dataDirectory, log)
  const location = (await readFile(join(dataDirectory, 'postgres.location'), 'utf8')).trim()
  t.teardown(async () => {
    const [root, name] = [join(location, '..'), location.split('/').at(-1) ?? location]
    for (const entry of readdirSync(root).filter((found) => found.startsWith(name))) {
      await rm(join(root, entry), { recursive: true, force: true })
    }
  })
  t.match(location, /^\/var\/lib\/comptroller\/[0-9a-f]{16}$/)
  t.equal(statSync(location).mode & 0o777, 0o700)
  t.equal(lines.filter((line) => line.includes(location) && line.includes('cannot use DATA_DIR')).length, 1)
  await open(t, first.url)`create table kept (id int)`
  await first.stop()

  const second = await start(t, dataDirectory)
  t.same(await open(t, second.url)`select * from kept`, [], 'a second start finds it')
  await rm(dataDirectory, { recursive: true })
  const third = await start(t, dataDirectory)
  t.notSame(third.url, second.url)
  await t.rejects(open(t, third.url)`select * from kept`, { code: '42P01' }, 'a deleted DATA_DIR means a fresh start')
  t.equal(isAlive(second.pid), false, 'whose predecessor does not run on')
  await second.stop()
  await third.stop()

  await writeFile(join(dataDirectory, 'postgres.location'), '/nonexistent/cluster')
  const lost = startEmbeddedPostgres({ dataDirectory, log: silent })
  await rejectsWithCode(t, lost, 'postgres_data_missing', /nonexistent/)
})

t.test('existing data that cannot be used is named, never replaced by an empty database', async (t) => {
  const dataDirectory = sharedDirectory
  const again = () => startEmbeddedPostgres({ dataDirectory, log: silent })
  const passwordFile = join(dataDirectory, 'postgres.password')
  const password = await readFile(passwordFile)
  await rm(passwordFile)
  await rejectsWithCode(t, again(), 'postgres_password_missing')
  await writeFile(passwordFile, 'wrong')
  await rejectsWithCode(t, again(), 'postgres_refused')
  await writeFile(passwordFile, password)
  await writeFile(join(dataDirectory, 'postgres', 'PG_VERSION'), '9\n')
  await rejectsWithCode(t, again(), 'postgres_version_mismatch')
  await writeFile(join(dataDirectory, 'postgres', 'PG_VERSION'), '18\n')
  if (isRoot()) {
    await chmod(sharedFolder, 0o700)
    await rejectsWithCode(t, again(), 'postgres_data_unreachable')
    await chmod(sharedFolder, 0o755)
    await chown(join(dataDirectory, 'postgres'), 0, 0)
    t.equal((await start(t, dataDirectory)).adopted, false, 'a copy restored by root is given to its user again')
  }
})

t.test('an ordinary user starts it as himself', async (t) => {
  const home = await temporaryFolder(t)
  if (isRoot()) await chown(home, NOBODY.uid, NOBODY.gid)
  const account = isRoot() ? NOBODY : undefined
  const child = spawnChild(t, startInChild(join(home, 'data')), account, { HOME: home })
  const { pid, uid } = await firstLine<{ pid: number; uid: number }>(child)
  t.equal(uid, isRoot() ? NOBODY.uid : ownUid)
  if (existsSync(`/proc/${pid}`)) t.equal(statSync(`/proc/${pid}`).uid, uid)
  child.stdin?.end()
  t.equal((await once(child, 'exit'))[0], 0)
  t.equal(isAlive(pid), false)
})

t.test('binaries without library links, or below a 0700 home, run from a copy', async (t) => {
  const tree = await locateNativeTree()
  const home = await temporaryFolder(t)
  const copy = { folder: join(home, 'native'), version: tree.version }
  await cp(tree.folder, copy.folder, { recursive: true, verbatimSymlinks: true })
  const links: { target: string }[] = JSON.parse(await readFile(join(tree.folder, 'pg-symlinks.json'), 'utf8'))
  for (const { target } of links) await rm(join(home, target))
  if (!isRoot()) {
    const binaries = await prepareBinaries(copy, undefined, [], silent)
    return t.match(binaries.postgres, copy.folder, 'the links are made')
  }
  const cache = join(home, 'cache')
  await mkdir(cache)
  await chown(cache, NOBODY.uid, NOBODY.gid)
  const child = spawnChild(
    t,
    `const { prepareBinaries } = await load('binaries.js')
     print(await prepareBinaries(${JSON.stringify(copy)}, undefined, [${JSON.stringify(cache)}], log))
     process.exit()`,
    NOBODY,
  )
  t.match(
    (await firstLine<{ postgres: string }>(child)).postgres,
    cache,
    'node_modules is not writable: a copy has them',
  )

  await chmod(copy.folder, 0o700)
  const account = await defaultAccount()
  const shared = join(home, 'shared')
  const attempts = await Promise.all(
    [shared, shared].map((root) => prepareBinaries(copy, account, [cache, root], silent)),
  )
  t.match(attempts[0]?.postgres, shared, 'a cache others can write to is passed over')
  t.same(attempts[0], attempts[1])
  t.equal(readdirSync(shared).length, 1, 'no partial copy is left')
  await rejectsWithCode(t, prepareBinaries(copy, account, [], silent), 'postgres_binaries_unusable')
})

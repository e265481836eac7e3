// Hunts: a disk that fills up and takes what was answered with it; a server that refuses for ever, or one that goes on
// until the disk is really full; an end that does not say what to do (J4, D1, D2, D3).
import { execFile } from 'node:child_process'
import { mkdir, open as openFile, rm, stat, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { z } from 'zod'
import { exitCodeOf } from '../cli/exit-codes.js'
import type { CorePorts } from '../core.js'
import { type Command, defineCommand } from '../engine/command.js'
import { DomainError } from '../engine/errors.js'
import { type DiskLevel, diskFull, nextLevel } from '../persistence/disk-guard.js'
import { JournalFailedError } from '../persistence/journal/failure.js'
import { nodeFiles } from '../persistence/journal/files.js'
import { startServer } from '../server.js'
import { readSettings } from '../settings.js'
import { customer } from './support/bank.js'
import { Campaign } from './support/campaign.js'
import { quiet, startBank } from './support/engine.js'
import { activeCodes, Client, logInAdmin, type Member, newKey, signUp, signUpMany } from './support/members.js'
import { killAndWait, recordingLog, temporaryFolder } from './support/postgres.js'
import { adminAccount, Deployment, until, within } from './support/server.js'

t.setTimeout(240_000)

const MiB = 1024 * 1024
const FREE_MIN = 512 * MiB
/** Between the scans of a client, so that members and codes last until the disk is full. */
const PAUSE_MS = 30

/** A server in this process, whose disk does what the test says. */
async function startWithDisk(test: Test, dataDirectory: string, ports: CorePorts, env: NodeJS.ProcessEnv = {}) {
  const settings = readSettings({
    DATA_DIR: dataDirectory,
    PORT: '0',
    ADMIN_EMAIL: adminAccount.email,
    ADMIN_PASSWORD: adminAccount.password,
    DISK_CHECK_INTERVAL_MS: '5',
    EMOTES: 'off',
    ...env,
  })
  const { log, lines } = recordingLog()
  let failed: (error: Error) => void = () => {}
  const fatal = new Promise<Error>((resolve) => {
    failed = resolve
  })
  const server = await startServer(settings, log, failed, ports)
  let isStopped = false
  const stop = async () => {
    if (!isStopped) await server.stop()
    isStopped = true
  }
  test.teardown(stop)
  return { ...server, lines, fatal, stop }
}

const gauge = async (anyone: Client, name: string) =>
  Number(new RegExp(`^comptroller_${name} (\\S+)$`, 'm').exec((await anyone.get('/metrics')).text)?.[1])

t.test('D1 D2 D3 levels follow the free space, and none flaps', (t) => {
  fc.assert(
    fc.property(fc.array(fc.nat({ max: 200 }), { minLength: 1 }), (course) => {
      let level: DiskLevel = 'ample'
      for (const free of course) {
        const before: DiskLevel = level
        level = nextLevel(before, free, 100)
        if (free < 50) t.equal(level, 'critical')
        else if (free < 100) t.not(level, 'ample')
        if (free >= 125) t.equal(level, 'ample')
        t.equal(nextLevel(level, free, 100), level, 'the same space again changes nothing')
        if (before !== level && level !== 'critical')
          t.not(nextLevel(level, free - 1, 100), before === 'ample' ? 'ample' : before)
      }
    }),
  )
  t.match(diskFull(10 * MiB, FREE_MIN), {
    code: 'disk_full',
    message: /10 MiB.*512 MiB/,
    details: { retryAfterMs: 10_000 },
  })
  t.end()
})

t.test('while inputs are refused messages go on and alarms wait; they ring when there is space', async (t) => {
  const notes: string[] = []
  const note = defineCommand({
    name: 'test.note',
    input: z.object({ text: z.string() }),
    who: 'system',
    actors: () => [],
    handle: (_turn, { text }) => void notes.push(text),
  })
  const plan = defineCommand({
    name: 'test.plan',
    input: z.object({}),
    who: 'system',
    actors: () => [],
    handle: (turn) => {
      turn.setAlarm(customer.ref('ann'), 'later', turn.at + 1_000, note, { text: 'alarm' })
      turn.tell(note, { text: 'message' })
    },
  })
  const rig = await startBank({ more: [note, plan] as readonly Command[] })
  rig.send(plan, {})
  rig.shard.admission.close(() => new DomainError('unavailable', 'disk_full', 'full'))
  await quiet()
  rig.journal.flush()
  t.same(notes, ['message'])
  t.equal(await rig.refusal(rig.bank.open, { name: 'ann' }), 'disk_full')
  rig.world.advance(5_000)
  t.same(notes, ['message'], 'an alarm that came due waits')
  t.same((await rig.portrait()).names, [], 'reads go on')
  rig.shard.admission.open()
  rig.world.advance(0)
  await quiet()
  t.same(notes, ['message', 'alarm'])
  await rig.openAccount('ann')
})

t.test('a disk that gets short: refused cleanly, read on, gone on with by itself', async (t) => {
  let freeBytes = 10 * FREE_MIN
  const space = { freeBytes: async () => freeBytes }
  const dataDirectory = join(await temporaryFolder(t), 'data')
  const server = await startWithDisk(t, dataDirectory, { space })
  const admin = await logInAdmin(server)
  const codes = await activeCodes(admin, 40)
  const member = await signUp(server, 'mia')
  const scan = () => member.post('/v1/scans/submit', { code: codes.pop() }, { key: newKey() })
  t.equal((await scan()).status, 200)
  const gaugeIs = (name: string, value: number) =>
    until(`${name} is ${value}`, async () => (await gauge(admin, name)) === value)
  t.equal(await gauge(admin, 'disk_free_bytes'), freeBytes)
  t.equal(await gauge(admin, 'disk_free_bytes_min'), FREE_MIN)

  await t.test('inputs get 503 with what to do; reads, readiness and metrics go on', async (t) => {
    freeBytes = FREE_MIN - 1
    await gaugeIs('disk_short', 1)
    const refused = await scan()
    t.match(refused, { status: 503, body: { code: 'disk_full', detail: /511 MiB.*idempotency key/, retry_after: 10 } })
    t.equal(refused.headers.get('retry-after'), '10')
    const late = await new Client(server).post('/v1/auth/login', { ...adminAccount, device: 'mobile' })
    t.match(late, { status: 503, body: { code: 'disk_full' } })
    t.equal((await member.get('/v1/users/me')).status, 200)
    t.equal((await member.get('/v1/scans/recent')).body.scans.length, 1)
    t.match(await admin.get('/readyz'), { status: 200, body: { warnings: [/511 MiB/] } })
    t.match(server.lines.join(''), /"level":50[^\n]*disk space is short/)
    t.equal(await gauge(admin, 'projector_paused'), 0, 'what was decided is still written behind')
  })

  await t.test('D3 a little room is not enough; a quarter more than the limit is', async (t) => {
    freeBytes = FREE_MIN * 1.2
    await gaugeIs('disk_free_bytes', freeBytes)
    t.equal((await scan()).status, 503)
    freeBytes = FREE_MIN * 1.25
    await gaugeIs('disk_short', 0)
    t.equal((await scan()).status, 200)
    t.same((await admin.get('/readyz')).body, { status: 'ok' })
  })

  await t.test('D2 shorter still, the embedded Postgres is left alone, and catches up afterwards', async (t) => {
    freeBytes = FREE_MIN / 2 - 1
    await gaugeIs('projector_paused', 1)
    t.match((await admin.get('/readyz')).body.warnings, [/MiB/, /Postgres is not written to/])
    freeBytes = FREE_MIN * 0.6
    await gaugeIs('disk_free_bytes', freeBytes)
    t.equal(await gauge(admin, 'projector_paused'), 1)
    freeBytes = 2 * FREE_MIN
    await gaugeIs('disk_short', 0)
    t.equal((await scan()).status, 200)
    await gaugeIs('shard_lag_records', 0)
    t.equal(await gauge(admin, 'projector_paused'), 0)
  })

  await t.test('a batch of codes under way goes on by itself', async (t) => {
    const body = { name: 'Long', quantity: 60_000, product_sku: 'SPEARMINT-3MG' }
    t.equal((await admin.post('/v1/admin/qr/generate', body)).status, 202)
    freeBytes = FREE_MIN - 1
    await gaugeIs('disk_short', 1)
    t.not(await gauge(admin, 'codes_codes'), 60_040, 'it was caught in the middle')
    freeBytes = 2 * FREE_MIN
    await gaugeIs('codes_codes', 60_040)
  })
})

t.test('a start with too little space is refused before anything is touched', async (t) => {
  const dataDirectory = join(await temporaryFolder(t), 'not', 'yet', 'there')
  const space = { freeBytes: async (path: string) => (await stat(path)) && FREE_MIN - 10 * MiB }
  const refused = startWithDisk(t, dataDirectory, { space })
  await t.rejects(refused, {
    name: 'DiskShortError',
    message: /502 MiB left.*Nothing was touched.*Free at least 1[01] MiB/,
  })
  await t.rejects(stat(dataDirectory), { code: 'ENOENT' })

  const site = await Deployment.create(t)
  const ending = await site.run(['start'], { DISK_FREE_BYTES_MIN: String(2 ** 52) })
  t.equal(ending.code, 74)
  t.match(ending.stderr, /Too little disk space to start.*Free at least/)
  t.notMatch(ending.stderr, / {4}at /, 'no stack')
  await t.rejects(stat(site.dataDirectory), { code: 'ENOENT' })
})

for (const [how, act] of [
  [
    'a write that is refused',
    () => Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' }),
  ],
  ['a write that is cut short', () => 7],
] as const) {
  t.test(`J4 G3 the disk is full all the same, by ${how}: nothing that was answered is lost`, async (t) => {
    let isFull = false
    const journalFiles = {
      ...nodeFiles,
      write: async (fd: number, bytes: Uint8Array, position: number) => {
        if (!isFull) return nodeFiles.write(fd, bytes, position)
        const outcome = act()
        if (typeof outcome !== 'number') throw outcome
        return nodeFiles.write(fd, bytes.subarray(0, outcome), position)
      },
    }
    const dataDirectory = join(await temporaryFolder(t), 'data')
    const server = await startWithDisk(t, dataDirectory, { journalFiles })
    const place = { url: server.url }
    const members = await signUpMany(place, 'full', 6)
    const campaign = new Campaign(members, await activeCodes(await logInAdmin(place), 300))
    const load = campaign.scanUntil(8, () => false)
    await until('the load is on', () => campaign.answered > 50)
    isFull = true
    const error = await within('the server gives up', server.fatal)
    t.ok(error instanceof JournalFailedError)
    t.match(
      error.message,
      /could not be written.*Nothing that was answered is lost.*make room until at least 536870912/s,
    )
    t.equal(exitCodeOf(error), 74)
    await server.stop()
    await load
    t.ok(campaign.unanswered.length > 0)

    const next = await startWithDisk(t, dataDirectory, {})
    place.url = next.url
    await checkCampaign(t, campaign)
  })
}

/** What was answered is there; what was not has one outcome when it is sent again. */
async function checkCampaign(t: Test, campaign: Campaign): Promise<void> {
  const answered = new Set(campaign.answeredBy())
  await campaign.retry()
  t.same(campaign.refusals, {}, 'everything is accepted when it is sent again')
  const all = campaign.answeredBy()
  t.ok([...answered].every((line) => all.includes(line)))
  t.same(
    all.map((line) => Number(line.split(' ')[0])),
    Array.from(all.keys(), (index) => index + 1),
    'ordinals without gap or double',
  )
  t.same(await campaign.askAgain(campaign.attempts), [], 'every answer is the one that was given')
}

t.test('on a file system that really fills up', async (t) => {
  const site = await Deployment.create(t)
  let mounted: string | undefined
  t.teardown(async () => {
    if (mounted === undefined) return
    await site.kill().catch(() => {})
    const postgres = await site.postgres().catch(() => undefined)
    if (postgres !== undefined) await killAndWait(postgres.pid)
    await promisify(execFile)('umount', ['--lazy', mounted])
  })
  await mkdir(site.dataDirectory, { mode: 0o711 })
  const why = await mountSmall(site.dataDirectory)
  if (why !== undefined) {
    t.comment(`NOTE: no small file system can be mounted here (${why}); only the simulated disk above was tested`)
    t.match(why, /\S/)
    return
  }
  mounted = site.dataDirectory
  const filler = join(site.dataDirectory, 'filler')
  const freeMin = 64 * MiB
  const env = { DISK_FREE_BYTES_MIN: String(freeMin), DISK_CHECK_INTERVAL_MS: '20' }
  await site.start({ env })
  let members: Member[] = []
  let campaign = new Campaign([], [])

  await t.test('short of space it refuses, with room again it goes on, and nothing is lost', async (t) => {
    members = await signUpMany(site, 'tmp', 16)
    const admin = await logInAdmin(site)
    campaign = new Campaign(members, await activeCodes(admin, 900))
    const load = campaign.scanUntil(8, () => false, PAUSE_MS)
    await until('the load is on', () => campaign.answered > 40)
    await fill(filler, freeMin * 0.7)
    await within('the load is refused', load)
    t.same(Object.keys(campaign.refusals), ['503 disk_full'])
    t.equal((await admin.get('/v1/users/me')).status, 200)
    t.match((await admin.get('/readyz')).body.warnings, [/MiB of disk space/])
    await rm(filler)
    await until('there is room again', async () => (await gauge(admin, 'disk_short')) === 0)
    await checkCampaign(t, campaign)
    const sql = await site.database(t)
    await until('Postgres has it all', async () => {
      const [row] = await sql`select count(*)::int as n from scans`
      return row?.n === campaign.answered
    })
  })

  await t.test('filled to the brim under a guard that sleeps, it ends with 74 and says what to do', async (t) => {
    await site.stop()
    await site.start({ env: { DISK_FREE_BYTES_MIN: '0' } })
    const before = campaign.answered
    const load = campaign.scanUntil(4, () => false, PAUSE_MS)
    await until('the load is on', () => campaign.answered > before + 20)
    await fill(filler, 0)
    const ending = await site.ended()
    await load
    t.equal(ending.code, 74, site.output)
    t.match(ending.stdout, /"level":60[^\n]*Nothing that was answered is lost/)

    const refused = await site.run(['start'], env)
    t.equal(refused.code, 74)
    t.match(refused.stderr, /Too little disk space to start.*Free at least/)
    await rm(filler)
    await site.start({ env })
    await checkCampaign(t, campaign)
    t.equal((await site.stop()).code, 0)
  })
  await promisify(execFile)('umount', [mounted])
  mounted = undefined
})

/** Undefined when it is done, else why not. */
async function mountSmall(path: string): Promise<string | undefined> {
  if (process.platform !== 'linux') return 'only done on Linux'
  try {
    await promisify(execFile)('mount', ['-t', 'tmpfs', '-o', 'size=320m,mode=0711', 'tmpfs', path])
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message.trim() : String(error)
  }
}

/** Writes a file until no more than `leaveBytes` are free. */
async function fill(path: string, leaveBytes: number): Promise<void> {
  const file = await openFile(path, 'w')
  const block = Buffer.alloc(64 * 1024, 1)
  try {
    for (;;) {
      const { bavail, bsize } = await statfs(path)
      if (bavail * bsize <= leaveBytes) return
      await file.write(block)
    }
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error
  } finally {
    await file.close()
  }
}

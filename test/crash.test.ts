// Hunts: an answer that was given and is gone, an effect nobody was told of that happens twice, an ordinal lost with a
// process, a Postgres whose death is noticed by members, a stop that drops what it had accepted.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Random } from '../engine/simulator/random.js'
import { isAlive } from '../persistence/postgres/postmaster.js'
import { checkPrizes } from './chaos/checks.js'
import { cuttingProxy } from './chaos/cutting-proxy.js'
import { Errands } from './chaos/errands.js'
import { checkLedger, checkTiersSet } from './chaos/ledger-checks.js'
import { Campaign, listedScans } from './support/campaign.js'
import { activeCodes, Client, logInAdmin, signUpMany } from './support/members.js'
import { Deployment, until, within } from './support/server.js'

const CYCLES = 5
const CLIENTS = 16
const SOCKETS = 4

const site = await Deployment.started(t)
const members = await signUpMany(site, 'crash', 60)
let sendings = 0
const everyTenthTwice = () => ++sendings % 10 === 0
const codes = await activeCodes(await logInAdmin(site), 3_400)
const campaign = new Campaign(members, codes, { twice: everyTenthTwice })
const errands = new Errands(site, members.slice(0, 10), new Random(1, 'crash'))
await errands.logIn()

/** Scans over HTTP and sockets, and what an administrator does meanwhile, until the server is gone. */
const loadUntilTheEnd = () =>
  Promise.all([
    campaign.scanUntil(CLIENTS, () => false),
    campaign.scanOnSocketsUntil(SOCKETS, () => false, 60),
    errands.runUntil(() => false),
  ])

/** What the tables say once they say as much as was answered: `ordinal id code`, by ordinal. */
async function rowsInPostgres(t: Test): Promise<string[]> {
  const sql = await site.database(t)
  await until('Postgres has caught up', async () => {
    const [row] = await sql`select count(*)::int as n from scans`
    return row?.n >= campaign.answered
  })
  const [parked] = await sql`select count(*)::int as n from dead_letters`
  t.equal(parked?.n, 0, 'P3: no row was refused')
  const rows = await sql`select ordinal, id, code_text(code) as code from scans order by ordinal`
  return rows.map(({ ordinal, id, code }) => `${ordinal} ${id} ${code}`)
}

/** Every answer is true, in what members see and in Postgres, and ordinals have no gap. */
async function checkEverything(t: Test): Promise<void> {
  const answered = campaign.answeredBy()
  t.same(
    answered.map((line) => Number(line.split(' ')[0])),
    Array.from(answered.keys(), (index) => index + 1),
    'ordinals without gap or double',
  )
  const listed = await Promise.all(members.map(listedScans))
  t.same(
    listed,
    members.map(({ user }) => campaign.answeredBy(user.id)),
    'every member sees exactly the scans that were answered',
  )
  t.same(await rowsInPostgres(t), answered, 'and so does Postgres')
  t.same(campaign.contradictions, [], 'G3: nothing sent twice at once was answered in two ways')
  const sql = await site.database(t)
  await until('everything is in Postgres', async () =>
    /^comptroller_shard_lag_records 0$/m.test((await new Client(site).get('/metrics')).text),
  )
  const problems = [
    ...(await checkPrizes(sql, campaign, errands)),
    ...(await checkLedger(sql, errands)),
    ...(await checkTiersSet(sql, errands)),
  ]
  t.same(problems, [], 'prizes, money and tiers are what the rules and the administrator say')
}

/** Whether what was not answered has an effect or not, asking again gives each exactly one. */
async function retryEverything(t: Test): Promise<void> {
  await campaign.retry()
  t.same(campaign.refusals, {}, 'everything is accepted when it is sent again')
  t.same(await errands.retry(), [], 'and so is what the administrator did')
}

for (let cycle = 1; cycle <= CYCLES; cycle++) {
  const withPostgres = cycle % 2 === 0
  t.test(`J1, G3, T5: kill -9 ${withPostgres ? 'with Postgres' : 'of the server'} under load, ${cycle}`, async (t) => {
    const enough = campaign.answered + 60 + 25 * cycle
    const load = loadUntilTheEnd()
    await until('the load is on', () => campaign.answered >= enough)
    const { pid } = await site.postgres()
    await site.kill()
    if (withPostgres) process.kill(pid, 'SIGKILL')
    await within('the clients notice', load)
    t.ok(campaign.unanswered.length > 0, `${campaign.unanswered.length} requests are without an answer`)
    if (withPostgres) await until('Postgres is gone', () => !isAlive(pid))
    else t.ok(isAlive(pid), 'Postgres is left behind')

    const sample = campaign.attempts.filter(({ answer }) => answer !== undefined).slice(-20)
    await site.start()
    const listed = new Set((await Promise.all(members.map(listedScans))).flat())
    t.same(
      campaign.answeredBy().filter((line) => !listed.has(line)),
      [],
      'every answered scan is there at once',
    )
    await retryEverything(t)
    for (const { member, code, key, answer } of sample) {
      const again = await member.post('/v1/scans/submit', { code }, { key })
      if (again.text !== answer) t.fail(`another answer than before the kill: ${again.text}`)
    }
    await checkEverything(t)
  })
}

t.test('SIGTERM under load: every request is answered or refused, and what was accepted was answered', async (t) => {
  const enough = campaign.answered + 100
  const load = Promise.all([
    campaign.scanUntil(CLIENTS, () => false),
    campaign.scanOnSocketsUntil(8, () => false, 5), // as often as the limit of a socket lets them
  ])
  await until('the load is on', () => campaign.answered >= enough && campaign.told.length > 0)
  const ending = await site.stop()
  await within('the clients notice', load)
  t.equal(ending.code, 0)
  t.ok(ending.tookMs < 5_000, `${Math.round(ending.tookMs)} ms`)
  t.notMatch(ending.stdout, /"level":(50|60)/, 'no error in the log')
  const refused = campaign.unanswered.map(({ refusal }) => refusal)
  const inSoManyWords = ['503 stopping', 'ECONNREFUSED', 'socket stopping', 'socket closed']
  t.same(
    refused.filter((how = '') => !inSoManyWords.includes(how)),
    [],
    `refused in so many words: ${refused}`,
  )
  await site.start()
  t.same(await rowsInPostgres(t), campaign.answeredBy(), 'what was not answered has not happened')
  await retryEverything(t)
  await checkEverything(t)
})

t.test('P2: kill -9 of Postgres under load: scans go on being answered, and it catches up', async (t) => {
  let loading = true
  const load = campaign.scanUntil(4, () => !loading, 10)
  const reader = new Client(site, members[0]?.token)
  for (let time = 1; time <= 3; time++) {
    const before = await site.postgres()
    process.kill(before.pid, 'SIGKILL')
    const answeredBefore = campaign.answered
    const reads = new Set<number>()
    const after = await until('another Postgres is there', async () => {
      reads.add((await reader.get('/v1/scans/recent')).status)
      const found = await site.postgres().catch(() => undefined)
      return found !== undefined && found.pid !== before.pid ? found : undefined
    })
    t.equal(after.port, before.port)
    t.ok(campaign.answered > answeredBefore, `${campaign.answered - answeredBefore} answers meanwhile`)
    t.ok(
      [...reads].every((status) => status === 200 || status === 503),
      `reads were answered ${[...reads]}`,
    )
  }
  loading = false
  await within('the load ends', load)
  t.same(campaign.refusals, {}, 'nobody was refused')
  await until('reads are answered again', async () => (await reader.get('/v1/scans/recent')).status === 200)
  await checkEverything(t)
  const verified = await site.run(['journal', 'verify'])
  t.equal(verified.code, 0, `J2: the journal is whole after all of it: ${verified.stdout}`)
})

/** The moments of a start at which Postgres may die, by a text that is sent then. */
const momentsOfAStart = ['pg_try_advisory_lock', 'schema_migrations', 'directory_members', 'projector_mark', 'commit']

t.test('E1: Postgres dies while the server starts: the start says so and ends, and the next one goes on', async (t) => {
  await site.kill()
  const password = (await readFile(join(site.dataDirectory, 'postgres.password'), 'utf8')).trim()
  const proxy = await cuttingProxy(t, (await site.postgres()).port)
  const env = { DATABASE_URL: `postgres://comptroller:${password}@127.0.0.1:${proxy.port}/comptroller` }
  for (const [index, moment] of momentsOfAStart.entries()) {
    proxy.cutAt(moment, 300)
    const failure = await site.start({ env }).then(
      () => undefined,
      (error: Error) => error.message,
    )
    t.equal(proxy.cuts, index + 1, `${moment} was cut`)
    if (failure === undefined) await site.kill()
    else t.match(failure, /Postgres|database/, `${moment}: ${failure.split('\n').slice(-4).join(' ')}`)
  }
  await site.start()
  await checkEverything(t)
})

t.test('SIGTERM while starting, and twice while serving, is a graceful stop', async (t) => {
  await site.kill()
  for (const step of ['postgres is ready', '"recovered"']) {
    const starting = site.start().catch(() => undefined)
    await until(step, () => site.output.includes(step))
    const ending = await site.stop()
    await starting
    t.equal(ending.code, 0, `at ${step}: ${ending.signal} ${ending.stderr}`)
    t.ok(ending.tookMs < 5_000, `${Math.round(ending.tookMs)} ms`)
  }
  await site.start()
  const load = campaign.scanUntil(4, () => false, 10)
  const [first, second] = await Promise.all([site.stop(), site.stop()])
  t.same([first.code, second.code], [0, 0], first.stderr)
  await within('the clients notice', load)
  await site.start()
  await retryEverything(t)
  await checkEverything(t)
})

/** `npm run bench:day`: a day of everything together, compressed into an hour or less, against one real server. */
import { execFileSync } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { loadavg } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Command } from 'commander'
import { count } from '../cli/options.js'
import { notePausesIn } from './compare/contenders.js'
import { watchingPauses } from './compare/pauses.js'
import { svgOf } from './compare/svg.js'
import { inTemporaryFolder } from './data-folder.js'
import { Audience } from './day/audience.js'
import { check, settle } from './day/checks.js'
import { Crowd } from './day/crowd.js'
import { administrator, claimWallet, Operator } from './day/operator.js'
import { busyness, EVENT_FROM, EVENT_UNTIL, HOURS, MESSAGES_PER_REQUEST, scansOf } from './day/profile.js'
import { Recorder } from './day/recorder.js'
import { type Day, missedOf, pageOf, plotsOf } from './day/report.js'
import { openRequests, type Requests, SCANS_PER_MEMBER_MAX } from './day/requests.js'
import { childNamed, Watch } from './day/watch.js'
import { onPostgres, type RunningPostgres } from './recovery/postgres.js'
import { machine } from './scan/machine.js'
import { runCommand, ServerProcess } from './scan/server-process.js'
import { Mint, packedCodes, someMembers } from './scan/stock.js'

const RESULTS_FOLDER = join('bench', 'results')
const MEMBERS_MIN = 500
const PATIENCE_MS = 180_000
const SAMPLES_PER_HOUR = 2

interface Options {
  readonly minutes: number
  readonly peak: number
  readonly talkers: number
  readonly watchers: number
  readonly members: number
  readonly dashboards: number
  readonly write?: string
}

const options = new Command('bench:day')
  .description('A day of scans, reads, chat, dashboards, a live event and payouts on a local chain, together.')
  .option('--minutes <n>', 'that the day takes', count, 60)
  .option('--peak <n>', 'requests a second in the busiest hour', count, 200)
  .option('--talkers <n>', 'members in one channel, who all write and hear each other', count, 40)
  .option('--watchers <n>', 'of the live event', count, 100)
  .option('--members <n>', 'with their own stream open', count, 200)
  .option('--dashboards <n>', 'with nobody behind them', count, 200)
  .option('--write <folder>', 'where day.md and its plots go')
  .parse()
  .opts<Options>()

const hourMs = (options.minutes * 60_000) / HOURS
const codesWanted = Math.ceil(scansOf(options.peak, hourMs) * 1.05) + 1_000

/** Members and codes for the whole day. */
async function seed(folder: string): Promise<void> {
  const sockets = options.talkers + options.watchers + options.members
  const users = Math.max(MEMBERS_MIN, sockets, Math.ceil(codesWanted / SCANS_PER_MEMBER_MAX))
  await runCommand(folder, ['seed', '--users', String(users), '--codes', String(codesWanted)])
}

/** Tells each hour's traffic to begin when that hour begins, and looks at the server meanwhile. */
async function liveThrough(watch: Watch, requests: Requests, audience: Audience, operator: Operator): Promise<void> {
  const eventId = await operator.scheduleEvent()
  audience.show(eventId)
  await watch.begin()
  const startedAt = performance.now()
  const at = (hour: number) => startedAt + hour * hourMs
  const hours = busyness.map(async (share, hour) => {
    await sleep(at(hour) - performance.now())
    const talking = talk(audience, at(hour), options.peak * share * MESSAGES_PER_REQUEST)
    if (hour === EVENT_FROM) await operator.startEvent(eventId)
    if (hour >= EVENT_FROM && hour < EVENT_UNTIL)
      await operator.announce(eventId, performance.timeOrigin + performance.now())
    if (hour === EVENT_UNTIL) await operator.endEvent(eventId)
    await talking
  })
  const loads = busyness.map(async (share, hour) => {
    await sleep(at(hour) - performance.now())
    await requests.hour(options.peak * share, hourMs)
  })
  const looks = Array.from({ length: HOURS * SAMPLES_PER_HOUR }, async (_, index) => {
    const hour = (index + 1) / SAMPLES_PER_HOUR
    await sleep(at(hour) - performance.now())
    await watch.sample(hour)
  })
  await Promise.all([...hours, ...loads, ...looks])
}

/** An hour of messages at their due times. */
async function talk(audience: Audience, startedAt: number, perSecond: number): Promise<void> {
  const intervalMs = 1_000 / perSecond
  for (let due = startedAt; due < startedAt + hourMs; due += intervalMs) {
    await sleep(Math.max(0, due - performance.now()))
    audience.say(performance.timeOrigin + due)
  }
}

async function oneDay(folder: string, server: ServerProcess, { sql, pid: postgres }: RunningPostgres): Promise<Day> {
  const { url } = server
  const recorder = new Recorder()
  const members = await someMembers(sql, 2 ** 31 - 2)
  const crowd = await Crowd.open(members, await Mint.open(folder), url)
  const operator = new Operator(url)
  await operator.fundPrizes()
  const numbers = members.keys().toArray()
  const talkers = numbers.splice(0, options.talkers)
  await operator.raise(talkers.map((member) => members[member]?.userId ?? ''))
  const audience = new Audience(url, crowd, recorder)
  audience.seatTalkers(talkers)
  audience.seatWatchers(numbers.slice(0, options.watchers))
  audience.seatMembers(numbers.slice(options.watchers, options.watchers + options.members))
  audience.seatDashboards(options.dashboards)
  const winners = new Map<number, Promise<void>>()
  const onWin = (member: number) => {
    if (winners.has(member)) return
    const claimed = claimWallet(url, crowd.token(member)).catch((error: Error) => recorder.count(error.message))
    winners.set(member, claimed)
  }
  const requests = openRequests({ url, crowd, codes: await packedCodes(sql), recorder, onWin })
  const pids = { server: server.pid, postgres, anvil: childNamed(server.pid, 'anvil'), generator: process.pid }
  const watch = new Watch(url, pids, sql, recorder)
  await liveThrough(watch, requests, audience, operator)
  await Promise.all(winners.values())
  const { writtenSeconds, paidSeconds } = await settle(url, sql, PATIENCE_MS)
  audience.close()
  await crowd.close()
  const { accepted: scans, unknown: unknownScans } = requests
  const checks = await check(sql, { scans, unknownScans, messages: audience.acknowledged })
  return {
    ...{ at: new Date().toISOString(), commit: commit(), machine: machine(), loadAverage: loadavg(), options },
    ...{ seeded: members.length, writtenSeconds, paidSeconds, checks },
    ...{ times: recorder.day, counts: recorder.counts, samples: watch.samples },
  }
}

function commit(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim()
  } catch {
    return 'unknown'
  }
}

const day = await inTemporaryFolder(async (folder) => {
  await notePausesIn(join(folder, 'pauses'))
  await seed(folder)
  const account = { ADMIN_EMAIL: administrator.email, ADMIN_PASSWORD: administrator.password }
  const server = await ServerProcess.start(folder, watchingPauses, { ...account, PAYOUTS: 'local-evm' })
  try {
    return await onPostgres(folder, (postgres) => oneDay(folder, server, postgres))
  } finally {
    await server.stop()
  }
})
process.stdout.write(pageOf(day))
await mkdir(RESULTS_FOLDER, { recursive: true })
await writeFile(join(RESULTS_FOLDER, 'day.json'), `${JSON.stringify(day, null, 2)}\n`)
if (options.write !== undefined) {
  await mkdir(options.write, { recursive: true })
  await writeFile(join(options.write, 'day.md'), pageOf(day))
  for (const plot of plotsOf(day)) await writeFile(join(options.write, `day-${plot.file}.svg`), svgOf(plot))
}
if (missedOf(day).length > 0) process.exitCode = 1

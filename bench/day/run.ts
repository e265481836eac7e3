/** A whole day: what there is in the morning, everybody at what they do hour by hour, and the reckoning at night. */
import { mkdir } from 'node:fs/promises'
import { loadavg } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { commit } from '../commit.js'
import { notePausesIn } from '../compare/contenders.js'
import { watchingPauses } from '../compare/pauses.js'
import { onPostgres, type RunningPostgres } from '../recovery/postgres.js'
import { machine } from '../scan/machine.js'
import { runCommand, ServerProcess } from '../scan/server-process.js'
import { Mint, packedCodes, someMembers } from '../scan/stock.js'
import { Audience } from './audience.js'
import { check, settle } from './checks.js'
import { Crowd } from './crowd.js'
import { administrator, claimWallet, Operator } from './operator.js'
import { busyness, EVENT_FROM, EVENT_UNTIL, HOURS, MESSAGES_PER_REQUEST, scansOf } from './profile.js'
import { Recorder } from './recorder.js'
import type { Day, DayPlan } from './report.js'
import { openRequests, type Requests, SCANS_PER_MEMBER_MAX } from './requests.js'
import { childNamed, Watch } from './watch.js'

const PATIENCE_MS = 180_000
const SAMPLES_PER_HOUR = 2
/** The schedule may be a little richer than its average. */
const SPARE_CODES = 1_000

const hourMsOf = ({ minutes }: DayPlan) => (minutes * 60_000) / HOURS
const scansIn = (plan: DayPlan) => scansOf(plan.peak, hourMsOf(plan)) + SPARE_CODES

/** Works in an empty folder; nothing is left running. */
export async function runDay(folder: string, plan: DayPlan): Promise<Day> {
  const pauses = join(folder, 'pauses')
  await mkdir(pauses, { recursive: true })
  await notePausesIn(pauses)
  await seed(folder, plan)
  const account = { ADMIN_EMAIL: administrator.email, ADMIN_PASSWORD: administrator.password }
  const server = await ServerProcess.start(folder, watchingPauses, { ...account, PAYOUTS: 'local-evm' })
  try {
    return await onPostgres(folder, (postgres) => live(folder, server, postgres, plan))
  } finally {
    await server.stop()
  }
}

/** Members and codes for the whole day. */
async function seed(folder: string, plan: DayPlan): Promise<void> {
  const users = Math.max(plan.talkers + plan.watchers, plan.members, scannersOf(plan))
  await runCommand(folder, ['seed', '--users', String(users), '--codes', String(scansIn(plan))])
}

/** Few enough that they rise in tier, as prizes demand, and many enough for the limit an hour. */
const scannersOf = (plan: DayPlan) => Math.ceil(scansIn(plan) / SCANS_PER_MEMBER_MAX)

async function live(folder: string, server: ServerProcess, postgres: RunningPostgres, plan: DayPlan): Promise<Day> {
  const { url } = server
  const { sql } = postgres
  const recorder = new Recorder()
  const members = await someMembers(sql, 2 ** 31 - 2)
  const crowd = await Crowd.open(members, await Mint.open(folder), url)
  const operator = new Operator(url)
  const audience = new Audience(url, crowd, recorder)
  try {
    await operator.fundPrizes()
    await operator.raise(members.slice(0, plan.talkers).map(({ userId }) => userId))
    seatAll(audience, plan)
    const winners = new Winners(url, crowd, recorder)
    const requests = openRequests({
      ...{ url, crowd, recorder, scanners: scannersOf(plan), codes: await packedCodes(sql) },
      onWin: (member) => winners.won(member),
    })
    const anvil = childNamed(server.pid, 'anvil')
    const pids = { server: server.pid, postgres: postgres.pid, anvil, generator: process.pid }
    const watch = new Watch(url, pids, sql, recorder)
    await liveThrough(plan, watch, requests, audience, operator)
    await winners.claimed()
    const settled = await settle(url, sql, PATIENCE_MS)
    const { accepted: scans, unknown: unknownScans } = requests
    return {
      ...{ at: new Date().toISOString(), commit: commit(), machine: machine(), loadAverage: loadavg(), options: plan },
      ...{ seeded: members.length, ...settled },
      checks: await check(sql, { scans, unknownScans, messages: audience.acknowledged }),
      ...{ times: recorder.day, counts: recorder.counts, samples: watch.samples },
    }
  } finally {
    audience.close()
    await crowd.close()
  }
}

function seatAll(audience: Audience, { talkers, watchers, members, dashboards }: DayPlan): void {
  const numbers = (from: number, count: number) => Array.from({ length: count }, (_, index) => from + index)
  audience.seatTalkers(numbers(0, talkers))
  audience.seatWatchers(numbers(talkers, watchers))
  audience.seatMembers(numbers(0, members))
  audience.seatDashboards(dashboards)
}

/** Who wins for the first time proves a wallet to be paid into. */
class Winners {
  readonly #claims = new Map<number, Promise<void>>()

  constructor(
    readonly url: string,
    readonly crowd: Crowd,
    readonly recorder: Recorder,
  ) {}

  won(member: number): void {
    this.recorder.count('prizes won')
    if (this.#claims.has(member)) return
    const claim = claimWallet(this.url, this.crowd.token(member))
    this.#claims.set(
      member,
      claim.catch((error: Error) => this.recorder.count(`wallet: ${error.message}`)),
    )
  }

  async claimed(): Promise<void> {
    await Promise.all(this.#claims.values())
  }
}

/** Every hour begins on time, whatever became of the one before. */
async function liveThrough(
  plan: DayPlan,
  watch: Watch,
  requests: Requests,
  audience: Audience,
  operator: Operator,
): Promise<void> {
  const hourMs = hourMsOf(plan)
  const eventId = await operator.scheduleEvent()
  audience.show(eventId)
  await watch.begin()
  const startedAt = performance.now()
  const at = (hour: number) => startedAt + hour * hourMs
  const from = async (hour: number) => void (await sleep(Math.max(0, at(hour) - performance.now())))
  const talks = busyness.map(async (share, hour) => {
    await from(hour)
    await talk(audience, at(hour), hourMs, plan.peak * share * MESSAGES_PER_REQUEST)
  })
  const loads = busyness.map(async (share, hour) => {
    await from(hour)
    await requests.hour(plan.peak * share, hourMs)
  })
  const evening = [EVENT_FROM, EVENT_FROM + 1, EVENT_UNTIL - 1, EVENT_UNTIL].map(async (hour) => {
    await from(hour)
    const deeds = [
      hour === EVENT_FROM ? operator.startEvent(eventId) : null,
      hour === EVENT_UNTIL ? operator.endEvent(eventId) : operator.announce(eventId),
    ]
    await Promise.all(deeds)
  })
  const looks = Array.from({ length: HOURS * SAMPLES_PER_HOUR }, async (_, index) => {
    const hour = (index + 1) / SAMPLES_PER_HOUR
    await from(hour)
    await watch.sample(hour)
  })
  await Promise.all([...talks, ...loads, ...evening, ...looks])
}

/** An hour of messages at their due times. */
async function talk(audience: Audience, startedAt: number, durationMs: number, perSecond: number): Promise<void> {
  const intervalMs = 1_000 / perSecond
  for (let due = startedAt + intervalMs / 2; due < startedAt + durationMs; due += intervalMs) {
    await sleep(Math.max(0, due - performance.now()))
    audience.say(performance.timeOrigin + due)
  }
}

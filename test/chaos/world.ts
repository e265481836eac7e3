// One deployment under load: its members, its administrator, and all that must be true of it.

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Random } from '../../engine/simulator/random.js'
import { verifyJournal } from '../../persistence/journal/inspect.js'
import { connect, type Sql } from '../../persistence/postgres/connection.js'
import { Campaign, pause, SCANS_PER_MEMBER } from '../support/campaign.js'
import { activeCodes, logInAdmin, type Member, signUpMany } from '../support/members.js'
import { Deployment, until, within } from '../support/server.js'
import { checkMembers, checkPrizes, checkScans } from './checks.js'
import { Errands } from './errands.js'
import { checkLedger, checkTiersSet } from './ledger-checks.js'
import { inScope, type Scope } from './scope.js'

/** Access tokens live 15 minutes. */
const TOKENS_FRESH_MS = 8 * 60_000
const CATCH_UP_WITHIN_MS = 30_000
const SAMPLE = 20
const TIERS_SET_OF = 20
/** One scan in so many is sent twice at once. */
const TWICE_ONE_IN = 10

export interface WorldOptions {
  readonly scans: number
  readonly random: Random
  /** Keeps the data of a failed phase. */
  readonly keep: () => boolean
  /** Settings of the server, at every start. */
  readonly env?: NodeJS.ProcessEnv
  /** Called before the first start. */
  readonly prepare?: (site: Deployment) => Promise<void>
  /** A Postgres of ours instead of the server's own. */
  readonly databaseUrl?: string
}

export interface LoadShape {
  readonly http: number
  readonly sockets: number
  /** After each scan of a client. */
  readonly pauseMs: number
  readonly errands: boolean
  /** The load ends by itself after so many scans. */
  readonly scansMax?: number
}

export interface Load {
  /** Resolves when every client has ended: told to, or not answered. */
  readonly ended: Promise<unknown>
  stop(): Promise<void>
}

/** What was found after a fault, and how long it took. */
export interface Found {
  readonly problems: readonly string[]
  readonly retried: number
  readonly catchUpMs: number
}

export class World {
  #tokensFrom = performance.now()
  #checkedAttempts = 0

  private constructor(
    readonly site: Deployment,
    readonly campaign: Campaign,
    readonly errands: Errands,
    readonly options: WorldOptions,
  ) {}

  static async create(scope: Scope, options: WorldOptions): Promise<World> {
    const site = await Deployment.create(scope, { keep: options.keep })
    await options.prepare?.(site)
    await site.start({ env: environmentOf(options) })
    const admin = await logInAdmin(site)
    // Otherwise the greater prize cannot be won for want of sales.
    await admin.put('/v1/admin/comps/unlocks/crypto_1k', { unlocked: true })
    const members = await signUpMany(site, 'chaos', Math.ceil(options.scans / SCANS_PER_MEMBER))
    const codes = await activeCodes(admin, options.scans)
    const { random } = options
    const campaign = new Campaign(members, codes, { twice: () => random.chance(1 / TWICE_ONE_IN) })
    const errands = new Errands(site, members.slice(0, TIERS_SET_OF), random)
    await errands.logIn()
    return new World(site, campaign, errands, options)
  }

  start(): Promise<void> {
    return this.site.start({ env: environmentOf(this.options) })
  }

  load({ http, sockets, pauseMs, errands, scansMax = Number.POSITIVE_INFINITY }: LoadShape): Load {
    let enough = false
    const attemptsMax = this.campaign.attempts.length + scansMax
    const isEnough = () => enough || this.campaign.attempts.length >= attemptsMax
    const ended = Promise.all([
      this.campaign.scanUntil(http, isEnough, pauseMs),
      this.campaign.scanOnSocketsUntil(sockets, isEnough, Math.max(pauseMs, 60)),
      errands ? this.errands.runUntil(isEnough) : undefined,
    ])
    ended.catch(() => {}) // whoever waits for it is told
    return {
      ended,
      stop: async () => {
        enough = true
        await within('the load ends', ended, 60_000)
      },
    }
  }

  /** Waits until so many more scans are answered, and then a random while. */
  async scansGoOn(count: number, furtherMs: number): Promise<void> {
    const enough = this.campaign.answered + count
    await until('the load is on', () => this.campaign.answered >= enough)
    await pause(furtherMs)
  }

  /** Everything that must be true once the server is back: lists at once, one effect each, one answer for ever. */
  async settle({ whole }: { readonly whole: boolean }): Promise<Found> {
    const { campaign, errands } = this
    const recent = campaign.attempts.slice(this.#checkedAttempts)
    const members = whole ? campaign.members : [...new Set(recent.map(({ member }) => member))]
    const answered = recent.filter(({ answer }) => answer !== undefined)
    const problems = await checkMembers(campaign, members, { exactly: false })
    const retried = await campaign.retry()
    const again = campaign.attempts.slice(this.#checkedAttempts).filter((attempt) => !answered.includes(attempt))
    problems.push(
      ...Object.entries(campaign.refusals).map(([how, count]) => `${count} scans sent again are refused: ${how}`),
      ...(await campaign.askAgain([...answered.slice(-SAMPLE), ...again.slice(-SAMPLE)])),
      ...(await errands.retry()).map((errand) => `${errand} is refused when it is sent again`),
      ...(await checkMembers(campaign, members, { exactly: true })),
    )
    const catchUpMs = await this.caughtUp()
    problems.push(...(await this.checkTables()), ...(await this.checkJournal()))
    this.#checkedAttempts = campaign.attempts.length
    await this.#refreshTokens()
    return { problems, retried, catchUpMs }
  }

  /** Resolves when Postgres has everything there is now; returns how long that took. */
  async caughtUp(withinMs = CATCH_UP_WITHIN_MS): Promise<number> {
    const startedAt = performance.now()
    const { shard_last_seq: due = 0 } = await this.gauges()
    await until('Postgres has caught up', async () => ((await this.gauges()).shard_applied_seq ?? 0) >= due, withinMs)
    return performance.now() - startedAt
  }

  checkTables(): Promise<string[]> {
    const { campaign, errands } = this
    return this.database(async (sql) => [
      ...(await checkScans(sql, campaign)),
      ...(await checkPrizes(sql, campaign, errands)),
      ...(await checkLedger(sql, errands)),
      ...(await checkTiersSet(sql, errands)),
    ])
  }

  async checkJournal(): Promise<string[]> {
    const { problem } = await verifyJournal(join(this.site.dataDirectory, 'journal'))
    return problem === undefined ? [] : [`J2: the journal is damaged: ${JSON.stringify(problem)}`]
  }

  database<Result>(work: (sql: Sql) => Promise<Result>): Promise<Result> {
    return inScope(async (scope) => work(await this.#connect(scope)))
  }

  /** The gauges of the server, without the common beginning of their names. */
  async gauges(): Promise<Record<string, number>> {
    const response = await fetch(`${this.site.url}/metrics`, { signal: AbortSignal.timeout(10_000) })
    const lines = (await response.text()).matchAll(/^comptroller_(\w+) (\S+)$/gm)
    return Object.fromEntries([...lines].map(([, name = '', value]) => [name, Number(value)]))
  }

  /** Resident memory of the server, in bytes. */
  async memory(): Promise<number> {
    const status = await readFile(`/proc/${await this.site.serverPid()}/status`, 'utf8')
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1_024
  }

  async #connect(scope: Scope): Promise<Sql> {
    const { databaseUrl } = this.options
    if (databaseUrl === undefined) return this.site.database(scope)
    const sql = connect(databaseUrl, { max: 2, applicationName: 'comptroller chaos' })
    scope.teardown(() => sql.end({ timeout: 1 }))
    return sql
  }

  async #refreshTokens(): Promise<void> {
    if (performance.now() - this.#tokensFrom < TOKENS_FRESH_MS) return
    for (const member of this.campaign.members) await refresh(member)
    await this.errands.logIn()
    this.#tokensFrom = performance.now()
  }
}

async function refresh(member: Member): Promise<void> {
  const { status, body } = await member.post('/v1/auth/refresh', { refresh_token: member.refreshToken })
  if (status !== 200) throw new Error(`no new token: ${body.code}`)
  member.token = body.access_token
  member.refreshToken = body.refresh_token
}

function environmentOf({ env = {}, databaseUrl }: WorldOptions): NodeJS.ProcessEnv {
  return databaseUrl === undefined ? env : { ...env, DATABASE_URL: databaseUrl }
}

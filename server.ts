/** The composition root: settings in, a serving process out. Everything is wired here and nowhere else. */
import { randomBytes, randomUUID } from 'node:crypto'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { decodeJwt } from 'jose'
import type { Logger } from 'pino'
import { Registry } from 'prom-client'
import { openBus } from './bus.js'
import { type ChatDrivers, exposeChatDrivers, openChatDrivers, socialPort } from './chat-drivers.js'
import { type Core, type CorePorts, openCore } from './core.js'
import { CoreMetrics } from './core-metrics.js'
import { system } from './engine/command.js'
import { storageUnavailable } from './engine/outcome.js'
import { KeySet } from './gateway/auth/keys.js'
import { defaultLoginGuardLimits, LoginGuard } from './gateway/auth/login-guard.js'
import { OneTimeCodes } from './gateway/auth/one-time-codes.js'
import { Passwords } from './gateway/auth/passwords.js'
import { SecretBox } from './gateway/auth/secret-box.js'
import { Tokens } from './gateway/auth/tokens.js'
import { Chat } from './gateway/chat.js'
import { accountRecoveryRoutes } from './gateway/http/account-recovery.js'
import { adminRoutes } from './gateway/http/admin.js'
import { adminCampaignRoutes } from './gateway/http/admin-campaigns.js'
import { adminParkedRoutes } from './gateway/http/admin-parked.js'
import { adminPayoutRoutes } from './gateway/http/admin-payouts.js'
import { adminTreasuryRoutes } from './gateway/http/admin-treasury.js'
import { administratorRoutes } from './gateway/http/administrators.js'
import { authRoutes } from './gateway/http/auth.js'
import { chatRoutes } from './gateway/http/chat-routes.js'
import { codeRoutes } from './gateway/http/codes.js'
import { createMailing } from './gateway/http/mailing.js'
import { payoutMails } from './gateway/http/payout-mails.js'
import { scanRoutes } from './gateway/http/scans.js'
import { socketDocsRoutes } from './gateway/http/socket-docs.js'
import { ClientAddresses } from './gateway/http/toolkit/client-address.js'
import { createHttpServer } from './gateway/http/toolkit/server.js'
import { userRoutes } from './gateway/http/users.js'
import { walletRoutes } from './gateway/http/wallet.js'
import { withdrawalRoutes } from './gateway/http/withdrawals.js'
import { BrevoMail } from './gateway/mail/brevo-mail.js'
import { FileMail } from './gateway/mail/file-mail.js'
import type { MailPort } from './gateway/mail/mail.js'
import { servePages } from './gateway/pages/index.js'
import type { PayoutsPort } from './gateway/payouts-port.js'
import { poolStates } from './gateway/pool-states.js'
import type { ParkedRowsPort, Services } from './gateway/services.js'
import { scanInput, submitSocketScan } from './gateway/sockets/scan-in.js'
import { ScanVelocity } from './gateway/sockets/scan-velocity.js'
import { attachSockets } from './gateway/sockets/sockets.js'
import type { Payouts } from './payouts.js'
import { exposePayouts, payoutsPort, payoutWarnings, watchPaused } from './payouts-port.js'
import { readOnLiveConnection } from './persistence/postgres/connection.js'
import { batchTimes, codeHistory } from './persistence/queries/codes.js'
import { administrators } from './persistence/queries/members.js'
import {
  comps,
  payoutFigures,
  payouts as payoutRows,
  payoutTrail,
  pendingComps,
  reconciliations,
  snapshots,
} from './persistence/queries/payouts.js'
import { recentScans, scanFlags } from './persistence/queries/scans.js'
import { transactions } from './persistence/queries/transactions.js'
import { PRODUCT, TOKEN_AUDIENCE, VERSION } from './product.js'
import { rateLimits } from './rate-limits.js'
import type { Settings } from './settings.js'

const KEY_TICK_MS = 60_000

export interface Server {
  readonly url: string
  /** The generated password of the first administrator, once: on the start that made it. */
  readonly generatedAdminPassword: string | null
  /** Stops accepting, answers what is in flight, drains, flushes. */
  stop(): Promise<void>
}

/** Starts everything; rejects with a clear error when something is missing. `onFatal` means: end the process. */
export async function startServer(
  settings: Settings,
  log: Logger,
  onFatal: (error: Error) => void,
  ports: CorePorts = {},
): Promise<Server> {
  const metrics = new CoreMetrics(new Registry())
  const core = await openCore(settings, log, metrics, onFatal, ports)
  let payouts: Payouts | null = null
  let drivers: ChatDrivers | null = null
  try {
    payouts = await openPayouts(settings, core, log)
    drivers = await openChatDrivers(settings, core, log)
    return await serve(settings, log, core, { payouts, drivers }, metrics)
  } catch (error) {
    drivers?.stop()
    await payouts?.stop()
    await core.stop()
    throw error
  }
}

/** Null when payouts are off: they are queued, and paid by a start that has them on. */
async function openPayouts(settings: Settings, core: Core, log: Logger): Promise<Payouts | null> {
  if (settings.PAYOUTS === 'off') return null
  // Loading the libraries of the chains takes longer than all the rest.
  const payouts = await import('./payouts.js')
  return payouts.openPayouts(settings, core, log)
}

async function serve(
  settings: Settings,
  log: Logger,
  core: Core,
  { payouts, drivers }: { readonly payouts: Payouts | null; readonly drivers: ChatDrivers },
  metrics: CoreMetrics,
): Promise<Server> {
  const { registry } = metrics
  const chain = payouts === null ? null : payoutsPort(payouts, log)
  const { services, keys } = await openServices(settings, log, core, chain, drivers)
  const paused = await watchPaused(core)
  const generatedAdminPassword = await ensureAdmin(settings, services)
  let stopping = false

  const limits = rateLimits(settings)
  const rateLimitLoopback = settings.RATE_LIMIT_LOOPBACK
  const mailing = createMailing(services)
  const http = createHttpServer({
    info: { title: PRODUCT, version: VERSION },
    routes: [
      ...authRoutes(services, mailing),
      ...accountRecoveryRoutes(services, mailing),
      ...userRoutes(services, mailing),
      ...scanRoutes(services),
      ...codeRoutes(services),
      ...walletRoutes(services),
      ...withdrawalRoutes(services),
      ...chatRoutes(services),
      ...adminRoutes(services),
      ...administratorRoutes(services),
      ...adminPayoutRoutes(services),
      ...adminTreasuryRoutes(services),
      ...adminCampaignRoutes(services),
      ...adminParkedRoutes(services),
      ...socketDocsRoutes({ title: PRODUCT, version: VERSION }),
    ],
    authenticate: (token) => services.tokens.verifyAccess(token),
    limits,
    metrics: registry,
    log,
    ready: () => readiness(core, stopping, () => [...payoutWarnings(payouts, paused), ...(bus?.warnings() ?? [])]),
    trustedProxies: settings.TRUSTED_PROXIES,
    allowedOrigins: settings.ALLOWED_ORIGINS,
    rateLimitLoopback,
  })
  const clients = new ClientAddresses(settings.TRUSTED_PROXIES)
  const bus = openBus(settings, core, services, metrics, log)
  const sockets = attachSockets({
    app: http.app,
    epoch: randomUUID(),
    environment: core.environment,
    authenticate: async (token) => {
      const principal = await services.tokens.verifyAccess(token)
      return { principal, expiresAtMs: (decodeJwt(token).exp ?? 0) * 1_000 }
    },
    checkSession: async (principal) => {
      await core.shard.query(core.program.queries.session, principal)
    },
    parseScan: scanInput,
    submitScan: (principal, scan, { ip }) => submitSocketScan(services, principal, scan, ip),
    chat: services.chat,
    liveEvents: services.social.live,
    clientOf: (res, req) => clients.ofRequest(res, req),
    addressBucket: limits.bucket('ip'),
    velocity: new ScanVelocity(),
    scansSoFar: core.scansSoFar,
    milestones: core.program.rules.milestones,
    treasury: () => treasuryBalances(services),
    metrics: registry,
    log,
    limits: { backpressureBytesMax: settings.SOCKET_BACKPRESSURE_BYTES_MAX },
    limitLoopback: rateLimitLoopback,
    allowedOrigins: settings.ALLOWED_ORIGINS,
    ...(bus === null
      ? {}
      : { chatAdapter: bus.chatAdapter, attendance: bus.attendance, tellGateways: bus.tellGateways }),
  })
  servePages(http.app, Object.values(core.program.rules.chat.mediaHosts).flat())
  core.shard.subscribe((record) => sockets.publish(record))
  bus?.serve(sockets)
  core.shard.subscribe(payoutMails(services, mailing, settings.ADMIN_EMAIL))
  exposeGauges(metrics, core, services)
  exposeChatDrivers(metrics, drivers)
  const stopAsking = payouts === null ? () => {} : exposePayouts(metrics, payouts, log)

  const port = await http.listen(settings.PORT, settings.HOST)
  const url = `http://${settings.HOST.includes(':') ? `[${settings.HOST}]` : settings.HOST}:${port}`
  const serverFile = join(settings.DATA_DIR, 'server.json')
  await writeFile(serverFile, JSON.stringify({ url, pid: process.pid }))
  const keyTimer = setInterval(
    () => keys.tick().catch((error: unknown) => log.error({ err: error }, 'keys')),
    KEY_TICK_MS,
  )
  log.info({ url }, 'listening')

  return {
    url,
    generatedAdminPassword,
    stop: async () => {
      stopping = true
      clearInterval(keyTimer)
      stopAsking()
      await rm(serverFile, { force: true })
      await sockets.close()
      await http.close()
      drivers.stop()
      await payouts?.stop()
      await core.stop()
      bus?.stop()
    },
  }
}

function readiness(core: Core, stopping: boolean, ofPayouts: () => readonly string[]) {
  const reasons: string[] = []
  if (stopping) reasons.push('stopping')
  if (core.shard.lifecycle !== 'running') reasons.push(`the shard is ${core.shard.lifecycle}`)
  const { lastSeq, appliedSeq, limits } = core.shard
  if (lastSeq - appliedSeq > limits.lagRecordsMax) reasons.push('Postgres is too far behind')
  return { ok: reasons.length === 0, reasons, warnings: [...warningsOf(core), ...ofPayouts()] }
}

/** What somebody should look after although requests are served. */
function warningsOf({ disk, parked, projector }: Core): string[] {
  const warnings: string[] = []
  if (disk.level !== 'ample') warnings.push(disk.refusal().message)
  const { state, lastError } = projector.stats
  if (state === 'paused') warnings.push('Postgres is not written to until there is disk space again.')
  else if (state !== 'ok') warnings.push(`Write-behind is ${state}: ${lastError}`)
  if (parked.count > 0) warnings.push(`Rows that Postgres refused are parked: ${parked.count}.`)
  return warnings
}

/** BJ-T37 */
async function treasuryBalances(services: Services) {
  const states = await poolStates(services)
  return states.map(({ wallet: pool, onChain, onWallet: ledger, available, held }) => {
    return { pool, onChain, ledger, available, held }
  })
}

async function openServices(
  settings: Settings,
  log: Logger,
  core: Core,
  payouts: PayoutsPort | null,
  drivers: ChatDrivers,
): Promise<{ services: Services; keys: KeySet }> {
  const { now, newId } = core.environment
  /** Postgres may be away for a while (P2): who needs it is asked to come again. */
  const read = <T>(rows: () => Promise<T>): Promise<T> =>
    readOnLiveConnection(core.sql, rows).catch((error: unknown) => {
      log.error({ err: error }, 'a read from Postgres failed')
      throw storageUnavailable()
    })
  const keyDirectory = join(settings.DATA_DIR, 'keys')
  const keys = await KeySet.open({ directory: keyDirectory, clock: now })
  const box = await SecretBox.load({
    directory: keyDirectory,
    ...(settings.SECRET_BOX_KEY === undefined ? {} : { keyBase64: settings.SECRET_BOX_KEY }),
  })
  const social = socialPort(core, drivers, settings, read)
  const services: Services = {
    shard: core.shard,
    program: core.program,
    reads: {
      recentScans: (userId, page) => read(() => recentScans(core.sql, userId, page)),
      codeHistory: (code) => read(() => codeHistory(core.sql, code)),
      scanFlags: (page) => read(() => scanFlags(core.sql, page)),
      batchTimes: () => read(() => batchTimes(core.sql)),
      administrators: () => read(() => administrators(core.sql)),
    },
    payoutReads: {
      comps: (filter) => read(() => comps(core.sql, filter)),
      payouts: (filter) => read(() => payoutRows(core.sql, filter)),
      pendingComps: (userId) => read(() => pendingComps(core.sql, userId)),
      transactions: (filter) => read(() => transactions(core.sql, filter)),
      trail: (id) => read(() => payoutTrail(core.sql, id)),
      reconciliations: (page) => read(() => reconciliations(core.sql, page)),
      snapshots: (page) => read(() => snapshots(core.sql, page)),
      figures: (sinceMs) => read(() => payoutFigures(core.sql, sinceMs)),
    },
    payouts,
    chat: new Chat(core.shard, core.program, newId, social.reads.numberAt),
    social,
    parked: parkedRows(core, read),
    tokens: new Tokens({ signer: keys, keys, issuer: PRODUCT, audience: TOKEN_AUDIENCE, clock: now }),
    passwords: await Passwords.create({}),
    box,
    codes: new OneTimeCodes(box.deriveKey('one-time-codes')),
    mail: await openMail(settings, now),
    loginGuard: new LoginGuard(now, { ...defaultLoginGuardLimits, countLoopback: settings.RATE_LIMIT_LOOPBACK }),
    publicJwks: () => keys.publicJwks(),
    now,
    newId,
    log,
  }
  return { services, keys }
}

function parkedRows({ parked }: Core, read: <T>(rows: () => Promise<T>) => Promise<T>): ParkedRowsPort {
  return {
    get count() {
      return parked.count
    },
    list: (page) => read(() => parked.list(page)),
    find: (id) => read(() => parked.find(id)),
    retry: (id) => read(() => parked.retry(id)),
    retryAll: (page) => read(() => parked.retryAll(page)),
  }
}

async function openMail(settings: Settings, clock: () => number): Promise<MailPort> {
  const sender = { name: 'BlakJaks', email: settings.MAIL_FROM }
  if (settings.BREVO_API_KEY !== undefined) return new BrevoMail({ apiKey: settings.BREVO_API_KEY, sender })
  return FileMail.open({ directory: join(settings.DATA_DIR, 'mail'), sender, clock })
}

/** Makes the first administrator, or keeps the one there is. Returns a password it had to generate. */
async function ensureAdmin(settings: Settings, services: Services): Promise<string | null> {
  const { shard, program, passwords, newId } = services
  if (program.directory.memberByEmail(settings.ADMIN_EMAIL) !== null) return null
  const generated = settings.ADMIN_PASSWORD === undefined ? `${randomBytes(12).toString('base64url')}aA1!` : null
  const password = settings.ADMIN_PASSWORD ?? generated ?? ''
  await shard.execute(program.commands.open, {
    args: {
      userId: newId(),
      email: settings.ADMIN_EMAIL,
      full_name: 'Administrator',
      date_of_birth: '1970-01-01',
      language: 'en',
      passwordHash: await passwords.hash(password),
      verification: null,
      session: null,
      isAdmin: true,
    },
    who: system,
  })
  // Kept for the command-line tools of this data folder, readable by nobody else.
  if (generated !== null) await writeFile(join(settings.DATA_DIR, 'admin-password'), generated, { mode: 0o600 })
  return generated
}

function exposeGauges(metrics: CoreMetrics, core: Core, services: Services): void {
  const { lagRecordsMax } = core.shard.limits
  metrics.gauges('shard', 'The shard', () => ({ ...core.shard.gauges(), lag_records_max: lagRecordsMax }))
  metrics.gauges('journal', 'The journal', () => ({ ...core.journal.stats }))
  metrics.gauges('disk', 'Disk space', () => core.disk.gauges())
  metrics.gauges('projector', 'Write-behind', () => projectorGauges(core))
  metrics.gauges('tokens', 'Access tokens', () => ({ ...services.tokens.gauges() }))
  metrics.gauges('passwords', 'Password hashing', () => ({ ...services.passwords.gauges() }))
  metrics.gauges('codes', 'The code book', () => ({ codes: core.program.book.size, bytes: core.program.book.bytes }))
  metrics.gauges('views', 'Views', () => ({ unapplied_scans: core.program.recentScans.size }))
}

function projectorGauges({ projector, parked }: Core): Record<string, number> {
  const { appliedSeq, lagMs, batchMillis, batchRecords, rows, retries, state, blockedSeq } = projector.stats
  return {
    applied_seq: appliedSeq,
    lag_ms: lagMs,
    batch_millis: batchMillis,
    batch_records: batchRecords,
    rows,
    retries,
    parked_rows: parked.count,
    retrying: state === 'retrying' ? 1 : 0,
    paused: state === 'paused' ? 1 : 0,
    blocked: state === 'blocked' ? 1 : 0,
    blocked_seq: blockedSeq,
  }
}

/** A gateway: a process that serves sockets for an engine elsewhere. It keeps nothing. */
import { randomUUID } from 'node:crypto'
import { decodeJwt } from 'jose'
import type { Logger } from 'pino'
import { collectDefaultMetrics, Registry } from 'prom-client'
import { z } from 'zod'
import { createBlakjaks } from './actors/programs/blakjaks/program.js'
import { exposeGauges } from './core-metrics.js'
import { unpack } from './engine/record.js'
import { environment } from './environment.js'
import { Tokens } from './gateway/auth/tokens.js'
import { receiptSchema } from './gateway/bus/attendance-messages.js'
import { AttendanceReports } from './gateway/bus/attendance-reports.js'
import { FactFeed } from './gateway/bus/fact-feed.js'
import { BusRedis } from './gateway/bus/redis.js'
import { RemoteEngine } from './gateway/bus/remote-engine.js'
import { RemoteKeys } from './gateway/bus/remote-keys.js'
import type { Tiding } from './gateway/bus/tidings.js'
import { channelNames } from './gateway/bus/wire.js'
import { Chat } from './gateway/chat.js'
import { ClientAddresses } from './gateway/http/toolkit/client-address.js'
import type { Principal } from './gateway/http/toolkit/principal.js'
import { createHttpServer } from './gateway/http/toolkit/server.js'
import { LiveEvents } from './gateway/live-events.js'
import { attachGatewaySockets, type GatewaySockets } from './gateway/sockets/gateway-sockets.js'
import { type ScanInput, scanInput } from './gateway/sockets/scan-in.js'
import { PRODUCT, TOKEN_AUDIENCE, VERSION } from './product.js'
import { rateLimits } from './rate-limits.js'
import type { Settings } from './settings.js'

/** Far less than the engine publishes a key before it signs. */
const KEYS_INTERVAL_MS = 60_000
const KEYS_RETRY_MS = 1_000

const batchSchema = z.object({ seq: z.int(), bytes: z.instanceof(Uint8Array) })
const missedSchema = z.object({ upTo: z.int(), batches: z.array(batchSchema).nullable() })
const factsSchema = z.tuple([z.string(), z.int().nonnegative(), z.instanceof(Uint8Array).nullable()])

export interface GatewayServer {
  readonly url: string
  /** Refuses new connections, answers what is under way, closes the rest. */
  stop(): Promise<void>
}

/** Starts whether Redis and the engine are there or not; `/readyz` says what is missing. */
export async function startGateway(settings: Settings & { REDIS_URL: string }, log: Logger): Promise<GatewayServer> {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const redis = new BusRedis(settings.REDIS_URL, log)
  const names = channelNames(settings.REDIS_PREFIX)
  const gateway = randomUUID()
  const engine: RemoteEngine = new RemoteEngine({
    ...{ redis, names, environment, gateway },
    reached: (run, seq) => feed.reached(run, seq),
  })
  const keys = new RemoteKeys()
  const keeping = keepKeys(keys, engine, log)
  const remote = remoteServices(engine, gateway, settings)
  const tokens = new Tokens({
    keys,
    signer: noSigner,
    issuer: PRODUCT,
    audience: TOKEN_AUDIENCE,
    clock: environment.now,
  })
  const limits = rateLimits(settings)
  let isStopping = false
  const reasons = () => [
    ...(isStopping ? ['stopping'] : []),
    ...(redis.isReady ? [] : ['Redis cannot be reached']),
    ...(feed.hearsEngine ? [] : ['nothing is heard of the engine']),
    ...(keys.areKnown ? [] : ['the keys of tokens are not known yet']),
    ...(sockets.insightsAreKnown ? [] : ['what dashboards show is not known yet']),
  ]
  const http = createHttpServer({
    info: { title: `${PRODUCT} gateway`, version: VERSION },
    routes: [],
    authenticate: (token) => tokens.verifyAccess(token),
    ...{ limits, log, metrics: registry },
    ready: () => ({ ok: reasons().length === 0, reasons: reasons() }),
    trustedProxies: settings.TRUSTED_PROXIES,
    allowedOrigins: settings.ALLOWED_ORIGINS,
    rateLimitLoopback: settings.RATE_LIMIT_LOOPBACK,
  })
  const clients = new ClientAddresses(settings.TRUSTED_PROXIES)
  const sockets = attachGatewaySockets({
    ...{ ...remote, environment, log, app: http.app, metrics: registry },
    parseScan: scanInput,
    authenticate: async (token) => {
      const principal = await tokens.verifyAccess(token)
      return { principal, expiresAtMs: (decodeJwt(token).exp ?? 0) * 1_000 }
    },
    clientOf: (res, req) => clients.ofRequest(res, req),
    chatAdapter: redis.adapter(names.sockets),
    addressBucket: limits.bucket('ip'),
    limits: { backpressureBytesMax: settings.SOCKET_BACKPRESSURE_BYTES_MAX },
    limitLoopback: settings.RATE_LIMIT_LOOPBACK,
    allowedOrigins: settings.ALLOWED_ORIGINS,
  })
  const feed: FactFeed = followEngine(engine, sockets, keeping.now, log)
  exposeGauges(registry, 'gateway', 'The gateway', () => ({ ...engine.gauges(), ...redis.gauges(), ...feed.gauges() }))
  const port = await http.listen(settings.PORT, settings.HOST)
  return {
    url: `http://${settings.HOST.includes(':') ? `[${settings.HOST}]` : settings.HOST}:${port}`,
    stop: async () => {
      isStopping = true
      keeping.stop()
      await sockets.close()
      await http.close()
      redis.close()
    },
  }
}

/** What the sockets stand on, asked of the engine. */
function remoteServices(engine: RemoteEngine, gateway: string, settings: Settings) {
  const program = createBlakjaks()
  const coldNumber = z.int().nullable()
  const coldNumberAt = async (channelId: string, offset: number) =>
    coldNumber.parse(await engine.call('chat.cold_number', { channelId, offset }))
  return {
    chat: new Chat(engine, program, environment.newId, coldNumberAt),
    liveEvents: new LiveEvents({
      ...{ engine, program, playbackTemplate: settings.HLS_URL_TEMPLATE },
      ended: noArchive,
    }),
    attendance: new AttendanceReports({
      environment,
      report: async (report) => receiptSchema.parse(await engine.call('attendance', { gateway, ...report })),
    }),
    milestones: program.rules.milestones,
    checkSession: async ({ userId, sessionId }: Principal) => {
      await engine.query(program.queries.session, { userId, sessionId })
    },
    submitScan: (who: Principal, scan: ScanInput, { ip }: { readonly ip: string }) =>
      engine.call('scan.submit', { who, scan, ip }),
    engine: {
      load: () => engine.call('insights.state', {}),
      sayWatched: () => engine.call('insights.watched', {}),
      share: (userId: string) => engine.call('personal.share', { userId }),
      keep: (userIds: readonly string[]) => engine.call('personal.keep', { userIds }),
    },
  }
}

/** Tells the sockets everything that the engine tells, and makes them begin anew where it cannot. */
function followEngine(engine: RemoteEngine, sockets: GatewaySockets, onRun: () => void, log: Logger): FactFeed {
  const feed = new FactFeed({
    ...{ environment, log },
    missed: async (run, seq) => missedSchema.parse(await engine.call('facts.missed', { run, seq })),
    publish: (bytes) => sockets.take(unpack<Tiding[]>(bytes)),
    resync: (because) => {
      log.warn({ because }, 'clients are sent away to come back with their positions')
      sockets.begin()
      sockets.dismissAll()
    },
    onRun: () => {
      onRun()
      sockets.begin()
    },
  })
  sockets.chatNamespace.on('facts', (...told: unknown[]) => {
    const parsed = factsSchema.safeParse(told)
    if (parsed.success) feed.take(...parsed.data)
    else log.error({ err: parsed.error }, 'facts from Redis could not be read')
  })
  return feed
}

const noArchive = () => Promise.reject(new Error('a gateway reads no archive'))
const noSigner = { sign: () => Promise.reject(new Error('a gateway issues no tokens')) }

/** Asks for the keys of tokens now and then, and again soon after it failed. */
function keepKeys(keys: RemoteKeys, engine: RemoteEngine, log: Logger) {
  let timer: NodeJS.Timeout | undefined
  let isAsking = false
  const ask = async () => {
    if (isAsking) return
    isAsking = true
    clearTimeout(timer)
    let nextInMs = KEYS_INTERVAL_MS
    try {
      await keys.adopt(await engine.call('keys', {}))
    } catch (error) {
      nextInMs = KEYS_RETRY_MS
      log.debug({ err: error }, 'the keys of tokens could not be asked for')
    }
    isAsking = false
    timer = setTimeout(ask, nextInMs)
  }
  void ask()
  return { now: () => void ask(), stop: () => clearTimeout(timer) }
}

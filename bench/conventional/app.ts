/**
 * The stack of the source documents as a good team would write it: Fastify, Postgres, Redis, Socket.IO on ws. It leaves out
 * what ours does beside (whether the session still lives, travel, referrers, the treasury), which spares it work.
 */
import { randomUUID } from 'node:crypto'
import Fastify, { type FastifyRequest } from 'fastify'
import { Redis } from 'ioredis'
import postgres from 'postgres'
import { Server } from 'socket.io'
import { formatCode, parseCode } from '../../actors/codes/code-text.js'
import { blakjaksRules } from '../../actors/programs/blakjaks/rules.js'
import { quarterOf } from '../../actors/programs/tiers.js'
import { scanRequest } from '../../actors/user/scan.js'
import { DomainError } from '../../engine/errors.js'
import { KeySet } from '../../gateway/auth/keys.js'
import { Tokens } from '../../gateway/auth/tokens.js'
import type { ScanResponse } from '../../gateway/http/scans.js'
import { problemOf } from '../../gateway/http/toolkit/problem.js'
import { PRODUCT, TOKEN_AUDIENCE } from '../../product.js'
import { type AdmittedScan, answerOf } from './scan.js'
import { type Form, stores } from './store.js'

const POOL_CONNECTIONS = 20
const BODY_BYTES_MAX = 64 * 1024
const HOUR_SECONDS = 3_600
const SCANS = 'scans'
export const SCAN_COUNT = 'global:scan_count'

export interface ConventionalOptions {
  readonly form: Form
  readonly databaseUrl: string
  readonly redisUrl: string
  /** Where the keys are that the tokens are signed with. */
  readonly keysDirectory: string
}

export interface ConventionalApp {
  readonly url: string
  close(): Promise<void>
}

/** Serves `POST /v1/scans/submit` on a free port, and every accepted scan to the sockets of `/insights/live`. */
export async function openConventional(options: ConventionalOptions): Promise<ConventionalApp> {
  const clock = () => Date.now()
  const keys = await KeySet.open({ directory: options.keysDirectory, clock })
  const tokens = new Tokens({ signer: keys, keys, issuer: PRODUCT, audience: TOKEN_AUDIENCE, clock })
  const sql = postgres(options.databaseUrl, { max: POOL_CONNECTIONS, fetch_types: false, onnotice: () => {} })
  const redis = new Redis(options.redisUrl)
  const store = stores[options.form](sql)
  const app = Fastify({ bodyLimit: BODY_BYTES_MAX })
  app.post('/v1/scans/submit', async (request): Promise<ScanResponse> => {
    const { userId } = await tokens.verifyAccess(tokenOf(request))
    const scan = admit(request, userId)
    await checkVelocity(redis, userId)
    const answer = answerOf(scan, await store(scan))
    tell(redis, answer)
    return answer
  })
  app.setErrorHandler((error, request, reply) => {
    const { problem, unexpected } = problemOf(error, request.id)
    if (unexpected) process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`)
    return reply.status(problem.status).type('application/problem+json').send(problem)
  })
  const io = new Server(app.server, { serveClient: false, transports: ['websocket'] })
  const subscriber = await forward(redis, io)
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  return {
    url,
    close: async () => {
      await io.close()
      await app.close()
      await sql.end({ timeout: 5 })
      redis.disconnect()
      subscriber.disconnect()
    },
  }
}

function tokenOf(request: FastifyRequest): string {
  const { authorization = '' } = request.headers
  if (!authorization.startsWith('Bearer ')) throw new DomainError('unauthorized', 'unauthorized', 'A token is needed.')
  return authorization.slice('Bearer '.length)
}

function admit({ body, ip }: FastifyRequest, userId: string): AdmittedScan {
  const parsed = scanRequest.safeParse(body)
  if (!parsed.success) throw new DomainError('unprocessable', 'invalid_input', 'The body is not a scan.')
  const code = parseCode(parsed.data.code)
  if (code === null) throw new DomainError('invalid', 'code_malformed', 'A code looks like XXXX-XXXX-XXXX.')
  const quarter = quarterOf(Date.now())
  return { id: randomUUID(), userId, code: formatCode(code.hi, code.lo), quarter, request: parsed.data, ip }
}

/** BJ-FRD-01, by the clock's hours: a key a member and hour. */
async function checkVelocity(redis: Redis, userId: string): Promise<void> {
  const hour = Math.floor(Date.now() / 1_000 / HOUR_SECONDS)
  const key = `scan_velocity:${userId}:${hour}`
  const results = await redis.multi().incr(key).expire(key, HOUR_SECONDS).exec()
  if (Number(results?.[0]?.[1]) <= blakjaksRules.velocity.scansMax) return
  throw new DomainError('too_many', 'scan_velocity_exceeded', 'Too many scans in an hour.')
}

/** Counters and the feed are not waited for: the scan is durable. */
function tell(redis: Redis, { scan, tier_progress, milestone_hit }: ScanResponse): void {
  const minute = `scan_velocity:minute:${Math.floor(Date.now() / 60_000)}`
  const event = JSON.stringify({ id: scan.id, ordinal: scan.ordinal, tier: tier_progress.current_tier, milestone_hit })
  const told = redis.pipeline().incr(SCAN_COUNT).incr(minute).expire(minute, HOUR_SECONDS).publish(SCANS, event).exec()
  told.catch((error: unknown) => process.stderr.write(`Redis: ${String(error)}\n`))
}

/** Every process of the stack would hear all scans and tell its own sockets. */
async function forward(redis: Redis, io: Server): Promise<Redis> {
  const subscriber = redis.duplicate()
  const live = io.of('/insights/live')
  subscriber.on('message', (_channel, event: string) => live.emit('scan', JSON.parse(event)))
  await subscriber.subscribe(SCANS)
  return subscriber
}

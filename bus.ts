/** The engine's end of the bus to gateways in other processes, where REDIS_URL is set. */
import { randomUUID } from 'node:crypto'
import type { Logger } from 'pino'
import type { Namespace } from 'socket.io'
import { z } from 'zod'
import type { Core } from './core.js'
import type { CoreMetrics } from './core-metrics.js'
import type { Command, Query } from './engine/command.js'
import type { TurnRecord } from './engine/record.js'
import { EngineBus, type RemoteQuery } from './gateway/bus/engine-bus.js'
import { BusRedis } from './gateway/bus/redis.js'
import { channelNames } from './gateway/bus/wire.js'
import type { Services } from './gateway/services.js'
import { rightsFacts } from './gateway/sockets/rights-watch.js'
import type { ChatAdapter } from './gateway/sockets/serving.js'
import type { Settings } from './settings.js'

/** What the sockets of a gateway are told of. */
const toldFacts = new Set<string>([
  'chat.message_posted',
  'chat.message_changed',
  'chat.channel_changed',
  'chat.member_mentioned',
  'chat.member_silenced',
  'chat.member_unsilenced',
  ...rightsFacts,
  'session.closed',
])
const MISSED_BYTES_MAX = 1024 * 1024

const text = z.string().max(128)
const missedSchema = z.object({ run: text, seq: z.int().nonnegative() })
const placeSchema = z.object({ channelId: text, offset: z.int().nonnegative() })

export interface Bus {
  readonly chatAdapter: ChatAdapter
  /** Begins to answer gateways and to tell them, through the namespace that they share. */
  serve(namespace: Pick<Namespace, 'serverSideEmit'>): void
  warnings(): string[]
  stop(): void
}

/** Null when gateways are not served. A Redis that is away keeps nobody from anything here. */
export function openBus(
  settings: Pick<Settings, 'REDIS_URL' | 'REDIS_PREFIX'>,
  core: Core,
  services: Services,
  metrics: CoreMetrics,
  log: Logger,
): Bus | null {
  if (settings.REDIS_URL === undefined) return null
  const redis = new BusRedis(settings.REDIS_URL, log)
  const names = channelNames(settings.REDIS_PREFIX)
  let bus: EngineBus | undefined
  const serve = (namespace: Pick<Namespace, 'serverSideEmit'>) => {
    const serving: EngineBus = new EngineBus({
      ...{ redis, names, log, run: randomUUID(), engine: core.shard, facts: toldFacts },
      commands: Object.values<unknown>(core.program.chat.commands.chat) as Command[],
      queries: remoteQueries(core.program),
      calls: new Map<string, (args: unknown) => unknown>([
        ['keys', () => services.publicJwks()],
        ['facts.missed', (args) => missed(serving, missedSchema.parse(args))],
        ['chat.cold_number', (args) => coldNumber(services, placeSchema.parse(args))],
      ]),
      tell: (run, seq, bytes) => namespace.serverSideEmit('facts', run, seq, bytes),
    })
    bus = serving
    core.shard.subscribe((record: TurnRecord) => serving.publish(record))
    metrics.gauges('bus', 'The bus to gateways', () => ({ ...serving.gauges(), ...redis.gauges() }))
  }
  return {
    chatAdapter: redis.adapter(names.sockets),
    serve,
    warnings: () => (redis.isReady ? [] : ['Redis cannot be reached: gateways are cut off.']),
    stop: () => {
      bus?.stop()
      redis.close()
    },
  }
}

const missed = (bus: EngineBus, { run, seq }: z.output<typeof missedSchema>) => bus.missed(run, seq, MISSED_BYTES_MAX)

const coldNumber = ({ social }: Services, { channelId, offset }: z.output<typeof placeSchema>) =>
  social.reads.numberAt(channelId, offset)

/** The queries behind `/social/ws`. */
function remoteQueries({ queries, chat }: Core['program']): RemoteQuery[] {
  const member = z.object({ userId: text })
  const position = z.object({ epoch: text, offset: z.int().nonnegative() }).nullable()
  const opened = member.extend({ channelId: text, position, limit: z.int().nonnegative() })
  const remote = <Args>(query: Query<Args>, args: z.ZodType<Args>): RemoteQuery => ({ query: query as Query, args })
  return [
    remote(queries.session, member.extend({ sessionId: text })),
    remote(chat.queries.known, member),
    remote(chat.queries.channels, member),
    remote(chat.queries.openChannel, opened),
    remote(chat.queries.numberAt, placeSchema),
  ]
}

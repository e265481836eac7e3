/** The engine's end of the bus to gateways in other processes, where REDIS_URL is set. */
import { randomUUID } from 'node:crypto'
import type { Logger } from 'pino'
import { z } from 'zod'
import { tierName } from './actors/user/facts.js'
import type { Core } from './core.js'
import type { CoreMetrics } from './core-metrics.js'
import type { Command, Query } from './engine/command.js'
import type { TurnRecord } from './engine/record.js'
import { AttendanceBook } from './gateway/bus/attendance-book.js'
import { reportSchema } from './gateway/bus/attendance-messages.js'
import { EngineBus, type RemoteQuery } from './gateway/bus/engine-bus.js'
import { BusRedis } from './gateway/bus/redis.js'
import { KEPT_AT_ONCE_MAX } from './gateway/bus/remote-streams.js'
import type { Tiding } from './gateway/bus/tidings.js'
import { channelNames, principalSchema } from './gateway/bus/wire.js'
import type { Services } from './gateway/services.js'
import type { Attendance } from './gateway/sockets/attendance.js'
import { rightsFacts } from './gateway/sockets/rights-watch.js'
import { scanInput, submitSocketScan } from './gateway/sockets/scan-in.js'
import type { ChatAdapter } from './gateway/sockets/serving.js'
import type { Sockets } from './gateway/sockets/sockets.js'
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
  'live.event_changed',
  'live.reminder_due',
  'session.closed',
])
const MISSED_BYTES_MAX = 1024 * 1024
/** In one query. */
const IDS_MAX = 1_000

const text = z.string().max(128)
const member = z.object({ userId: text })
const missedSchema = z.object({ run: text, seq: z.int().nonnegative() })
const placeSchema = z.object({ channelId: text, offset: z.int().nonnegative() })
const keepSchema = z.object({ userIds: z.array(text).max(KEPT_AT_ONCE_MAX) })
const scanSchema = z.object({
  who: principalSchema.extend({ role: z.enum(['member', 'admin']) }),
  scan: scanInput,
  ip: text,
})

type ServedSockets = Pick<Sockets, 'chatNamespace' | 'streams' | 'insights'>

export interface Bus {
  readonly chatAdapter: ChatAdapter
  /** Who is at gateways. */
  readonly attendance: Attendance
  tellGateways(tiding: Tiding): void
  /** Begins to answer gateways and to tell them, through the namespace that they share. */
  serve(sockets: ServedSockets): void
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
  const tellGateways = (tiding: Tiding) => bus?.tell(tiding)
  const attendance = new AttendanceBook({
    environment: core.environment,
    tell: (total) => tellGateways({ kind: 'attendance', total }),
  })
  const serve = (sockets: ServedSockets) => {
    const serving: EngineBus = new EngineBus({
      ...{ redis, names, log, run: randomUUID(), engine: core.shard, facts: toldFacts },
      commands: remoteCommands(core.program),
      queries: remoteQueries(core.program),
      calls: new Map<string, (args: unknown) => unknown>([
        ['facts.missed', (args) => missed(serving, missedSchema.parse(args))],
        ['attendance', (args) => attendance.take(reportSchema.parse(args))],
        ...socketCalls(sockets),
        ...serviceCalls(services),
      ]),
      tell: (run, seq, bytes) => sockets.chatNamespace.serverSideEmit('facts', run, seq, bytes),
    })
    bus = serving
    core.shard.subscribe((record: TurnRecord) => serving.publish(record))
    const gauges = () => ({ ...serving.gauges(), ...redis.gauges(), ...attendance.gauges() })
    metrics.gauges('bus', 'The bus to gateways', gauges)
  }
  return {
    ...{ attendance, tellGateways, serve },
    chatAdapter: redis.adapter(names.sockets),
    warnings: () => (redis.isReady ? [] : ['Redis cannot be reached: gateways are cut off.']),
    stop: () => {
      bus?.stop()
      attendance.stop()
      redis.close()
    },
  }
}

type Call = readonly [name: string, answer: (args: unknown) => unknown]

/** What gateways have copies of. */
function socketCalls({ streams, insights }: ServedSockets): Call[] {
  return [
    ['personal.share', (args) => streams.share(member.parse(args).userId)],
    ['personal.keep', (args) => ({ forgotten: streams.keep(keepSchema.parse(args).userIds) })],
    ['insights.state', () => insights.state.kept],
    ['insights.watched', () => insights.watchedElsewhere()],
  ]
}

function serviceCalls(services: Services): Call[] {
  return [
    ['keys', () => services.publicJwks()],
    ['chat.cold_number', (args) => coldNumber(services, placeSchema.parse(args))],
    [
      'scan.submit',
      (args) => {
        const { who, scan, ip } = scanSchema.parse(args)
        return submitSocketScan(services, who, scan, ip)
      },
    ],
  ]
}

const missed = (bus: EngineBus, { run, seq }: z.output<typeof missedSchema>) => bus.missed(run, seq, MISSED_BYTES_MAX)

const coldNumber = ({ social }: Services, { channelId, offset }: z.output<typeof placeSchema>) =>
  social.reads.numberAt(channelId, offset)

/** The commands behind `/social/ws`. */
function remoteCommands({ chat }: Core['program']): Command[] {
  return Object.values<unknown>(chat.commands.chat) as Command[]
}

/** The queries behind `/social/ws`. */
function remoteQueries({ queries, chat, live }: Core['program']): RemoteQuery[] {
  const position = z.object({ epoch: text, offset: z.int().nonnegative() }).nullable()
  const opened = member.extend({ channelId: text, position, limit: z.int().nonnegative() })
  const ids = z.array(text).max(IDS_MAX)
  const remote = <Args>(query: Query<Args>, args: z.ZodType<Args>): RemoteQuery => ({ query: query as Query, args })
  return [
    remote(queries.session, member.extend({ sessionId: text })),
    remote(chat.queries.known, member),
    remote(chat.queries.channels, member),
    remote(chat.queries.readable, member.extend({ channelId: text })),
    remote(chat.queries.openChannel, opened),
    remote(chat.queries.numberAt, placeSchema),
    remote(live.queries.eventsFor, member.extend({ eventIds: ids })),
    remote(live.queries.watchable, member.extend({ eventId: text })),
    remote(live.queries.audience, z.object({ minimumTier: tierName, userIds: ids })),
  ]
}

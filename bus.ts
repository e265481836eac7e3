/** The engine's end of the bus to gateways in other processes, where REDIS_URL is set. */
import { randomUUID } from 'node:crypto'
import type { Logger } from 'pino'
import { z } from 'zod'
import type { Core } from './core.js'
import type { CoreMetrics } from './core-metrics.js'
import type { TurnRecord } from './engine/record.js'
import { AttendanceBook } from './gateway/bus/attendance-book.js'
import { reportSchema } from './gateway/bus/attendance-messages.js'
import { EngineBus } from './gateway/bus/engine-bus.js'
import { commandsOnBus, factsOnBus, placeSchema, queriesOnBus } from './gateway/bus/on-the-bus.js'
import { BusRedis } from './gateway/bus/redis.js'
import { KEPT_AT_ONCE_MAX } from './gateway/bus/remote-streams.js'
import type { Tiding } from './gateway/bus/tidings.js'
import { channelNames, principalSchema } from './gateway/bus/wire.js'
import type { Services } from './gateway/services.js'
import type { Attendance } from './gateway/sockets/attendance.js'
import { scanInput, submitSocketScan } from './gateway/sockets/scan-in.js'
import type { ChatAdapter } from './gateway/sockets/serving.js'
import type { Sockets } from './gateway/sockets/sockets.js'
import type { Settings } from './settings.js'

const MISSED_BYTES_MAX = 1024 * 1024

const text = z.string().max(128)
const member = z.object({ userId: text })
const missedSchema = z.object({ run: text, seq: z.int().nonnegative() })
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
      ...{ redis, names, log, run: randomUUID(), engine: core.shard },
      environment: core.environment,
      facts: factsOnBus,
      commands: commandsOnBus(core.program),
      queries: queriesOnBus(core.program),
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

/**
 * Socket.IO in the process of a gateway: the same namespaces and the same contract, with what the engine numbers.
 *
 * G1 Tidings come in order and are told in the turn they come. X1 Clients that may have missed something lose their
 *    connection: they come back with their positions and get what they missed.
 */
import type { AttendanceReports } from '../bus/attendance-reports.js'
import { RemoteInsights, type RemoteInsightsOptions } from '../bus/remote-insights.js'
import { RemoteStreams, type RemoteStreamsOptions } from '../bus/remote-streams.js'
import type { Tiding } from '../bus/tidings.js'
import type { BusLog } from '../bus/wire.js'
import type { SocketNamespace } from './client-out.js'
import { defaultSocketLimits } from './limits.js'
import { type NamespacesOptions, serveNamespaces } from './namespaces.js'

export interface GatewaySocketsOptions<Scan> extends NamespacesOptions<Scan> {
  readonly log: BusLog
  readonly attendance: AttendanceReports
  /** What the engine is asked for. */
  readonly engine: Pick<RemoteInsightsOptions, 'load' | 'sayWatched'> & Pick<RemoteStreamsOptions, 'share' | 'keep'>
}

export interface GatewaySockets {
  readonly chatNamespace: SocketNamespace
  /** Whether there is something to show on dashboards. */
  readonly insightsAreKnown: boolean
  /** Begins anew: copies of what the engine has are asked for again. */
  begin(): void
  take(tidings: readonly Tiding[]): void
  /** Closes every connection, so that clients come back with their positions. */
  dismissAll(): void
  close(): Promise<void>
}

export function attachGatewaySockets<Scan>(options: GatewaySocketsOptions<Scan>): GatewaySockets {
  const { environment, log, attendance, engine } = options
  const { feedItemsKept, personalEventsKept } = { ...defaultSocketLimits, ...options.limits }
  const insights = new RemoteInsights({
    ...{ environment, feedItemsKept, log, load: engine.load, sayWatched: engine.sayWatched },
    tell: (tiding) => served.live.take(tiding),
  })
  const streams = new RemoteStreams({
    ...{ environment, share: engine.share, keep: engine.keep },
    eventsKept: personalEventsKept,
    tell: (userId, entry) => served.personal.tell(userId, entry),
    dismiss: (userId) => served.dismiss(userId),
  })
  const served = serveNamespaces(options, {
    ...{ insights, attendance, follow: streams.follow },
    tellsCore: false,
    gauges: () => ({ ...streams.gauges(), ...attendance.gauges() }),
  })

  const take = (tiding: Tiding) => {
    switch (tiding.kind) {
      case 'fact':
        served.publish([tiding.fact])
        break
      case 'insight':
        insights.take(tiding.tiding)
        break
      case 'personal':
        streams.take(tiding.userId, tiding.entry)
        break
      case 'attendance':
        attendance.take(tiding.total)
        break
    }
  }
  return {
    chatNamespace: served.chatNamespace,
    get insightsAreKnown() {
      return insights.isKnown
    },
    begin: () => {
      insights.begin()
      streams.begin()
      attendance.begin()
    },
    take: (tidings) => {
      for (const tiding of tidings) take(tiding)
    },
    dismissAll: served.dismissAll,
    close: async () => {
      await served.letGo()
      insights.stop()
      streams.stop()
      await served.close()
      await attendance.stop()
    },
  }
}

/**
 * Socket.IO in the process of the engine: `/` and `/social/ws` for members, `/insights/live` for everybody. What is
 * numbered or counted for all processes is numbered and counted here.
 *
 * G1 Records come in order and after the gate; each is told in the turn it comes.
 */
import type { TurnRecord } from '../../engine/record.js'
import type { Tiding } from '../bus/tidings.js'
import { type Attendance, nobodyElsewhere } from './attendance.js'
import type { PayoutSettled, PersonalEntry, PersonalFact, SocketNamespace } from './client-out.js'
import { InsightsSource } from './insights-source.js'
import { defaultSocketLimits } from './limits.js'
import { type NamespacesOptions, serveNamespaces } from './namespaces.js'
import { entered } from './personal.js'
import { PersonalStreams } from './personal-streams.js'
import type { ScanVelocity } from './scan-velocity.js'
import type { PoolBalance } from './treasury-ticker.js'

export interface SocketsOptions<Scan> extends NamespacesOptions<Scan> {
  /** Random for each start of the process (X1). */
  readonly epoch: string
  /** Counted by {@link Sockets.publish}; may be warmed with the scans of the last minutes. */
  readonly velocity: ScanVelocity
  /** Scans accepted before the first record published. */
  readonly scansSoFar: number
  /** What the pools of the treasury hold now; asked every few seconds while members watch. */
  readonly treasury: () => Promise<readonly PoolBalance[]>
  /** Who is at gateways; nobody by default. */
  readonly attendance?: Attendance
  /** Tells gateways what is numbered here. */
  readonly tellGateways?: (tiding: Tiding) => void
}

export interface Sockets {
  /** Where `/social/ws` tells other processes, and hears of them. */
  readonly chatNamespace: SocketNamespace
  /** What gateways have copies of. */
  readonly streams: Pick<PersonalStreams<PersonalEntry>, 'share' | 'keep'>
  readonly insights: Pick<InsightsSource, 'state' | 'watchedElsewhere'>
  /** Tells everybody concerned of a durable record. */
  publish(record: TurnRecord): void
  gauges(): Readonly<Record<string, number>>
  /** Refuses new connections and closes the open ones; clients come back to whoever serves then. */
  close(): Promise<void>
}

export function attachSockets<Scan>(options: SocketsOptions<Scan>): Sockets {
  const limits = { ...defaultSocketLimits, ...options.limits }
  const { epoch, attendance = nobodyElsewhere, tellGateways = () => {} } = options
  const streams = new PersonalStreams<PersonalEntry>(epoch, limits.personalEventsKept, limits.absentMembersMax)
  const source = new InsightsSource({
    ...options,
    scans: options.scansSoFar,
    feedItemsKept: limits.feedItemsKept,
    tell: (tiding) => {
      served.live.take(tiding)
      tellGateways({ kind: 'insight', tiding })
    },
  })
  const served = serveNamespaces(options, {
    insights: { state: source.state, ready: () => Promise.resolve(), watch: () => source.watch() },
    follow: (userId) => ({ stream: streams.enter(userId), leave: () => streams.leave(userId) }),
    attendance,
    tellsCore: true,
    gauges: () => ({
      personal_streams_present: streams.present,
      personal_streams_absent: streams.absent,
      personal_streams_absent_max: limits.absentMembersMax,
    }),
  })
  const tellMember = (fact: PersonalFact, atMs: number) => {
    const told = entered(streams, fact, atMs)
    if (told?.present === true) served.personal.tell(fact.userId, told.entry)
    if (told?.isShared === true) tellGateways({ kind: 'personal', userId: fact.userId, entry: told.entry })
  }

  let closed = false
  let closing: Promise<void> | undefined
  const close = async () => {
    await served.letGo()
    closed = true
    source.stop()
    await served.close()
  }
  return {
    chatNamespace: served.chatNamespace,
    streams,
    insights: source,
    publish: ({ input, facts }) => {
      if (closed) return
      tellNumbered(facts, input.at, source, tellMember)
      served.publish(facts)
    },
    gauges: served.gauges,
    close: () => {
      closing ??= close()
      return closing
    },
  }
}

function tellNumbered(
  facts: TurnRecord['facts'],
  atMs: number,
  insights: InsightsSource,
  tellMember: (fact: PersonalFact, atMs: number) => void,
): void {
  for (const fact of facts as readonly (PersonalFact | PayoutSettled)[]) {
    switch (fact.type) {
      case 'scan.accepted':
        insights.scanAccepted(fact.ordinal, atMs)
        tellMember(fact, atMs)
        break
      case 'comp.awarded':
        insights.compAwarded(fact, atMs)
        tellMember(fact, atMs)
        break
      case 'tier.changed':
        insights.tierChanged(fact, atMs)
        tellMember(fact, atMs)
        break
      case 'withdrawal.completed':
        tellMember(fact, atMs)
        break
      case 'payout.settled':
        if (fact.kind === 'comp') insights.compPaid(fact, atMs)
        break
    }
  }
}

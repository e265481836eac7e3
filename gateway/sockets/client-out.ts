/** Everything the server says to clients, in the words of the wire. Times are ISO 8601, amounts USD. */
import type { DefaultEventsMap, Namespace, Server, Socket } from 'socket.io'
import type { payoutSettled } from '../../actors/payout/facts.js'
import { prizeText, tierTitles } from '../../actors/programs/wording.js'
import type { compAwarded, scanAccepted, sessionClosed, TierName, tierChanged } from '../../actors/user/facts.js'
import type { withdrawalCompleted } from '../../actors/withdrawal/facts.js'
import { usdOf } from '../money.js'
import type { ChatEvents } from './chat-events.js'
import type { Member } from './members.js'
import type { Position } from './stream.js'

export type ScanAccepted = ReturnType<typeof scanAccepted.make>
export type CompAwarded = ReturnType<typeof compAwarded.make>
export type TierChanged = ReturnType<typeof tierChanged.make>
export type PayoutSettled = ReturnType<typeof payoutSettled.make>
export type WithdrawalCompleted = ReturnType<typeof withdrawalCompleted.make>
export type SessionClosed = ReturnType<typeof sessionClosed.make>

/** An event as it is sent and as it is kept for those who missed it. */
export interface Entry<Event extends string = string, Data extends object = object> {
  readonly event: Event
  readonly data: Data & Position
}

export interface Counter extends Position {
  readonly name: 'scans'
  readonly value: number
  readonly at: string
}

export interface Velocity extends Position {
  readonly scans_per_minute: number
  readonly peak_today: number
  readonly at: string
}

/** What a pool of the treasury holds. */
export interface TreasuryBalance extends Position {
  readonly pool: string
  /** On chain; null when the chain cannot be asked. */
  readonly balance: number | null
  /** What it must hold by the ledger; of that, what is free, and what is set aside for payouts. */
  readonly ledger_balance: number
  readonly available: number
  readonly held: number
  readonly at: string
}

/** Nothing in it tells who it was (BJ-INS-11). */
export type FeedItem =
  | { readonly kind: 'scan'; readonly text: string; readonly at: string; readonly count: number }
  | {
      readonly kind: 'comp'
      readonly text: string
      readonly at: string
      readonly comp_type: string
      readonly amount: number
    }
  | { readonly kind: 'payout'; readonly text: string; readonly at: string; readonly amount: number }
  | { readonly kind: 'tier'; readonly text: string; readonly at: string; readonly tier: TierName }

/** What every so many scans win. */
export interface Milestone {
  readonly every: number
  readonly prize: string
}

interface Snapshot extends Position {
  /** When it was taken: clients can tell by how much their clock is off. */
  readonly at: string
  readonly counter: Counter
  readonly feed: readonly (FeedItem & Position)[]
  readonly scans_per_minute: number
  readonly peak_today: number
  /** Scans of the last minutes in steps, oldest first; the last step is not over yet. */
  readonly recent: { readonly step_seconds: number; readonly scans: readonly number[] }
  readonly milestones: readonly Milestone[]
}

export interface SocketEnd {
  'session:ended': (end: { readonly code: string }) => void
}

interface ServerEvents extends SocketEnd, ChatEvents {
  position: (position: { readonly stream: string } & Position) => void
  'scan:accepted': (data: object) => void
  'comp:awarded': (data: object) => void
  'tier:changed': (data: object) => void
  'withdrawal:completed': (data: object) => void
  snapshot: (snapshot: Snapshot) => void
  counter: (counter: Counter) => void
  feed: (item: FeedItem & Position) => void
  velocity: (velocity: Velocity) => void
  treasury: (balance: TreasuryBalance) => void
}

/** What a member is told of. */
export type PersonalFact = ScanAccepted | CompAwarded | TierChanged | WithdrawalCompleted
export type PersonalEvent = 'scan:accepted' | 'comp:awarded' | 'tier:changed' | 'withdrawal:completed'
export type PersonalEntry = Entry<PersonalEvent>
export type FeedEntry = Entry<'feed', FeedItem>

export interface SocketData {
  /** Absent on the public side of `/insights/live`. */
  member?: Member
}

export type SocketServer = Server<DefaultEventsMap, ServerEvents, DefaultEventsMap, SocketData>
export type SocketNamespace = Namespace<DefaultEventsMap, ServerEvents, DefaultEventsMap, SocketData>
export type ServerSocket = Socket<DefaultEventsMap, ServerEvents, DefaultEventsMap, SocketData>

export const isoTime = (atMs: number): string => new Date(atMs).toISOString()

/** What a member is told of what happened to him. */
export function personalEvent(fact: PersonalFact, atMs: number): { event: PersonalEvent; data: object } {
  const at = isoTime(atMs)
  switch (fact.type) {
    case 'scan.accepted':
      return { event: 'scan:accepted', data: { ...scanFields(fact), at } }
    case 'comp.awarded':
      return { event: 'comp:awarded', data: { ...compFields(fact), at } }
    case 'tier.changed':
      return { event: 'tier:changed', data: { ...tierFields(fact), at } }
    case 'withdrawal.completed':
      return { event: 'withdrawal:completed', data: { ...withdrawalFields(fact), at } }
  }
}

function scanFields(fact: ScanAccepted) {
  return {
    scan_id: fact.scanId,
    ordinal: fact.ordinal,
    sku: fact.sku,
    method: fact.method,
    quarter: fact.quarter,
    quarter_scans: fact.quarterScans,
    tier: fact.tier,
    comp_type: fact.compType,
    comp_amount: usdOf(fact.compAmount),
    milestone: fact.milestone,
  }
}

function compFields(fact: CompAwarded) {
  return {
    comp_id: fact.compId,
    comp_type: fact.compType,
    amount: usdOf(fact.amount),
    scan_id: fact.scanId,
    ordinal: fact.ordinal,
    milestone: fact.milestone,
    funded: fact.funded,
  }
}

function tierFields(fact: TierChanged) {
  return {
    from: fact.from,
    to: fact.to,
    quarter: fact.quarter,
    quarter_scans: fact.quarterScans,
    because: fact.because,
    locked: fact.locked,
    expires_at: fact.expiresAt === null ? null : isoTime(fact.expiresAt),
  }
}

function withdrawalFields({ hash, amount, from, to }: WithdrawalCompleted) {
  return { transaction_hash: hash, amount: usdOf(amount), from, to }
}

export function scanItem(count: number, atMs: number): FeedItem {
  const text = count === 1 ? 'Someone scanned a tin' : `${count.toLocaleString('en-US')} tins scanned`
  return { kind: 'scan', text, at: isoTime(atMs), count }
}

export function compItem({ compType, amount }: CompAwarded, atMs: number): FeedItem {
  const text = compText(compType, amount)
  return { kind: 'comp', text, at: isoTime(atMs), comp_type: compType, amount: usdOf(amount) }
}

/** Without the transaction: the chain would tell whose wallet it was. */
export function payoutItem({ amount }: PayoutSettled, atMs: number): FeedItem {
  return { kind: 'payout', text: `${prizeText(amount)} was paid out`, at: isoTime(atMs), amount: usdOf(amount) }
}

export function tierItem({ to }: TierChanged, atMs: number): FeedItem {
  return { kind: 'tier', text: `Someone reached ${tierTitles[to]}!`, at: isoTime(atMs), tier: to }
}

/** Milestones as they are shown, the nearest first. Amounts are micro-units; a prize without one is a trip. */
export function milestonesOf(rules: readonly { readonly every: number; readonly amount: bigint }[]): Milestone[] {
  return rules
    .map(({ every, amount }) => ({ every, prize: amount === 0n ? 'trip' : prizeText(amount) }))
    .sort((one, other) => one.every - other.every)
}

function compText(compType: CompAwarded['compType'], amount: bigint): string {
  switch (compType) {
    case 'trip':
      return 'Someone won a trip!'
    case 'casino':
      return amount === 0n ? 'Someone won a casino comp!' : `Someone won a ${prizeText(amount)} casino comp!`
    case 'new_member_guarantee':
      return `New member ${prizeText(amount)} guarantee!`
    default:
      return `Someone won ${prizeText(amount)}!`
  }
}

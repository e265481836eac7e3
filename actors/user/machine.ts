/**
 * A member's standing: quarter counts, tier, fraud windows, sessions. The hot actor, journaled on every scan, so its
 * context stays small; credentials and profile are in `account`.
 */
import { setup } from 'xstate'
import { defineActor } from '../../engine/actor.js'
import { type Decision as DecisionOn, deciderFor } from '../../engine/decide.js'
import type { Fact } from '../../engine/fact.js'
import type { LoyaltyRules } from '../programs/rules.js'
import { type Quarter, rankOf, standingIn, type TierBasis } from '../programs/tiers.js'
import {
  administratorChanged,
  type Device,
  sessionClosed,
  sessionOpened,
  type TierName,
  tierChanged,
  userCreated,
  userStandingChanged,
} from './facts.js'

export interface Session {
  readonly id: string
  /** Generation of the refresh token that is valid now. */
  readonly generation: number
  readonly openedAt: number
  readonly expiresAt: number
}

export interface Place {
  readonly lat: number
  readonly lng: number
  readonly at: number
}

export interface UserContext extends TierBasis {
  readonly userId: string
  readonly number: number
  readonly isAdmin: boolean
  readonly referrerId: string | null
  readonly lifetimeScans: number
  /** The effective tier when it was last announced, and whether it was then held beyond the quarter. */
  readonly tier: TierName
  readonly locked: boolean
  /** Times of accepted scans within the velocity window, oldest first (BJ-FRD-01). */
  readonly scanTimes: readonly number[]
  readonly place: Place | null
  /** Unknown codes tried since the window began (BJ-FRD-04). */
  readonly guesses: number
  readonly guessesSince: number
  /** Micro-USDT won ever. */
  readonly lifetimeComps: bigint
  readonly goldChips: number
  readonly sessions: Readonly<Record<Device, Session | null>>
}

export type UserInput = {
  userId: string
  number: number
  isAdmin: boolean
  referrerId: string | null
  quarter: string
}

type SessionEnd = 'logout' | 'other_device' | 'token_reuse' | 'password_changed' | 'suspended'

export type UserEvent =
  | { type: 'scan.counted'; at: number; quarter: Quarter; place: { lat: number; lng: number } | null }
  | { type: 'guess.counted'; at: number }
  | { type: 'comp.credited'; amount: bigint }
  | { type: 'chip.credited' }
  | { type: 'tins.credited'; tins: number; quarter: Quarter }
  | { type: 'tier.set'; tier: TierName | null; quarter: Quarter }
  | { type: 'session.opened'; device: Device; session: Session }
  | { type: 'session.refreshed'; device: Device; expiresAt: number }
  | { type: 'session.closed'; device: Device; because: SessionEnd }
  | { type: 'sessions.closed'; because: SessionEnd }
  | { type: 'suspended'; by: string; reason: string }
  | { type: 'activated'; by: string; reason: string }
  | { type: 'admin.set'; isAdmin: boolean; by: string }

type Of<Type extends UserEvent['type']> = Extract<UserEvent, { type: Type }>
type Decision = DecisionOn<UserContext>

const decide = deciderFor<UserContext, UserEvent>()

/** Builds the `user` actor type of a program. */
export function createUserActor(rules: LoyaltyRules) {
  /** The tier that follows from `basis`, announced if it, or how it is held, differs from what was announced last. */
  function retier(
    context: UserContext,
    basis: TierBasis,
    quarter: Quarter,
    because: 'scan' | 'referrals' | 'admin',
  ): Decision {
    const { tier, locked, quarterScans } = standingIn(rules, basis, quarter)
    const { quarter: key, referralTins, override } = basis
    const next = { quarter: key, quarterScans, referralTins, override, tier, locked }
    if (tier === context.tier && locked === context.locked) return { context: next }
    // Only an admin or the end of a quarter takes a tier away.
    const fell = because !== 'admin' && rankOf(rules, tier) < rankOf(rules, context.tier)
    const fact = tierChanged.make({
      userId: context.userId,
      number: context.number,
      from: context.tier,
      to: tier,
      quarter: quarter.key,
      quarterScans,
      because: fell ? 'quarter_end' : because,
      locked,
      expiresAt: locked ? null : quarter.endsAt,
    })
    return { context: next, facts: [fact] }
  }

  function countScan(context: UserContext, event: Of<'scan.counted'>): Decision {
    const { at, quarter, place } = event
    const { referralTins, override } = context
    const quarterScans = (context.quarter === quarter.key ? context.quarterScans : 0) + 1
    const basis = { quarter: quarter.key, quarterScans, referralTins, override }
    const { context: tiered, facts = [] } = retier(context, basis, quarter, 'scan')
    const scanTimes = context.scanTimes.filter((time) => time > at - rules.velocity.windowMs)
    scanTimes.push(at)
    return {
      context: {
        lifetimeScans: context.lifetimeScans + 1,
        scanTimes,
        place: place === null ? context.place : { lat: place.lat, lng: place.lng, at },
        ...tiered,
      },
      facts,
    }
  }

  function countGuess(context: UserContext, { at }: Of<'guess.counted'>): Decision {
    const isNewWindow = at - context.guessesSince > rules.guessing.windowMs
    return {
      context: {
        guesses: isNewWindow ? 1 : context.guesses + 1,
        guessesSince: isNewWindow ? at : context.guessesSince,
      },
    }
  }

  /** One session a device class: a new one ends the old one (BJ-AUTH-17, BJ-AUTH-18). */
  function openSession(context: UserContext, { device, session }: Of<'session.opened'>): Decision {
    const { context: closed, facts = [] } = endSession(context, device, 'other_device')
    return {
      context: { sessions: { ...(closed.sessions ?? context.sessions), [device]: session } },
      facts: [...facts, sessionOpened.make({ userId: context.userId, sessionId: session.id, device })],
    }
  }

  function refreshSession(context: UserContext, { device, expiresAt }: Of<'session.refreshed'>): Decision {
    const session = context.sessions[device]
    if (session === null) return { context: {} }
    const next = { ...session, generation: session.generation + 1, expiresAt }
    return { context: { sessions: { ...context.sessions, [device]: next } } }
  }

  function endSessions(context: UserContext, because: SessionEnd): Decision {
    const mobile = endSession(context, 'mobile', because)
    const desktop = endSession(context, 'desktop', because)
    return {
      context: { sessions: { mobile: null, desktop: null } },
      facts: [...(mobile.facts ?? []), ...(desktop.facts ?? [])],
    }
  }

  const machine = setup({
    types: { context: {} as UserContext, events: {} as UserEvent, input: {} as UserInput, emitted: {} as Fact },
  }).createMachine({
    id: 'user',
    initial: 'active',
    context: ({ input }) => ({
      ...input,
      quarterScans: 0,
      referralTins: 0,
      override: null,
      lifetimeScans: 0,
      tier: rules.tiers[0].name,
      locked: false,
      scanTimes: [],
      place: null,
      guesses: 0,
      guessesSince: 0,
      lifetimeComps: 0n,
      goldChips: 0,
      sessions: { mobile: null, desktop: null },
    }),
    on: {
      'comp.credited': {
        actions: decide((context: UserContext, { amount }: Of<'comp.credited'>) => ({
          context: { lifetimeComps: context.lifetimeComps + amount },
        })),
      },
      'chip.credited': {
        actions: decide((context: UserContext) => ({ context: { goldChips: context.goldChips + 1 } })),
      },
      'tins.credited': {
        actions: decide((context: UserContext, { tins, quarter }: Of<'tins.credited'>) =>
          retier(context, { ...context, referralTins: context.referralTins + tins }, quarter, 'referrals'),
        ),
      },
      'tier.set': {
        actions: decide((context: UserContext, { tier, quarter }: Of<'tier.set'>) =>
          retier(context, { ...context, override: tier }, quarter, 'admin'),
        ),
      },
      'admin.set': {
        actions: decide((context: UserContext, { isAdmin, by }: Of<'admin.set'>) => {
          if (context.isAdmin === isAdmin) return { context: {} }
          return { context: { isAdmin }, facts: [administratorChanged.make({ userId: context.userId, isAdmin, by })] }
        }),
      },
      'session.closed': {
        actions: decide((context: UserContext, { device, because }: Of<'session.closed'>) =>
          endSession(context, device, because),
        ),
      },
      'sessions.closed': {
        actions: decide((context: UserContext, { because }: Of<'sessions.closed'>) => endSessions(context, because)),
      },
    },
    states: {
      active: {
        on: {
          'scan.counted': { actions: decide(countScan) },
          'guess.counted': { actions: decide(countGuess) },
          'session.opened': { actions: decide(openSession) },
          'session.refreshed': { actions: decide(refreshSession) },
          suspended: {
            target: 'suspended',
            actions: decide((context: UserContext, event: Of<'suspended'>) => {
              const ended = endSessions(context, 'suspended')
              return { ...ended, facts: [...(ended.facts ?? []), standingFact(context, 'suspended', event)] }
            }),
          },
        },
      },
      suspended: {
        on: {
          activated: {
            target: 'active',
            actions: decide((context: UserContext, event: Of<'activated'>) => ({
              context: {},
              facts: [standingFact(context, 'active', event)],
            })),
          },
        },
      },
    },
  })
  return defineActor({ type: 'user', machine, residency: 'cached' })
}

export type UserActor = ReturnType<typeof createUserActor>

export function createdFact(input: UserInput): Fact {
  const { userId, number, referrerId, isAdmin } = input
  return userCreated.make({ userId, number, referrerId, isAdmin })
}

function endSession(context: UserContext, device: Device, because: SessionEnd): Decision {
  const session = context.sessions[device]
  if (session === null) return { context: {} }
  return {
    context: { sessions: { ...context.sessions, [device]: null } },
    facts: [sessionClosed.make({ userId: context.userId, sessionId: session.id, device, because })],
  }
}

function standingFact(
  context: UserContext,
  standing: 'active' | 'suspended',
  { by, reason }: { by: string; reason: string },
) {
  return userStandingChanged.make({ userId: context.userId, standing, by, reason })
}

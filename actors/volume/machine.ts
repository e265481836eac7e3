/**
 * Tins sold by month and what they unlocked (BJ-UNL-01…06, BJ-T07, BJ-T08). One measure for all: tins sold in this
 * calendar month and the two before it, divided by three. An unlock latches; trips are limited a month.
 */
import { setup } from 'xstate'
import { defineActor } from '../../engine/actor.js'
import { type Decision, deciderFor } from '../../engine/decide.js'
import type { CompType, LoyaltyRules } from '../programs/rules.js'
import { compUnlocked, tinsSold, unlockThresholdChanged } from './facts.js'

const WINDOW_MONTHS = 3

export interface VolumeContext {
  /** Tins by month number (years × 12 + month); only the window is kept. */
  readonly months: Readonly<Record<string, number>>
  /** Tins a month at which each comp type unlocks. */
  readonly thresholds: Readonly<Record<string, number>>
  /** When each unlocked comp type was unlocked, in milliseconds. */
  readonly unlocked: Readonly<Record<string, number>>
  readonly tripsMonth: number
  readonly tripsAwarded: number
}

type VolumeEvent =
  | { type: 'tins.sold'; at: number; tins: number; userId: string | null; reference: string; by: string }
  | { type: 'unlocked'; at: number; compType: CompType; by: string }
  | { type: 'threshold.set'; at: number; compType: CompType; tinsPerMonth: number; by: string }
  | { type: 'trip.awarded'; at: number }
type Of<Type extends VolumeEvent['type']> = Extract<VolumeEvent, { type: Type }>

const decide = deciderFor<VolumeContext, VolumeEvent>()

/** Months since year 0, UTC. */
export function monthOf(at: number): number {
  const date = new Date(at)
  return date.getUTCFullYear() * 12 + date.getUTCMonth()
}

/** Tins a month, averaged over the window that ends with the month of `at`. */
export function averageTins({ months }: VolumeContext, at: number): number {
  const month = monthOf(at)
  let tins = 0
  for (let back = 0; back < WINDOW_MONTHS; back++) tins += months[String(month - back)] ?? 0
  return tins / WINDOW_MONTHS
}

/** Why a comp type cannot be won now, or null. */
export function barredBy(rules: LoyaltyRules, volume: VolumeContext, at: number) {
  return (compType: CompType): 'locked' | 'monthly_limit' | null => {
    if (!isUnlocked(rules, volume, compType)) return 'locked'
    if (compType !== 'trip') return null
    const perTrip = Math.max(1, thresholdOf(rules, volume, 'trip'))
    const allowed = Math.max(1, Math.floor(averageTins(volume, at) / perTrip))
    return volume.tripsMonth === monthOf(at) && volume.tripsAwarded >= allowed ? 'monthly_limit' : null
  }
}

export function thresholdOf(rules: LoyaltyRules, volume: VolumeContext, compType: CompType): number {
  return volume.thresholds[compType] ?? firstThreshold(rules, compType)
}

/** What starts with no threshold is unlocked from the first day, whatever is set later (BJ-UNL-01, BJ-T08). */
export function isUnlocked(rules: LoyaltyRules, volume: VolumeContext, compType: CompType): boolean {
  return volume.unlocked[compType] !== undefined || firstThreshold(rules, compType) === 0
}

function firstThreshold(rules: LoyaltyRules, compType: CompType): number {
  return rules.unlocks.find((unlock) => unlock.compType === compType)?.tinsPerMonth ?? 0
}

export function createVolumeActor(rules: LoyaltyRules) {
  /** Latches every comp type whose threshold the average has reached. */
  function latch(context: VolumeContext, at: number, by: string): Required<Decision<VolumeContext>> {
    const average = averageTins(context, at)
    const reached = rules.unlocks
      .map(({ compType }) => compType)
      .filter((type) => !isUnlocked(rules, context, type) && average >= thresholdOf(rules, context, type))
    if (reached.length === 0) return { context, facts: [] }
    const unlocked = { ...context.unlocked, ...Object.fromEntries(reached.map((type) => [type, at])) }
    return {
      context: { ...context, unlocked },
      facts: reached.map((compType) => compUnlocked.make({ compType, average, by })),
    }
  }

  function sell(context: VolumeContext, event: Of<'tins.sold'>): Decision<VolumeContext> {
    const { at, tins, userId, reference, by } = event
    const month = monthOf(at)
    const kept = Object.entries(context.months).filter(([key]) => Number(key) > month - WINDOW_MONTHS)
    const months = Object.fromEntries(kept)
    months[String(month)] = (months[String(month)] ?? 0) + tins
    const next = { ...context, months }
    const sold = tinsSold.make({ tins, userId, reference, average: averageTins(next, at), by })
    const latched = latch(next, at, 'volume')
    return { context: latched.context, facts: [sold, ...latched.facts] }
  }

  function unlock(context: VolumeContext, { at, compType, by }: Of<'unlocked'>): Decision<VolumeContext> {
    if (isUnlocked(rules, context, compType)) return { context: {} }
    const fact = compUnlocked.make({ compType, average: averageTins(context, at), by })
    return { context: { unlocked: { ...context.unlocked, [compType]: at } }, facts: [fact] }
  }

  function setThreshold(context: VolumeContext, event: Of<'threshold.set'>): Decision<VolumeContext> {
    const { at, compType, tinsPerMonth, by } = event
    const next = { ...context, thresholds: { ...context.thresholds, [compType]: tinsPerMonth } }
    const latched = latch(next, at, by)
    return {
      context: latched.context,
      facts: [unlockThresholdChanged.make({ compType, tinsPerMonth, by }), ...latched.facts],
    }
  }

  function countTrip(context: VolumeContext, { at }: Of<'trip.awarded'>): Decision<VolumeContext> {
    const month = monthOf(at)
    const before = context.tripsMonth === month ? context.tripsAwarded : 0
    return { context: { tripsMonth: month, tripsAwarded: before + 1 } }
  }

  const machine = setup({ types: { context: {} as VolumeContext, events: {} as VolumeEvent } }).createMachine({
    id: 'volume',
    initial: 'measuring',
    context: { months: {}, thresholds: {}, unlocked: {}, tripsMonth: 0, tripsAwarded: 0 },
    states: {
      measuring: {
        on: {
          'tins.sold': { actions: decide(sell) },
          unlocked: { actions: decide(unlock) },
          'threshold.set': { actions: decide(setThreshold) },
          'trip.awarded': { actions: decide(countTrip) },
        },
      },
    },
  })
  return defineActor({ type: 'volume', machine, residency: 'pinned' })
}

export type VolumeActor = ReturnType<typeof createVolumeActor>

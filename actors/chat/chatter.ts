/**
 * A member as the chat knows them: their standing, told by message from the loyalty side (architecture §7), how fast
 * they write, whether they may, and how far they have read.
 */
import { setup } from 'xstate'
import { defineActor } from '../../engine/actor.js'
import { deciderFor } from '../../engine/decide.js'
import { quarterOf } from '../programs/tiers.js'
import type { TierName } from '../user/facts.js'
import { memberSilenced, memberUnsilenced } from './facts.js'
import type { AllowedAct } from './rules.js'

/** What the loyalty side tells of a member. */
export interface MemberStanding {
  readonly username: string
  readonly isAdmin: boolean
  readonly isSuspended: boolean
  readonly memberSince: number
  /** The effective tier in `quarter` (`2026-Q4`), and the one that is left when it ends (BJ-T29). */
  readonly tier: TierName
  readonly quarter: string
  readonly tierAfterwards: TierName
}

export interface Silence {
  readonly how: 'muted' | 'timed_out' | 'banned'
  /** Null for good. */
  readonly until: number | null
  readonly because: string
}

export interface ChatterContext extends MemberStanding {
  readonly userId: string
  readonly silence: Silence | null
  readonly lastAt: number
  /** Messages that came too fast since there was calm. */
  readonly violations: number
  readonly violatedAt: number
  /** Identical messages in a row: what they say, how many, since when. */
  readonly repeated: string
  readonly repeats: number
  readonly repeatedSince: number
  /** When they last wrote, by channel with slow mode. */
  readonly slowed: Readonly<Record<string, number>>
  /** Numbers of the last messages read, by channel. */
  readonly read: Readonly<Record<string, number>>
  /** When all that was done will have been made up for; not there before anything was. */
  readonly usedUntil?: Readonly<Partial<Record<AllowedAct, number>>>
}

export type ChatterEvent =
  | { type: 'standing.told'; standing: Partial<MemberStanding> }
  | { type: 'wrote'; at: number; sameness: string; repeats: number; slowedIn: string | null }
  | { type: 'hurried'; at: number; violations: number }
  | { type: 'used'; act: AllowedAct; until: number }
  | { type: 'silenced'; silence: Silence; by: string }
  | { type: 'unsilenced'; by: string }
  | { type: 'read'; channelId: string; number: number }
type Of<Type extends ChatterEvent['type']> = Extract<ChatterEvent, { type: Type }>

const decide = deciderFor<ChatterContext, ChatterEvent>()

/** The tier in force at a time: it ends with its quarter even if nobody has said so yet (BJ-T29). */
export function tierAt({ tier, quarter, tierAfterwards }: MemberStanding, at: number): TierName {
  return quarter === quarterOf(at).key ? tier : tierAfterwards
}

/** What keeps a member from writing at a time. */
export function silenceAt({ silence }: ChatterContext, at: number): Silence | null {
  return silence !== null && (silence.until === null || silence.until > at) ? silence : null
}

function write(context: ChatterContext, { at, sameness, repeats, slowedIn }: Of<'wrote'>) {
  return {
    context: {
      lastAt: at,
      repeated: sameness,
      repeats,
      repeatedSince: repeats === 1 ? at : context.repeatedSince,
      ...(slowedIn === null ? {} : { slowed: { ...context.slowed, [slowedIn]: at } }),
    },
  }
}

const machine = setup({
  types: {
    context: {} as ChatterContext,
    events: {} as ChatterEvent,
    input: {} as MemberStanding & { userId: string },
  },
}).createMachine({
  id: 'chatter',
  initial: 'known',
  context: ({ input }) => ({
    ...input,
    silence: null,
    lastAt: 0,
    violations: 0,
    violatedAt: 0,
    repeated: '',
    repeats: 0,
    repeatedSince: 0,
    slowed: {},
    read: {},
  }),
  states: {
    known: {
      on: {
        'standing.told': { actions: decide((_, { standing }: Of<'standing.told'>) => ({ context: standing })) },
        wrote: { actions: decide(write) },
        hurried: {
          actions: decide((_, { at, violations }: Of<'hurried'>) => ({ context: { violations, violatedAt: at } })),
        },
        used: {
          actions: decide(({ usedUntil }, { act, until }: Of<'used'>) => ({
            context: { usedUntil: { ...usedUntil, [act]: until } },
          })),
        },
        silenced: {
          actions: decide(({ userId }, { silence, by }: Of<'silenced'>) => ({
            context: { silence },
            facts: [memberSilenced.make({ userId, ...silence, by })],
          })),
        },
        unsilenced: {
          actions: decide(({ userId }, { by }: Of<'unsilenced'>) => ({
            context: { silence: null, repeats: 0, violations: 0 },
            facts: [memberUnsilenced.make({ userId, by })],
          })),
        },
        read: {
          actions: decide(({ read }, { channelId, number }: Of<'read'>) => ({
            context: { read: { ...read, [channelId]: number } },
          })),
        },
      },
    },
  },
})

export const chatter = defineActor({ type: 'chatter', machine, residency: 'cached' })

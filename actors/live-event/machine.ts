/**
 * A live event: scheduled, then live, then ended; or cancelled (BJ-LIVE-06). Who watches is counted by the gateway.
 *
 * Q1 Members are reminded once of each start, never after it and never of an event that is not to come.
 * Q2 The peak never falls, and is never below what was counted.
 * Q3 Every fact carries the whole event and a version that is higher than that of the one before.
 */
import { setup } from 'xstate'
import { defineActor } from '../../engine/actor.js'
import { deciderFor } from '../../engine/decide.js'
import {
  type LiveEventChange,
  type LiveEventProfile,
  type LiveEventRow,
  type LiveEventStatus,
  liveEventChanged,
  liveReminderDue,
  type Overlay,
} from './facts.js'

export interface LiveEventInput extends LiveEventProfile {
  readonly eventId: string
  readonly streamKey: string
  readonly startsAt: number
  readonly createdBy: string
  readonly createdAt: number
}

/** The status is the state of the machine. */
export interface LiveEventContext extends Omit<LiveEventRow, 'status'> {
  /** The start that members were reminded of. */
  readonly remindedOf: number | null
}

export type LiveEventEvent =
  | { type: 'edited'; profile: LiveEventProfile; startsAt: number; by: string }
  | { type: 'started'; at: number; by: string }
  | { type: 'stopped'; at: number; by: string }
  | { type: 'cancelled'; at: number; by: string }
  | { type: 'overlaid'; overlay: Overlay | null; by: string }
  | { type: 'vod.set'; url: string | null; by: string }
  | { type: 'counted'; viewers: number; peakViewers: number }
  | { type: 'reminded' }
type Of<Type extends LiveEventEvent['type']> = Extract<LiveEventEvent, { type: Type }>

const decide = deciderFor<LiveEventContext, LiveEventEvent>()

/** The event as it is told and stored. */
export function rowOf({ remindedOf: _, ...event }: LiveEventContext, status: LiveEventStatus): LiveEventRow {
  return { ...event, status }
}

// Q3
function moved(
  before: LiveEventContext,
  status: LiveEventStatus,
  what: LiveEventChange,
  by: string,
  changed: Partial<LiveEventContext>,
) {
  const context = { ...changed, version: before.version + 1 }
  const event = rowOf({ ...before, ...context }, status)
  return { context, facts: [liveEventChanged.make({ event, change: what, by })] }
}

const edit = (status: LiveEventStatus) =>
  decide((context, { profile, startsAt, by }: Of<'edited'>) =>
    moved(context, status, 'edited', by, { ...profile, startsAt }),
  )

const overlay = (status: LiveEventStatus) =>
  decide((context, { overlay: next, by }: Of<'overlaid'>) =>
    moved(context, status, next === null ? 'overlay_cleared' : 'overlay_pinned', by, { overlay: next }),
  )

const count = (status: LiveEventStatus) =>
  decide((context, { viewers, peakViewers }: Of<'counted'>) =>
    moved(context, status, 'viewers_counted', 'system', { viewers, peakViewers }),
  )

const over = { viewers: 0, overlay: null }

const cancelled = {
  target: 'cancelled',
  actions: decide((context, { at, by }: Of<'cancelled'>) =>
    moved(context, 'cancelled', 'cancelled', by, { ...over, endedAt: at }),
  ),
} as const

/** Q1 */
function remind(context: LiveEventContext) {
  const reminded = { remindedOf: context.startsAt }
  return { context: reminded, facts: [liveReminderDue.make({ event: rowOf(context, 'scheduled') })] }
}

const machine = setup({
  types: { context: {} as LiveEventContext, events: {} as LiveEventEvent, input: {} as LiveEventInput },
}).createMachine({
  id: 'live-event',
  initial: 'scheduled',
  context: ({ input }) => ({
    ...input,
    version: 1,
    startedAt: null,
    endedAt: null,
    viewers: 0,
    peakViewers: 0,
    overlay: null,
    vodUrl: null,
    remindedOf: null,
  }),
  states: {
    scheduled: {
      on: {
        edited: { actions: edit('scheduled') },
        overlaid: { actions: overlay('scheduled') },
        reminded: { actions: decide(remind) },
        started: {
          target: 'live',
          actions: decide((context, { at, by }: Of<'started'>) =>
            moved(context, 'live', 'started', by, { startedAt: at }),
          ),
        },
        cancelled,
      },
    },
    live: {
      on: {
        edited: { actions: edit('live') },
        overlaid: { actions: overlay('live') },
        counted: { actions: count('live') },
        stopped: {
          target: 'ended',
          actions: decide((context, { at, by }: Of<'stopped'>) =>
            moved(context, 'ended', 'stopped', by, { ...over, endedAt: at }),
          ),
        },
        cancelled,
      },
    },
    ended: {
      on: {
        /** What was counted before the end and told after it. */
        counted: { actions: count('ended') },
        'vod.set': {
          actions: decide((context, { url, by }: Of<'vod.set'>) =>
            moved(context, 'ended', 'vod_set', by, { vodUrl: url }),
          ),
        },
      },
    },
    cancelled: {},
  },
})

export const liveEvent = defineActor({ type: 'live-event', machine, residency: 'cached' })

interface ProgrammeContext {
  /** Scheduled or live, in the order they were scheduled. */
  readonly eventIds: readonly string[]
}
type ProgrammeEvent = { type: 'added'; eventId: string } | { type: 'removed'; eventId: string }

const decideProgramme = deciderFor<ProgrammeContext, ProgrammeEvent>()

const programmeMachine = setup({
  types: { context: {} as ProgrammeContext, events: {} as ProgrammeEvent },
}).createMachine({
  id: 'live-programme',
  initial: 'known',
  context: { eventIds: [] },
  states: {
    known: {
      on: {
        added: {
          actions: decideProgramme(({ eventIds }, { eventId }) => ({ context: { eventIds: [...eventIds, eventId] } })),
        },
        removed: {
          actions: decideProgramme(({ eventIds }, { eventId }) => ({
            context: { eventIds: eventIds.filter((other) => other !== eventId) },
          })),
        },
      },
    },
  },
})

/** Which events are scheduled or live; the others are in Postgres only. */
export const liveProgramme = defineActor({ type: 'live-programme', machine: programmeMachine, residency: 'pinned' })
export const theProgramme = liveProgramme.ref('all')

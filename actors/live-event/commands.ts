/** What administrators do with live events (BJ-LIVE-05, BJ-LIVE-08), and what the gateway counts. */
import { z } from 'zod'
import type { ActorRef } from '../../engine/actor.js'
import { defineCommand } from '../../engine/command.js'
import { DomainError } from '../../engine/errors.js'
import type { ReadScope, Turn } from '../../engine/turn.js'
import { channel } from '../chat/channel.js'
import { theChannels } from '../chat/channel-list.js'
import { channelUnknown, moderatorRefs, requireModerator } from '../chat/rights.js'
import { type LiveEventRow, type LiveEventStatus, liveEventChanged, liveEventProfile } from './facts.js'
import { type LiveEventEvent, liveEvent, rowOf, theProgramme } from './machine.js'
import type { LiveEventRules } from './rules.js'

const id = z.string().min(1).max(64)
const milliseconds = z.number().int()
const REMINDER = 'reminder'

type LiveEventRef = ActorRef<typeof liveEvent.machine>

export function liveEventCommands(rules: LiveEventRules) {
  const onEvent = z.object({ eventId: id })
  const refsOf = ({ eventId }: { eventId: string }, who: { role: string; userId: string }) => [
    ...moderatorRefs(who),
    liveEvent.ref(eventId),
  ]

  /** Q1 An hour before the start; there is nothing to tell when that is past. */
  const remind = defineCommand({
    name: 'live.remind',
    input: onEvent,
    who: 'system',
    actors: refsOf,
    handle: (turn, { eventId }) => {
      const ref = liveEvent.ref(eventId)
      if (turn.exists(ref) && turn.at < turn.context(ref).startsAt) turn.step(ref, { type: 'reminded' })
      return null
    },
  })

  // Q1
  function setReminder(turn: Turn, ref: LiveEventRef): void {
    const { eventId, startsAt, remindedOf } = turn.context(ref)
    const dueAt = startsAt - rules.reminderBeforeMs
    if (dueAt >= turn.at && startsAt !== remindedOf) turn.setAlarm(ref, REMINDER, dueAt, remind, { eventId })
    else turn.clearAlarm(ref, REMINDER)
  }

  /** Ids and keys are drawn at random at the edge. Errors: `too_many_events`, `start_past`, `channel_unknown`. */
  const schedule = defineCommand({
    name: 'live.schedule',
    input: z.object({
      eventId: id,
      streamKey: z.string().min(16).max(100),
      profile: liveEventProfile,
      /** Null means now. */
      startsAt: milliseconds.nullable(),
    }),
    who: 'admin',
    actors: ({ eventId }, who) => [...moderatorRefs(who), liveEvent.newRef(eventId)],
    handle: (turn, { eventId, streamKey, profile, startsAt: planned }): LiveEventRow => {
      const by = requireModerator(turn, turn.who)
      if (turn.context(theProgramme).eventIds.length >= rules.eventsMax) {
        throw new DomainError('conflict', 'too_many_events', `At most ${rules.eventsMax} events are scheduled or live.`)
      }
      const startsAt = planned ?? turn.at
      requireFuture(startsAt, turn.at)
      requireChannel(turn, profile.channelId)
      const ref = liveEvent.ref(eventId)
      turn.create(ref, { ...profile, eventId, streamKey, startsAt, createdBy: by, createdAt: turn.at })
      turn.step(theProgramme, { type: 'added', eventId })
      setReminder(turn, ref)
      const event = liveRow(turn, ref)
      turn.emit(liveEventChanged.make({ event, change: 'scheduled', by }))
      return event
    },
  })

  /** What is left out stays. Errors: `event_unknown`, `event_state`, `start_past`, `channel_unknown`. */
  const edit = defineCommand({
    name: 'live.edit',
    input: onEvent.extend({ edit: liveEventProfile.partial(), startsAt: milliseconds.nullable() }),
    who: 'admin',
    actors: refsOf,
    handle: (turn, { eventId, edit: wanted, startsAt: moved }): LiveEventRow => {
      const by = requireModerator(turn, turn.who)
      const ref = existing(turn, eventId)
      const { title, description, hostName, minimumTier, channelId, startsAt } = turn.context(ref)
      const profile = { title, description, hostName, minimumTier, channelId, ...definedOf(wanted) }
      if (profile.channelId !== channelId) requireChannel(turn, profile.channelId)
      if (moved === null || moved === startsAt) return step(turn, ref, { type: 'edited', profile, startsAt, by })
      if (turn.value(ref) !== 'scheduled') throw wrongState(turn.value(ref))
      requireFuture(moved, turn.at)
      step(turn, ref, { type: 'edited', profile, startsAt: moved, by })
      setReminder(turn, ref)
      return liveRow(turn, ref)
    },
  })

  /** Earlier or later than planned. Errors: `event_unknown`, `event_state`. */
  const start = defineCommand({
    name: 'live.start',
    input: onEvent,
    who: 'admin',
    actors: refsOf,
    handle: (turn, { eventId }): LiveEventRow => {
      const by = requireModerator(turn, turn.who)
      const ref = existing(turn, eventId)
      turn.clearAlarm(ref, REMINDER)
      return step(turn, ref, { type: 'started', at: turn.at, by })
    },
  })

  const stop = defineCommand({
    name: 'live.stop',
    input: onEvent,
    who: 'admin',
    actors: refsOf,
    handle: (turn, { eventId }): LiveEventRow => {
      const by = requireModerator(turn, turn.who)
      const ref = existing(turn, eventId)
      turn.step(theProgramme, { type: 'removed', eventId })
      return step(turn, ref, { type: 'stopped', at: turn.at, by })
    },
  })

  /** Also of one that is live: it will not be in the archive. */
  const cancel = defineCommand({
    name: 'live.cancel',
    input: onEvent,
    who: 'admin',
    actors: refsOf,
    handle: (turn, { eventId }): LiveEventRow => {
      const by = requireModerator(turn, turn.who)
      const ref = existing(turn, eventId)
      turn.clearAlarm(ref, REMINDER)
      turn.step(theProgramme, { type: 'removed', eventId })
      return step(turn, ref, { type: 'cancelled', at: turn.at, by })
    },
  })

  /** Pins an announcement over the picture; null takes it off. */
  const overlay = defineCommand({
    name: 'live.overlay',
    input: onEvent.extend({ text: z.string().trim().min(1).max(500).nullable() }),
    who: 'admin',
    actors: refsOf,
    handle: (turn, { eventId, text }): LiveEventRow => {
      const by = requireModerator(turn, turn.who)
      const next = text === null ? null : { text, pinnedAt: turn.at }
      return step(turn, existing(turn, eventId), { type: 'overlaid', overlay: next, by })
    },
  })

  /** Where an event that has ended can be seen again; null for nowhere. */
  const setVod = defineCommand({
    name: 'live.set_vod',
    input: onEvent.extend({
      url: z
        .url({ protocol: /^https$/ })
        .max(500)
        .nullable(),
    }),
    who: 'admin',
    actors: refsOf,
    handle: (turn, { eventId, url }): LiveEventRow => {
      const by = requireModerator(turn, turn.who)
      return step(turn, existing(turn, eventId), { type: 'vod.set', url, by })
    },
  })

  /** How many members watch, and the most there were since it was told last; after the end only the peak counts. */
  const countViewers = defineCommand({
    name: 'live.count_viewers',
    input: onEvent.extend({ viewers: z.number().int().min(0), peak: z.number().int().min(0) }),
    who: 'system',
    actors: refsOf,
    handle: (turn, { eventId, viewers: counted, peak }) => {
      const ref = liveEvent.ref(eventId)
      if (!turn.exists(ref)) return null
      const before = turn.context(ref)
      const viewers = turn.value(ref) === 'live' ? counted : 0
      const peakViewers = Math.max(before.peakViewers, peak, viewers) // Q2
      if (viewers !== before.viewers || peakViewers !== before.peakViewers) {
        turn.step(ref, { type: 'counted', viewers, peakViewers })
      }
      return null
    },
  })

  return { schedule, edit, start, stop, cancel, overlay, setVod, countViewers, remind }
}

export function liveRow(scope: ReadScope, ref: LiveEventRef): LiveEventRow {
  return rowOf(scope.context(ref), scope.value(ref) as LiveEventStatus)
}

export function eventUnknown(): DomainError {
  return new DomainError('not_found', 'event_unknown', 'There is no such event.', { field: 'event' })
}

function existing(turn: Turn, eventId: string): LiveEventRef {
  const ref = liveEvent.ref(eventId)
  if (!turn.exists(ref)) throw eventUnknown()
  return ref
}

function step(turn: Turn, ref: LiveEventRef, event: LiveEventEvent): LiveEventRow {
  if (!turn.step(ref, event)) throw wrongState(turn.value(ref))
  return liveRow(turn, ref)
}

function wrongState(status: unknown): DomainError {
  return new DomainError('conflict', 'event_state', `This cannot be done with an event that is ${status}.`)
}

function requireFuture(startsAt: number, at: number): void {
  if (startsAt >= at) return
  throw new DomainError('unprocessable', 'start_past', 'It would start in the past.', { field: 'scheduled_at' })
}

function requireChannel(turn: Turn, channelId: string): void {
  const isKnown = turn.context(theChannels).channelIds.includes(channelId)
  if (!isKnown || turn.value(channel.ref(channelId)) !== 'open') throw channelUnknown()
}

type Defined<T> = { [Key in keyof T]: Exclude<T[Key], undefined> }

function definedOf<T extends object>(value: T): Defined<T> {
  return Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined)) as Defined<T>
}

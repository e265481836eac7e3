/**
 * A channel: who may read and write in it, its modes, its pins, and the offset of the last thing that happened in it.
 *
 * X1 Every step takes the next offset, and every message the next number; the epoch says which channel these are of.
 */
import { setup } from 'xstate'
import { defineActor } from '../../engine/actor.js'
import { deciderFor } from '../../engine/decide.js'
import { type ChannelProfile, channelChanged } from './facts.js'

/** Texts that are remembered in a channel where each must be new. */
const REMEMBERED_MAX = 50
const MINUTE_MS = 60_000

interface Pin {
  readonly messageId: string
  readonly postedAt: number
}

export interface ChannelContext {
  readonly channelId: string
  readonly epoch: string
  /** Null before it was opened for the first time. */
  readonly profile: ChannelProfile | null
  readonly offset: number
  readonly messages: number
  /** The newest first. */
  readonly pins: readonly Pin[]
  /** What was said last, as `sameness` has it; empty unless each must be new. */
  readonly remembered: readonly string[]
  /** What the system said in the minute it said something last. */
  readonly systemMinute: number
  readonly systemMessages: number
}

export type ChannelEvent =
  | { type: 'profiled'; epoch: string; profile: ChannelProfile; by: string }
  | { type: 'archived'; by: string }
  | { type: 'reopened'; by: string }
  | { type: 'posted'; sameness: string; systemAt: number | null }
  | { type: 'changed' }
  | { type: 'pinned'; pin: Pin; keptSince: number }
  | { type: 'unpinned'; messageId: string }
type Of<Type extends ChannelEvent['type']> = Extract<ChannelEvent, { type: Type }>

const decide = deciderFor<ChannelContext, ChannelEvent>()

function moved(context: ChannelContext, change: Partial<ChannelContext>, by: string, isActive: boolean) {
  const { channelId, offset: before } = context
  const { epoch, profile } = { ...context, ...change }
  const offset = before + 1
  const facts = profile === null ? [] : [channelChanged.make({ channelId, offset, epoch, profile, isActive, by })]
  return { context: { ...change, offset }, facts }
}

function profile(context: ChannelContext, { epoch, profile: next, by }: Of<'profiled'>) {
  const change = { profile: next, ...(context.profile === null ? { epoch } : {}) }
  return moved(context, next.modes.uniqueMessages ? change : { ...change, remembered: [] }, by, true)
}

function post(context: ChannelContext, { sameness, systemAt }: Of<'posted'>) {
  const isUnique = context.profile?.modes.uniqueMessages === true && sameness !== ''
  const minute = systemAt === null ? null : Math.floor(systemAt / MINUTE_MS)
  return {
    context: {
      offset: context.offset + 1,
      messages: context.messages + 1,
      ...(isUnique ? { remembered: [sameness, ...context.remembered].slice(0, REMEMBERED_MAX) } : {}),
      ...(minute === null ? {} : { systemMinute: minute, systemMessages: systemMessagesIn(context, minute) + 1 }),
    },
  }
}

function systemMessagesIn({ systemMinute, systemMessages }: ChannelContext, minute: number): number {
  return systemMinute === minute ? systemMessages : 0
}

/** The messages that are pinned, the newest pin first; what was posted up to `keptSince` is gone (BJ-CHAT-20). */
export const pinsSince = ({ pins }: ChannelContext, keptSince: number): readonly string[] =>
  pins.filter(({ postedAt }) => postedAt > keptSince).map(({ messageId }) => messageId)

function pin({ offset, pins }: ChannelContext, { pin: added, keptSince }: Of<'pinned'>) {
  return { context: { offset: offset + 1, pins: [added, ...pins.filter(({ postedAt }) => postedAt > keptSince)] } }
}

/** What happens to messages that are there. */
const moderated = {
  changed: { actions: decide(({ offset }) => ({ context: { offset: offset + 1 } })) },
  pinned: { actions: decide(pin) },
  unpinned: {
    actions: decide(({ offset, pins }, { messageId: gone }: Of<'unpinned'>) => ({
      context: { offset: offset + 1, pins: pins.filter(({ messageId }) => messageId !== gone) },
    })),
  },
}

/** What the system has said in the minute of `at`. */
export const systemMessagesAt = (context: ChannelContext, at: number) =>
  systemMessagesIn(context, Math.floor(at / MINUTE_MS))

const machine = setup({
  types: { context: {} as ChannelContext, events: {} as ChannelEvent, input: {} as { key: string } },
}).createMachine({
  id: 'channel',
  initial: 'unopened',
  context: ({ input }) => ({
    channelId: input.key,
    epoch: '',
    profile: null,
    offset: 0,
    messages: 0,
    pins: [],
    remembered: [],
    systemMinute: 0,
    systemMessages: 0,
  }),
  states: {
    unopened: { on: { profiled: { target: 'open', actions: decide(profile) } } },
    open: {
      on: {
        profiled: { actions: decide(profile) },
        archived: {
          target: 'archived',
          actions: decide((context, { by }: Of<'archived'>) => moved(context, {}, by, false)),
        },
        posted: { actions: decide(post) },
        ...moderated,
      },
    },
    /** Kept to be read by moderators, who may still take away what should not be there; nobody writes in it. */
    archived: {
      on: {
        ...moderated,
        reopened: {
          target: 'open',
          actions: decide((context, { by }: Of<'reopened'>) => moved(context, {}, by, true)),
        },
      },
    },
  },
})

export const channel = defineActor({ type: 'channel', machine, residency: 'pinned' })

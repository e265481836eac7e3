/** Opening, editing and archiving channels (BJ-CHAT-09…11, BJ-MOD-06). */
import { z } from 'zod'
import { defineCommand } from '../../engine/command.js'
import { DomainError } from '../../engine/errors.js'
import type { Turn } from '../../engine/turn.js'
import { channel } from './channel.js'
import { theChannels } from './channel-list.js'
import { type ChannelModes, type ChannelProfile, channelModes, channelProfile } from './facts.js'
import { channelUnknown, moderatorRefs, requireModerator } from './rights.js'
import type { ChatRules } from './rules.js'

/** As in addresses. */
export const channelId = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,63}$/)
  // Members keep what they know of a channel under its id.
  .refine((text) => !(text in Object.prototype), 'This word means something else.')

export const openModes: ChannelModes = {
  slowModeSeconds: 0,
  emoteOnly: false,
  uniqueMessages: false,
  memberAgeSecondsMin: 0,
  linksFrom: null,
}

/** What an edit may leave out. */
export const channelEdit = channelProfile.partial().extend({ modes: channelModes.partial().optional() })

export function channelCommands(rules: ChatRules) {
  function openChannel(turn: Turn, channelId: string, profile: ChannelProfile, by: string): void {
    const { channelIds } = turn.context(theChannels)
    if (channelIds.includes(channelId)) {
      throw new DomainError('conflict', 'channel_exists', 'There is a channel of this id already.', { field: 'id' })
    }
    if (channelIds.length >= rules.channelsMax) {
      throw new DomainError('conflict', 'too_many_channels', `There are at most ${rules.channelsMax} channels.`)
    }
    turn.step(theChannels, { type: 'added', channelId })
    turn.step(channel.ref(channelId), { type: 'profiled', epoch: turn.newId(), profile, by })
  }

  const open = defineCommand({
    name: 'chat.open_channel',
    input: z.object({ channelId, profile: channelProfile }),
    who: 'admin',
    actors: (_, who) => moderatorRefs(who),
    handle: (turn, { channelId, profile }) => {
      openChannel(turn, channelId, profile, requireModerator(turn, turn.who))
      return null
    },
  })

  const editChannel = defineCommand({
    name: 'chat.edit_channel',
    input: z.object({ channelId, edit: channelEdit, isActive: z.boolean().nullable() }),
    who: 'admin',
    actors: (_, who) => moderatorRefs(who),
    handle: (turn, { channelId, edit, isActive }) => {
      const by = requireModerator(turn, turn.who)
      const ref = channel.ref(channelId)
      const { profile, epoch } = turn.context(ref)
      if (profile === null) throw channelUnknown()
      const isOpen = turn.value(ref) === 'open'
      if (isActive === true && !isOpen) turn.step(ref, { type: 'reopened', by })
      if (Object.keys(edit).length > 0) {
        const next = { ...profile, ...definedOf(edit), modes: { ...profile.modes, ...definedOf(edit.modes ?? {}) } }
        if (!turn.step(ref, { type: 'profiled', epoch, profile: next, by })) {
          throw new DomainError('conflict', 'channel_archived', 'This channel is archived. Open it again first.')
        }
      }
      if (isActive === false && isOpen) turn.step(ref, { type: 'archived', by })
      return null
    },
  })

  /** The program's own channels, if there are none yet (BJ-CHAT-09). */
  const openDefaults = defineCommand({
    name: 'chat.open_defaults',
    input: z.object({}),
    who: 'system',
    actors: () => [],
    handle: (turn) => {
      if (turn.context(theChannels).channelIds.length > 0) return null
      for (const [order, { id: channelId, ...profile }] of rules.channels.entries()) {
        openChannel(turn, channelId, { ...profile, isVoice: false, order, modes: openModes }, 'system')
      }
      return null
    },
  })

  return { open, editChannel, openDefaults }
}

type Defined<T> = { [Key in keyof T]: Exclude<T[Key], undefined> }

function definedOf<T extends object>(value: T): Defined<T> {
  return Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined)) as Defined<T>
}

/** Channels, messages and word rules for moderators (BJ-CHAT-11, BJ-MOD-02, 05, 06). */
import { z } from 'zod'
import { channelId as newChannelId, openModes } from '../../actors/chat/channels.js'
import { type ChannelProfile, channelModes, channelProfile, wordRule } from '../../actors/chat/facts.js'
import { type TierName, tierName } from '../../actors/user/facts.js'
import { DomainError } from '../../engine/errors.js'
import { channelJson, channelSchema } from '../chat-json.js'
import type { Services } from '../services.js'
import { done, fingerprint, idempotencyConflict, success } from './auth.js'
import { channelId, channelUnknown, enterAsModerator, messageId, messageUnknown } from './social-common.js'
import type { Principal } from './toolkit/principal.js'
import { defineRoute, type Route } from './toolkit/route.js'

const { name, description, category, icon, isVoice, order, posting } = channelProfile.shape
const modesBody = z
  .object({
    slow_mode_seconds: channelModes.shape.slowModeSeconds,
    emote_only: z.boolean(),
    unique_messages: z.boolean(),
    member_age_seconds_min: channelModes.shape.memberAgeSecondsMin,
    links_from: tierName.nullable(),
  })
  .partial()
const tierRestriction = z.enum(['all', 'vip', 'high_roller', 'whale'])
/** What an edit may change. */
const channelBody = z
  .object({
    name,
    description,
    category,
    icon,
    tier_restriction: tierRestriction,
    is_voice: isVoice,
    display_order: order,
    posting,
    modes: modesBody,
  })
  .partial()
const newChannelBody = channelBody.extend({
  id: newChannelId.meta({ description: 'As in addresses: lower-case letters, digits and dashes; it stays for ever' }),
  name,
  category,
})
const wordRuleSchema = z
  .object({
    id: wordRule.shape.id,
    /** Words in any case; `*` at the end of one stands for any rest of it. */
    pattern: wordRule.shape.pattern,
    action: wordRule.shape.action,
    /** Does not apply from this tier up. */
    exempt_from: tierName.nullable().default(null),
  })
  .meta({ id: 'WordRule' })
const channelArchived = { status: 409, code: 'channel_archived', when: 'The channel is archived: reopen it first.' }
const changed = z.object({ offset: z.number() })
const params = z.object({ id: messageId })

export function adminSocialRoutes(services: Services): Route[] {
  const { shard, program, chat } = services
  const { commands, queries } = program.chat

  /** Throws `channel_unknown`. */
  async function channelFor({ userId }: Principal, id: string) {
    const view = (await chat.channels(userId)).find((each) => each.channelId === id)
    if (view === undefined) throw new DomainError('not_found', 'channel_unknown', 'There is no such channel.')
    return channelJson(view.channelId, view.profile, view.isActive)
  }

  const openChannel = defineRoute({
    method: 'POST',
    path: '/v1/admin/social/channels',
    who: 'admin',
    tag: 'Social administration',
    summary: 'Open a channel',
    body: newChannelBody,
    status: 201,
    response: channelSchema,
    errors: [
      { status: 409, code: 'channel_exists', when: 'There is a channel of this id, perhaps an archived one.' },
      { status: 409, code: 'too_many_channels', when: 'There are 200 channels already.' },
      idempotencyConflict,
    ],
    handle: async ({ body: { id, ...body }, principal: who, idempotencyKey }) => {
      await enterAsModerator(services, who)
      const profile = {
        ...{ description: '', icon: '', minimumTier: 'standard', isVoice: false, order: 0, posting: 'members' },
        ...profileOf(body),
        ...{ name: body.name, category: body.category, modes: { ...openModes, ...modesOf(body) } },
      } as const
      await shard.execute(commands.channels.open, {
        args: { channelId: id, profile },
        who,
        key: idempotencyKey,
        fingerprint: idempotencyKey && fingerprint(services, { id, ...body }),
      })
      return channelFor(who, id)
    },
  })

  const editChannel = defineRoute({
    method: 'PUT',
    path: '/v1/admin/social/channels/:id',
    who: 'admin',
    tag: 'Social administration',
    summary: 'Change a channel; archive it with `is_active: false`, reopen it with `true`. What is left out stays',
    params: z.object({ id: channelId }),
    body: channelBody.extend({ is_active: z.boolean().optional() }),
    response: channelSchema,
    errors: [channelUnknown, channelArchived],
    handle: async ({ params, body: { is_active: isActive = null, ...body }, principal: who }) => {
      await enterAsModerator(services, who)
      const modes = modesOf(body)
      const edit = { ...profileOf(body), ...(Object.keys(modes).length === 0 ? {} : { modes }) }
      await shard.execute(commands.channels.editChannel, { args: { channelId: params.id, edit, isActive }, who })
      return channelFor(who, params.id)
    },
  })

  const removeMessage = defineRoute({
    method: 'DELETE',
    path: '/v1/admin/social/messages/:id',
    who: 'admin',
    tag: 'Social administration',
    summary: 'Take a message away; what was reported of it is decided',
    params,
    response: changed,
    errors: [messageUnknown],
    handle: async ({ params, principal: who }) => {
      await enterAsModerator(services, who)
      return shard.execute(commands.moderation.removeMessage, { args: { messageId: params.id }, who })
    },
  })

  const keepMessage = defineRoute({
    method: 'POST',
    path: '/v1/admin/social/messages/:id/keep',
    who: 'admin',
    tag: 'Social administration',
    summary: 'A message that was flagged or reported may stay',
    params,
    response: done,
    errors: [messageUnknown],
    handle: async ({ params, principal: who }) => {
      await enterAsModerator(services, who)
      await shard.execute(commands.moderation.keepMessage, { args: { messageId: params.id }, who })
      return success
    },
  })

  const pin = defineRoute({
    method: 'POST',
    path: '/v1/admin/social/messages/:id/pin',
    who: 'admin',
    tag: 'Social administration',
    summary: 'Pin a message at the top of its channel',
    params,
    response: changed,
    errors: [
      messageUnknown,
      channelArchived,
      { status: 409, code: 'too_many_pins', when: 'There are 50 pins in the channel already.' },
    ],
    handle: async ({ params, principal: who }) => {
      await enterAsModerator(services, who)
      return shard.execute(commands.moderation.pin, { args: { messageId: params.id }, who })
    },
  })

  const unpin = defineRoute({
    method: 'DELETE',
    path: '/v1/admin/social/messages/:id/pin',
    who: 'admin',
    tag: 'Social administration',
    summary: 'Take a pin off',
    params,
    response: changed,
    errors: [messageUnknown, channelArchived],
    handle: async ({ params, principal: who }) => {
      await enterAsModerator(services, who)
      return shard.execute(commands.moderation.unpin, { args: { messageId: params.id }, who })
    },
  })

  const listWordRules = defineRoute({
    method: 'GET',
    path: '/v1/admin/social/word-rules',
    who: 'admin',
    tag: 'Social administration',
    summary: 'Words that are refused, or flagged for moderators',
    response: z.object({ rules: z.array(wordRuleSchema) }),
    handle: async ({ principal }) => {
      await enterAsModerator(services, principal)
      const rules = await shard.query(queries.wordRules, {})
      return { rules: rules.map(({ exemptFrom, ...rule }) => ({ ...rule, exempt_from: exemptFrom })) }
    },
  })

  const setWordRules = defineRoute({
    method: 'PUT',
    path: '/v1/admin/social/word-rules',
    who: 'admin',
    tag: 'Social administration',
    summary: 'Set all word rules; they hold from the next message on',
    body: z.object({ rules: z.array(wordRuleSchema).max(program.rules.chat.wordRulesMax) }),
    response: done,
    errors: [{ status: 422, code: 'rule_twice', when: 'Two rules have the same id.' }],
    handle: async ({ body, principal: who }) => {
      await enterAsModerator(services, who)
      const rules = body.rules.map(({ exempt_from: exemptFrom, ...rule }) => ({ ...rule, exemptFrom }))
      await shard.execute(commands.moderation.setWordRules, { args: { rules }, who })
      return success
    },
  })

  return [openChannel, editChannel, removeMessage, keepMessage, pin, unpin, listWordRules, setWordRules]
}

type ChannelBody = z.output<typeof channelBody>

const tierOf = (restriction: z.output<typeof tierRestriction>): TierName =>
  restriction === 'all' ? 'standard' : restriction

/** What was sent, in the words of the core; the modes are elsewhere. */
function profileOf(body: ChannelBody): Partial<Omit<ChannelProfile, 'modes'>> {
  const { tier_restriction: tier, is_voice: isVoice, display_order: order, modes: _, ...same } = body
  return definedOf({ ...same, isVoice, order, minimumTier: tier === undefined ? undefined : tierOf(tier) })
}

function modesOf({ modes = {} }: ChannelBody): Partial<ChannelProfile['modes']> {
  return definedOf({
    slowModeSeconds: modes.slow_mode_seconds,
    emoteOnly: modes.emote_only,
    uniqueMessages: modes.unique_messages,
    memberAgeSecondsMin: modes.member_age_seconds_min,
    linksFrom: modes.links_from,
  })
}

type Defined<T> = { [Key in keyof T]?: Exclude<T[Key], undefined> }

function definedOf<T extends object>(value: T): Defined<T> {
  return Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined)) as Defined<T>
}

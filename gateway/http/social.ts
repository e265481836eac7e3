/** Channels and what is said in them, for members without a socket too (BJ-CHAT-01…04, 18, BJ-EMO-02). */
import { z } from 'zod'
import type { ChannelView } from '../../actors/chat/queries.js'
import { tierName } from '../../actors/user/facts.js'
import { messageBody } from '../chat.js'
import { listedChannelJson, listedChannelSchema, messageJson, messageSchema } from '../chat-json.js'
import { usdOf } from '../money.js'
import type { Services } from '../services.js'
import { idempotencyConflict } from './auth.js'
import { isoOrNull } from './payout-json.js'
import {
  because,
  channelId,
  channelRefusals,
  contentRefusals,
  enterChat,
  knownMember,
  messageUnknown,
  silenced,
  tooManyReports,
  userId,
  userUnknown,
} from './social-common.js'
import { defineRoute, type Route, reply } from './toolkit/route.js'

const PAGE_DEFAULT = 50
const PAGE_MAX = 100
/** The emotes change once an hour. */
const EMOTES_CACHED = { 'cache-control': 'private, max-age=300' }
const params = z.object({ id: channelId })
const chatProfile = z
  .object({
    id: z.string(),
    username: z.string(),
    avatar_url: z.string().nullable(),
    tier_badge: tierName,
    is_admin: z.boolean(),
    /** A date. */
    member_since: z.string(),
    total_scans: z.number(),
    lifetime_comps: z.number(),
  })
  .meta({ id: 'ChatProfile' })
const emoteSchema = z
  .object({ code: z.string(), id: z.string(), url: z.string(), animated: z.boolean() })
  .meta({ id: 'Emote' })
const readTo = z
  .object({ offset: z.int().nonnegative().optional(), number: z.int().nonnegative().optional() })
  .refine(({ offset, number }) => (offset === undefined) !== (number === undefined), {
    message: 'Send either `offset` or `number`.',
    path: ['offset'],
  })

export function socialRoutes(services: Services): Route[] {
  const { shard, program, chat, social, now } = services
  const { queries } = program.chat

  const listChannels = defineRoute({
    method: 'GET',
    path: '/v1/social/channels',
    who: 'member',
    tag: 'Social',
    summary: 'Channels I may read, by category, in their order; moderators see archived ones too',
    response: z.object({
      categories: z.array(z.object({ name: z.string(), channels: z.array(listedChannelSchema) })),
    }),
    handle: async ({ principal }) => {
      await enterChat(services, principal)
      return { categories: byCategory(await chat.channels(principal.userId)) }
    },
  })

  const history = defineRoute({
    method: 'GET',
    path: '/v1/social/channels/:id/messages',
    who: 'member',
    tag: 'Social',
    summary: 'Messages of a channel, newest first; what I just wrote is always there',
    description:
      'A page may be shorter than `limit`: there is more as long as `next_before` is not null. `epoch` and `offset` are the position to `join` with over a socket.',
    params,
    query: z.object({
      limit: z.coerce.number().int().min(1).max(PAGE_MAX).default(PAGE_DEFAULT),
      before: z.coerce.number().int().positive().max(Number.MAX_SAFE_INTEGER).optional(),
    }),
    response: z.object({
      messages: z.array(messageSchema),
      epoch: z.string(),
      offset: z.number(),
      /** `before` of the next page; null on the last. */
      next_before: z.number().nullable(),
    }),
    errors: channelRefusals,
    handle: async ({ params, query: { limit, before = null }, principal }) => {
      await enterChat(services, principal)
      const where = { userId: principal.userId, channelId: params.id }
      const { messages: newer, olderThan, epoch, offset } = await shard.query(queries.page, { ...where, before, limit })
      const older = olderThan === null ? [] : await olderMessages(params.id, olderThan, limit - newer.length)
      const messages = [...newer, ...older]
      const last = messages.at(-1)
      return {
        messages: messages.filter(({ deletedAt }) => deletedAt === null).map(messageJson),
        ...{ epoch, offset },
        next_before: messages.length === limit && last !== undefined ? last.number : null,
      }
    },
  })

  /** From Postgres, and as memory has them where it knows more (write-behind may lag). */
  async function olderMessages(channel: string, beforeNumber: number, limit: number) {
    const sinceMs = now() - program.rules.chat.retentionMs
    const rows = await social.reads.history({ channelId: channel, beforeNumber, sinceMs, limit })
    return shard.query(queries.asKnown, { messages: rows.map(({ message }) => message) })
  }

  const post = defineRoute({
    method: 'POST',
    path: '/v1/social/channels/:id/messages',
    who: 'member',
    tag: 'Social',
    summary: 'Say something: text, a GIF, an emote or an image',
    description:
      'Sent twice with one `client_id`, over REST or a socket, it is posted once. Without one the `Idempotency-Key` does the same.',
    params,
    body: messageBody,
    status: 201,
    response: z.object({ id: z.string(), offset: z.number(), number: z.number() }),
    errors: [
      ...channelRefusals,
      ...silenced,
      ...contentRefusals,
      { status: 422, code: 'media_invalid', when: 'It is not of its kind, or from a host that is not allowed.' },
      { status: 422, code: 'emote_unknown', when: 'Not everybody has this emote: send its URL.' },
      messageUnknown,
      { status: 422, code: 'reply_elsewhere', when: 'What it replies to is in another channel.' },
      { status: 429, code: 'cooldown', when: 'Too fast for the tier; the wait grows with every try.' },
      { status: 429, code: 'slow_mode', when: 'Too fast for the channel.' },
      idempotencyConflict,
    ],
    handle: async ({ params, body, principal, idempotencyKey }) => {
      await enterChat(services, principal)
      const { messageId: id, offset, number } = await chat.post(principal, params.id, body, idempotencyKey)
      return { id, offset, number }
    },
  })

  const pins = defineRoute({
    method: 'GET',
    path: '/v1/social/channels/:id/pins',
    who: 'member',
    tag: 'Social',
    summary: 'What is pinned in a channel, the newest pin first',
    params,
    response: z.object({ messages: z.array(messageSchema) }),
    errors: channelRefusals,
    handle: async ({ params, principal }) => {
      await enterChat(services, principal)
      const view = await shard.query(queries.readable, { userId: principal.userId, channelId: params.id })
      const messages = await shard.query(queries.messages, { messageIds: view.pins })
      return { messages: messages.filter(({ isPinned }) => isPinned).map(messageJson) }
    },
  })

  const markRead = defineRoute({
    method: 'POST',
    path: '/v1/social/channels/:id/read',
    who: 'member',
    tag: 'Social',
    summary: 'I have read a channel up to an offset, or up to the number of a message; never back',
    params,
    body: readTo,
    response: z.object({ unread: z.number() }),
    errors: [
      ...channelRefusals,
      { status: 422, code: 'offset_unknown', when: 'Nothing is known of this offset any more.' },
    ],
    handle: async ({ params, body: { offset = 0, number }, principal }) => {
      await enterChat(services, principal)
      return number === undefined ? chat.read(principal, params.id, offset) : chat.readTo(principal, params.id, number)
    },
  })

  const profile = defineRoute({
    method: 'GET',
    path: '/v1/social/users/:id',
    who: 'member',
    tag: 'Social',
    summary: 'How a member is shown in the chat',
    params: z.object({ id: userId }),
    response: chatProfile,
    errors: [userUnknown],
    handle: async ({ params, principal }) => {
      await enterChat(services, principal)
      const { id, username, tier, isAdmin, memberSince, lifetimeScans, lifetimeComps } = await knownMember(
        services,
        params.id,
      )
      return {
        ...{ id, username, avatar_url: null, tier_badge: tier, is_admin: isAdmin },
        member_since: new Date(memberSince).toISOString().slice(0, 10),
        total_scans: lifetimeScans,
        lifetime_comps: usdOf(lifetimeComps),
      }
    },
  })

  const reportMember = defineRoute({
    method: 'POST',
    path: '/v1/social/users/:id/report',
    who: 'member',
    tag: 'Social',
    summary: 'Report a member to the moderators',
    params: z.object({ id: userId }),
    body: z.object({ because }),
    status: 201,
    response: z.object({ report_id: z.string() }),
    errors: [userUnknown, tooManyReports, idempotencyConflict],
    handle: async ({ params, body, principal: who, idempotencyKey }) => {
      await enterChat(services, who)
      await knownMember(services, params.id)
      const { reportId } = await shard.execute(program.chat.commands.chat.reportMember, {
        args: { userId: params.id, because: body.because },
        who,
        key: idempotencyKey,
        fingerprint: params.id,
      })
      return { report_id: reportId }
    },
  })

  const emotes = defineRoute({
    method: 'GET',
    path: '/v1/social/emotes',
    who: 'member',
    tag: 'Social',
    summary: 'The emotes everybody has: written `:code:`, or sent with their code',
    response: z.object({ emotes: z.array(emoteSchema), refreshed_at: z.string().nullable() }),
    handle: async ({ principal }) => {
      await shard.query(program.queries.session, principal)
      const { emotes: all = [], refreshedAt = null } = social.emotes ?? {}
      return reply({ emotes: all, refreshed_at: isoOrNull(refreshedAt) }, { headers: EMOTES_CACHED })
    },
  })

  return [listChannels, history, post, pins, markRead, profile, reportMember, emotes]
}

/** The categories in the order of their first channels. */
function byCategory(views: readonly ChannelView[]) {
  const categories = new Map<string, ReturnType<typeof listedChannelJson>[]>()
  for (const view of views) {
    const { category } = view.profile
    categories.set(category, [...(categories.get(category) ?? []), listedChannelJson(view)])
  }
  return [...categories].map(([name, channels]) => ({ name, channels }))
}

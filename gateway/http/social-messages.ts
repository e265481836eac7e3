/** What members do with single messages: edit, delete, react, report, translate (BJ-CHAT-05…07, BJ-TRL-01, 02). */
import { z } from 'zod'
import { DomainError } from '../../engine/errors.js'
import type { Services } from '../services.js'
import {
  because,
  channelRefusals,
  contentRefusals,
  enterChat,
  messageId,
  messageUnknown,
  silenced,
  tooManyReports,
} from './social-common.js'
import { defineRoute, type Route } from './toolkit/route.js'

const TEXT_BYTES_MAX = 12_000
const MESSAGES_ASKED_MAX = 100
const params = z.object({ id: messageId })
const notYours = { status: 403, code: 'not_yours', when: 'It is the message of another member.' }
const changed = z.object({
  /** Of the change, in the channel of the message. */
  offset: z.number(),
})

export function socialMessageRoutes(services: Services): Route[] {
  const { shard, program, chat, social } = services

  const edit = defineRoute({
    method: 'PATCH',
    path: '/v1/social/messages/:id',
    who: 'member',
    tag: 'Social',
    summary: 'Change the text of my message, within five minutes',
    params,
    body: z.object({ text: z.string().max(TEXT_BYTES_MAX) }),
    response: changed,
    errors: [
      messageUnknown,
      notYours,
      ...channelRefusals,
      ...silenced,
      ...contentRefusals,
      { status: 409, code: 'edit_too_late', when: 'It is older than five minutes.' },
      { status: 429, code: 'too_many_edits', when: 'More than ten edits at once, or one in two seconds after them.' },
    ],
    handle: async ({ params, body, principal }) => {
      await enterChat(services, principal)
      return chat.edit(principal, params.id, body.text)
    },
  })

  const remove = defineRoute({
    method: 'DELETE',
    path: '/v1/social/messages/:id',
    who: 'member',
    tag: 'Social',
    summary: 'Delete my message',
    params,
    response: changed,
    errors: [messageUnknown, notYours, ...channelRefusals],
    handle: async ({ params, principal }) => {
      await enterChat(services, principal)
      return chat.remove(principal, params.id)
    },
  })

  const react = defineRoute({
    method: 'POST',
    path: '/v1/social/messages/:id/react',
    who: 'member',
    tag: 'Social',
    summary: 'Put an emoji on a message, or take it off; one of each a member',
    params,
    body: z.object({ emoji: z.string().min(1).max(20), on: z.boolean().default(true) }),
    response: z.object({
      offset: z.number(),
      /** How many members have put it there. */
      count: z.number(),
    }),
    errors: [
      messageUnknown,
      ...channelRefusals,
      ...silenced,
      { status: 422, code: 'emoji_invalid', when: 'It is not one emoji.' },
      { status: 422, code: 'too_many_emojis', when: 'There are 20 different emoji on it already.' },
    ],
    handle: async ({ params, body, principal }) => {
      await enterChat(services, principal)
      return chat.react(principal, params.id, body.emoji, body.on)
    },
  })

  const ownReactions = defineRoute({
    method: 'POST',
    path: '/v1/social/reactions/mine',
    who: 'member',
    tag: 'Social',
    summary: 'Which emoji on these messages are mine; messages that have none of mine are left out',
    body: z.object({ ids: z.array(messageId).min(1).max(MESSAGES_ASKED_MAX) }),
    response: z.object({ reactions: z.array(z.object({ id: z.string(), emojis: z.array(z.string()) })) }),
    handle: async ({ body: { ids }, principal }) => {
      await enterChat(services, principal)
      const asked = { userId: principal.userId, messageIds: [...new Set(ids)] }
      const mine = await shard.query(program.chat.queries.ownReactions, asked)
      return { reactions: mine.map(({ messageId: id, emojis }) => ({ id, emojis: [...emojis] })) }
    },
  })

  const report = defineRoute({
    method: 'POST',
    path: '/v1/social/messages/:id/report',
    who: 'member',
    tag: 'Social',
    summary: 'Report a message to the moderators; again within a day, it is the same report',
    params,
    body: z.object({ because }),
    status: 201,
    response: z.object({ report_id: z.string() }),
    errors: [messageUnknown, ...channelRefusals, tooManyReports],
    handle: async ({ params, body, principal: who }) => {
      await enterChat(services, who)
      const { reportId } = await shard.execute(program.chat.commands.chat.report, {
        args: { messageId: params.id, because: body.because },
        who,
        // One member fills the queue with one report of a message, not with many.
        key: `chat-report:${params.id}`,
      })
      return { report_id: reportId }
    },
  })

  const translate = defineRoute({
    method: 'POST',
    path: '/v1/social/messages/:id/translate',
    who: 'member',
    tag: 'Social',
    summary: 'A message in another language',
    params,
    body: z.object({ language: z.string().min(2).max(10) }),
    response: z.object({
      text: z.string(),
      language: z.string(),
      source_language: z.string().meta({ description: 'As it was detected; `und` where it could not be told' }),
    }),
    errors: [
      messageUnknown,
      ...channelRefusals,
      { status: 422, code: 'language_unsupported', when: 'Messages are not translated into this language here.' },
      { status: 503, code: 'translation_off', when: 'Nothing is translated on this server.' },
      { status: 503, code: 'translation_unavailable', when: 'The service that translates does not.' },
      { status: 503, code: 'translation_busy', when: 'Too much is being translated.' },
    ],
    handle: async ({ params, body: { language }, principal }) => {
      await enterChat(services, principal)
      const { translations } = social
      if (translations === null) {
        throw new DomainError('unavailable', 'translation_off', 'Nothing is translated on this server.')
      }
      if (!translations.languages.includes(language)) {
        const message = `Messages are translated into ${translations.languages.join(', ')}.`
        throw new DomainError('unprocessable', 'language_unsupported', message, { field: 'language' })
      }
      const asked = { userId: principal.userId, messageId: params.id }
      const { text, editedAt } = await shard.query(program.chat.queries.readableMessage, asked)
      const message = { id: params.id, version: editedAt ?? 0, text }
      const { text: translated, sourceLanguage } = await translations.translate(message, language)
      return { text: translated, language, source_language: sourceLanguage }
    },
  })

  return [edit, remove, react, ownReactions, report, translate]
}

/** Members who are silenced, what waits to be decided, and what was done, for moderators (BJ-MOD-03, 04, 07). */
import { z } from 'zod'
import { timeoutLength } from '../../actors/chat/moderation.js'
import type { AfterFact, ReportRow } from '../../actors/chat/rows.js'
import { DomainError } from '../../engine/errors.js'
import { messageJson, messageSchema } from '../chat-json.js'
import type { Services } from '../services.js'
import { done, success } from './auth.js'
import { cursorInvalid, isoOf, isoOrNull, paging } from './payout-json.js'
import { because, enterAsModerator, knownMember, messageId, userId, userUnknown } from './social-common.js'
import { defineRoute, type Route } from './toolkit/route.js'

const params = z.object({ id: userId })
const isModerator = { status: 409, code: 'is_moderator', when: 'Moderators cannot be silenced.' }
const reportSchema = z
  .object({
    id: z.string(),
    reported_at: z.string(),
    /** A user id; `filter` for the AI's, `system` for word rules. */
    reported_by: z.string(),
    because: z.string(),
    channel: z.string().nullable(),
    /** Whose message, or who, it is about. */
    user_id: z.string().nullable(),
    /** Null when it is about a member. */
    message: messageSchema.nullable(),
  })
  .meta({ id: 'ChatReport' })
const silenceSchema = z
  .object({
    at: z.string(),
    action: z.enum(['muted', 'timed_out', 'banned', 'lifted']),
    until: z.string().nullable(),
    because: z.string().nullable(),
    by: z.string(),
  })
  .meta({ id: 'Silence' })
const actSchema = z
  .object({
    at: z.string(),
    /** A user id, `system` or `filter`. */
    by: z.string(),
    action: z.string(),
    resource_type: z.string(),
    resource_id: z.string(),
    changes: z.record(z.string(), z.unknown()),
  })
  .meta({ id: 'AuditEntry' })

export function adminModerationRoutes(services: Services): Route[] {
  const { shard, program, social } = services
  const { moderation } = program.chat.commands

  const timeOut = defineRoute({
    method: 'POST',
    path: '/v1/admin/social/users/:id/timeout',
    who: 'admin',
    tag: 'Social administration',
    summary: 'Keep a member from writing for an hour, a day or a week',
    params,
    body: z.object({ length: timeoutLength, because }),
    response: z.object({ until: z.string() }),
    errors: [
      userUnknown,
      isModerator,
      { status: 409, code: 'already_banned', when: 'The member is banned: lift that first.' },
    ],
    handle: async ({ params, body, principal: who }) => {
      await enterAsModerator(services, who)
      await knownMember(services, params.id)
      const { until } = await shard.execute(moderation.timeOut, { args: { userId: params.id, ...body }, who })
      return { until: isoOf(until) }
    },
  })

  const ban = defineRoute({
    method: 'POST',
    path: '/v1/admin/social/users/:id/ban',
    who: 'admin',
    tag: 'Social administration',
    summary: 'Keep a member from writing for good',
    params,
    body: z.object({ because }),
    response: done,
    errors: [userUnknown, isModerator],
    handle: async ({ params, body, principal: who }) => {
      await enterAsModerator(services, who)
      await knownMember(services, params.id)
      await shard.execute(moderation.ban, { args: { userId: params.id, ...body }, who })
      return success
    },
  })

  const lift = defineRoute({
    method: 'POST',
    path: '/v1/admin/social/users/:id/lift',
    who: 'admin',
    tag: 'Social administration',
    summary: 'Let a member write again',
    params,
    response: done,
    errors: [userUnknown],
    handle: async ({ params, principal: who }) => {
      await enterAsModerator(services, who)
      await knownMember(services, params.id)
      await shard.execute(moderation.unsilence, { args: { userId: params.id }, who })
      return success
    },
  })

  const silences = defineRoute({
    method: 'GET',
    path: '/v1/admin/social/users/:id/silences',
    who: 'admin',
    tag: 'Social administration',
    summary: 'When a member was kept from writing, newest first; it may lag behind by some milliseconds',
    params,
    query: z.object(paging),
    response: z.object({ silences: z.array(silenceSchema), next_cursor: z.string().nullable() }),
    errors: [userUnknown, cursorInvalid],
    handle: async ({ params, query: { limit, cursor }, principal }) => {
      await enterAsModerator(services, principal)
      await knownMember(services, params.id)
      const before = factOf(cursor)
      const rows = await social.reads.silencesOf(params.id, { limit, ...(before && { before }) })
      return {
        silences: rows.map(({ at, how, until, because: why, by }) => ({
          ...{ at: isoOf(at), action: how, until: isoOrNull(until), because: why, by },
        })),
        next_cursor: cursorAfter(rows, limit),
      }
    },
  })

  const queue = defineRoute({
    method: 'GET',
    path: '/v1/admin/social/queue',
    who: 'admin',
    tag: 'Social administration',
    summary: 'What was flagged or reported and not decided yet, longest waiting first',
    description:
      'A message is decided by `keep`, or by taking it away; a report of a member by closing it. It may lag behind by some milliseconds.',
    query: z.object(paging),
    response: z.object({ reports: z.array(reportSchema), next_cursor: z.string().nullable() }),
    errors: [cursorInvalid],
    handle: async ({ query: { limit, cursor }, principal }) => {
      await enterAsModerator(services, principal)
      const after = factOf(cursor)
      const rows = await social.reads.openReports({ limit, ...(after && { after }) })
      return { reports: rows.map(reportJson), next_cursor: cursorAfter(rows, limit) }
    },
  })

  const closeReport = defineRoute({
    method: 'POST',
    path: '/v1/admin/social/reports/:id/close',
    who: 'admin',
    tag: 'Social administration',
    summary: 'What was reported of a member is dealt with, or was nothing',
    params: z.object({ id: messageId }),
    response: done,
    errors: [{ status: 404, code: 'report_unknown', when: 'No report of a member is open under this id.' }],
    handle: async ({ params: { id: reportId }, principal: who }) => {
      await enterAsModerator(services, who)
      const about = await social.reads.openMemberReport(reportId)
      if (about === null) {
        throw new DomainError('not_found', 'report_unknown', 'No report of a member is open under this id.')
      }
      await shard.execute(moderation.closeMemberReport, { args: { reportId, userId: about }, who })
      return success
    },
  })

  const auditLog = defineRoute({
    method: 'GET',
    path: '/v1/admin/audit-log',
    who: 'admin',
    tag: 'Administration',
    summary: 'What moderators, filters and the system did in the chat, newest first',
    query: z.object({
      by: z.string().max(64).optional(),
      resource_type: z.enum(['message', 'member', 'channel', 'chat']).optional(),
      resource_id: z.string().max(64).optional(),
      ...paging,
    }),
    response: z.object({ entries: z.array(actSchema), next_cursor: z.string().nullable() }),
    errors: [cursorInvalid],
    handle: async ({ query, principal }) => {
      await enterAsModerator(services, principal)
      const { by, resource_type: type, resource_id: id, limit, cursor } = query
      if ((type === undefined) !== (id === undefined)) {
        const message = 'Send `resource_type` and `resource_id` together.'
        throw new DomainError('unprocessable', 'invalid_input', message, { field: 'resource_id' })
      }
      const before = factOf(cursor)
      const rows = await social.reads.auditLog({
        limit,
        ...(before && { before }),
        ...(by === undefined ? {} : { by }),
        ...(type === undefined || id === undefined ? {} : { resource: { type, id } }),
      })
      return {
        entries: rows.map(({ at, by: doer, action, resourceType, resourceId, changes }) => ({
          ...{ at: isoOf(at), by: doer, action, resource_type: resourceType, resource_id: resourceId, changes },
        })),
        next_cursor: cursorAfter(rows, limit),
      }
    },
  })

  return [timeOut, ban, lift, silences, queue, closeReport, auditLog]
}

function reportJson(report: ReportRow): z.output<typeof reportSchema> {
  const { reportId, at, by, because: why, channelId, userId: about, message } = report
  return {
    ...{ id: reportId, reported_at: isoOf(at), reported_by: by, because: why, channel: channelId, user_id: about },
    message: message === null ? null : messageJson(message),
  }
}

/** Throws `cursor_invalid`. */
function factOf(cursor: string | undefined): AfterFact | undefined {
  if (cursor === undefined) return undefined
  const [, seq, entry] = /^(\d{1,15})\.(\d{1,6})$/.exec(cursor) ?? []
  if (seq !== undefined && entry !== undefined) return { seq: Number(seq), entry: Number(entry) }
  throw new DomainError('unprocessable', 'cursor_invalid', 'Send `next_cursor` as it was given.', { field: 'cursor' })
}

/** Null on the last page. */
function cursorAfter(rows: readonly AfterFact[], limit: number): string | null {
  const last = rows.at(-1)
  return rows.length < limit || last === undefined ? null : `${last.seq}.${last.entry}`
}

/** Batches of codes for administrators (BJ-QR-04…12). */

import type { Readable } from 'node:stream'
import { parse } from 'csv-parse'
import { z } from 'zod'
import type { CodeHistory } from '../../actors/codes/code-history.js'
import { formatCode, parseCode } from '../../actors/codes/code-text.js'
import { newBatch, packCodes, requireBatch } from '../../actors/codes/commands.js'
import { defineQuery } from '../../engine/command.js'
import { DomainError } from '../../engine/errors.js'
import type { Services } from '../services.js'
import { fingerprint, idempotencyConflict } from './auth.js'
import { attachment, defineRoute, type Route, reply } from './toolkit/route.js'

/** Codes per command: a turn over so many takes about a millisecond. */
const CODES_PER_TURN = 4_096
const CODES_PER_REQUEST_MAX = 1_000
const CSV_FIELD_BYTES_MAX = 4_096

const batchSchema = z
  .object({
    batch_id: z.number(),
    name: z.string(),
    product_sku: z.string(),
    status: z.enum(['generating', 'complete']),
    code_count: z.number(),
    generated_count: z.number(),
    /** 0 to 1. */
    progress: z.number(),
    generated_at: z.string(),
    exported_at: z.string().nullable(),
    codes: z.object({ generated: z.number(), manufactured: z.number(), scanned: z.number(), invalidated: z.number() }),
  })
  .meta({ id: 'Batch' })

const feedbackSchema = z.object({
  manufactured: z.number(),
  already: z.number(),
  unknown: z.number(),
  invalid: z.number(),
})
const codeList = z.object({ codes: z.array(z.string().max(64)).min(1).max(CODES_PER_REQUEST_MAX) })
const movedSchema = z.object({
  changed: z.number(),
  already: z.number(),
  unknown: z.number(),
  invalid: z.number(),
})
const batchUnknown = { status: 404, code: 'batch_unknown', when: 'There is no such batch.' }

const batchMeta = defineQuery({
  name: 'codes.batch',
  actors: () => [],
  read: (scope, { batch }: { batch: number }) => requireBatch(scope, batch),
})

export function codeRoutes(services: Services): Route[] {
  const { shard, program, reads, now } = services
  const { commands, queries, book } = program

  const generate = defineRoute({
    method: 'POST',
    path: '/v1/admin/qr/generate',
    who: 'admin',
    tag: 'Codes',
    summary: 'Generate a batch of codes in the background',
    body: newBatch,
    status: 202,
    response: z.object({ batch_id: z.number(), code_count: z.number() }),
    errors: [{ status: 422, code: 'sku_unknown', when: 'There is no product with this SKU.' }, idempotencyConflict],
    handle: async ({ body, principal, idempotencyKey }) => {
      const { batch, quantity } = await shard.execute(commands.createBatch, {
        args: body,
        who: principal,
        key: idempotencyKey,
        fingerprint: idempotencyKey && fingerprint(services, body),
      })
      return { batch_id: batch, code_count: quantity }
    },
  })

  const list = defineRoute({
    method: 'GET',
    path: '/v1/admin/qr/batches',
    who: 'admin',
    tag: 'Codes',
    summary: 'All batches, newest first',
    query: z.object({ status: z.enum(['generating', 'complete']).optional() }),
    response: z.object({ batches: z.array(batchSchema) }),
    handle: async ({ query, principal }) => {
      await shard.query(queries.adminSession, principal)
      const batches = await shard.query(queries.listBatches, {})
      const exports = new Map((await reads.batchTimes()).map(({ batch, exportedAt }) => [batch, exportedAt]))
      const rows = batches.map(({ number, name, sku, quantity, generated, createdAt, state, counts }) => ({
        batch_id: number,
        name,
        product_sku: sku,
        status: state === 'complete' ? ('complete' as const) : ('generating' as const),
        code_count: quantity,
        generated_count: generated,
        progress: Math.round((generated / quantity) * 1000) / 1000,
        generated_at: new Date(createdAt).toISOString(),
        exported_at: isoOrNull(exports.get(number) ?? null),
        codes: counts,
      }))
      return { batches: rows.filter(({ status }) => query.status === undefined || status === query.status) }
    },
  })

  const exportCsv = defineRoute({
    method: 'POST',
    path: '/v1/admin/qr/export',
    who: 'admin',
    tag: 'Codes',
    summary: 'The codes of a batch as CSV, for the manufacturer',
    body: z.object({ batch_id: z.number().int() }),
    response: { stream: 'text/csv' },
    errors: [batchUnknown, { status: 409, code: 'batch_incomplete', when: 'The batch is still being generated.' }],
    handle: async ({ body, principal }) => {
      const { batch_id: batch } = body
      const { name, createdAt, generated, quantity } = await shard.query(batchMeta, { batch })
      if (generated < quantity) {
        throw new DomainError('conflict', 'batch_incomplete', `${generated} of ${quantity} codes are there yet.`, {
          retryAfterMs: 1_000,
        })
      }
      await shard.execute(commands.noteExport, { args: { batch }, who: principal })
      const stamp = new Date(now()).toISOString().replace(/[-:]/g, '').replace('T', '_').slice(0, 15)
      const rest = `,${batch},${csvField(name)},${new Date(createdAt).toISOString()}\n`
      return reply(csvOfBatch(batch, rest), { headers: attachment(`blakjaks_codes_${stamp}.csv`) })
    },
  })

  async function* csvOfBatch(batch: number, rest: string): AsyncGenerator<string> {
    yield 'code,batch_id,batch_name,generated_at\n'
    for (const row of book.rowsOf(batch)) yield `${book.code(row)}${rest}`
  }

  const importFeedback = defineRoute({
    method: 'POST',
    path: '/v1/admin/qr/import-feedback',
    who: 'admin',
    tag: 'Codes',
    summary: "The manufacturer's CSV with a `code` column: these codes become active; repeating it is harmless",
    upload: 'csv',
    response: feedbackSchema,
    errors: [{ status: 422, code: 'csv_invalid', when: 'The CSV has no `code` column or cannot be read.' }],
    handle: async ({ body, principal }) => {
      const total = { manufactured: 0, already: 0, unknown: 0, invalid: 0 }
      for await (const { codes, invalid } of codesOfCsv(body)) {
        const { moved, ...rest } = await shard.execute(commands.manufacture, { args: { codes }, who: principal })
        total.manufactured += moved
        total.already += rest.already
        total.unknown += rest.unknown
        total.invalid += rest.invalid + invalid
      }
      return total
    },
  })

  const find = defineRoute({
    method: 'GET',
    path: '/v1/admin/qr/codes/:code',
    who: 'admin',
    tag: 'Codes',
    summary: 'One code: status, batch and history',
    params: z.object({ code: z.string().max(64) }),
    response: z.object({
      code: z.string(),
      status: z.enum(['generated', 'manufactured', 'scanned', 'invalidated']),
      batch_id: z.number(),
      history: z.array(
        z.object({
          at: z.string(),
          event: z.enum(['generated', 'manufactured', 'scanned', 'invalidated', 'refused']),
          user_id: z.string().nullable(),
          reason: z.string().nullable(),
          device_id: z.string().nullable(),
        }),
      ),
    }),
    errors: [
      { status: 400, code: 'code_malformed', when: 'Not of the form XXXX-XXXX-XXXX.' },
      { status: 404, code: 'code_unknown', when: 'There is no such code.' },
    ],
    handle: async ({ params, principal }) => {
      await shard.query(queries.adminSession, principal)
      const code = parseCode(params.code)
      if (code === null) throw new DomainError('invalid', 'code_malformed', 'A code looks like XXXX-XXXX-XXXX.')
      const row = book.find(code.hi, code.lo)
      if (row < 0) throw new DomainError('not_found', 'code_unknown', 'There is no such code.')
      const status = book.status(row)
      const batch = book.batchOf(row)
      await shard.settled()
      const history = await reads.codeHistory({ row, ...code })
      return { code: formatCode(code.hi, code.lo), status, batch_id: batch, history: historyJson(history) }
    },
  })

  const setUnused = (path: string, status: 'invalidated' | 'generated', summary: string) =>
    defineRoute({
      method: 'POST',
      path,
      who: 'admin',
      tag: 'Codes',
      summary,
      body: codeList,
      response: movedSchema,
      handle: async ({ body, principal }) => {
        const { codes, invalid } = packTexts(body.codes)
        const { moved, ...rest } = await shard.execute(commands.setUnused, { args: { codes, status }, who: principal })
        return { changed: moved, already: rest.already, unknown: rest.unknown, invalid: rest.invalid + invalid }
      },
    })

  return [
    generate,
    list,
    exportCsv,
    importFeedback,
    find,
    setUnused('/v1/admin/qr/invalidate', 'invalidated', 'Take unused codes out of circulation'),
    setUnused('/v1/admin/qr/reuse', 'generated', 'Make unused codes available for a new production run'),
  ]
}

/** One line an event, oldest first (BJ-QR-08). */
function historyJson({ generatedAt, changes, scan, attempts }: CodeHistory) {
  const nobody = { user_id: null, reason: null, device_id: null }
  const made = generatedAt === null ? [] : [{ at: generatedAt, event: 'generated' as const, ...nobody }]
  const moved = changes.map(({ at, status }) => ({ at, event: status, ...nobody }))
  const scanned =
    scan === null
      ? []
      : [{ at: scan.at, event: 'scanned' as const, user_id: scan.userId, reason: null, device_id: scan.deviceId }]
  const refused = attempts.map(({ at, userId, reason, deviceId }) => ({
    at,
    event: 'refused' as const,
    user_id: userId,
    reason,
    device_id: deviceId,
  }))
  return [...made, ...moved, ...scanned, ...refused]
    .sort((a, b) => a.at - b.at)
    .map((event) => ({ ...event, at: new Date(event.at).toISOString() }))
}

/** Reads the `code` column in pieces small enough for one turn. */
async function* codesOfCsv(csv: Readable): AsyncGenerator<{ codes: Uint8Array; invalid: number }> {
  const records = csv.pipe(
    parse({ columns: true, bom: true, trim: true, skip_empty_lines: true, max_record_size: CSV_FIELD_BYTES_MAX }),
  )
  csv.on('error', (error) => records.destroy(error))
  let texts: string[] = []
  try {
    for await (const record of records as AsyncIterable<Record<string, string>>) {
      const { code } = record
      if (code === undefined) throw new Error('there is no column `code` in the first line')
      texts.push(code)
      if (texts.length < CODES_PER_TURN) continue
      yield packTexts(texts)
      texts = []
    }
  } catch (error) {
    if (error instanceof DomainError) throw error
    const why = error instanceof Error ? error.message : String(error)
    throw new DomainError('unprocessable', 'csv_invalid', `This CSV cannot be read: ${why}. Repeating it is safe.`)
  }
  if (texts.length > 0) yield packTexts(texts)
}

function packTexts(texts: readonly string[]): { codes: Uint8Array; invalid: number } {
  const codes = texts.map(parseCode).filter((code) => code !== null)
  const halves = Uint32Array.from(codes.flatMap(({ hi, lo }) => [hi, lo]))
  return { codes: packCodes(halves), invalid: texts.length - codes.length }
}

function csvField(text: string): string {
  // A leading = + - @ would be run as a formula by a spreadsheet.
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}

function isoOrNull(at: number | null): string | null {
  return at === null ? null : new Date(at).toISOString()
}

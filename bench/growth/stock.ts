/**
 * Grows a data folder: members and codes as rows, in the form the write-behind gives them. Making a million members by
 * commands takes a quarter of an hour; this takes a minute. The first member and the first batch are real, and are the
 * patterns of the others.
 */
import { randomBytes } from 'node:crypto'
import { codesFromRandom, RANDOM_BYTES_PER_CODE } from '../../actors/codes/code-text.js'
import { packCodes } from '../../actors/codes/commands.js'
import { withProgress } from '../../cli/progress.js'
import { packImage, unpackImage } from '../../engine/record.js'
import type { Sql } from '../../persistence/postgres/connection.js'
import { runCommand } from '../scan/server-process.js'

/** As many as the core appends in one turn. */
export const CODES_PER_CHUNK = 1_024
const CODES_PER_INSERT = 1_024 * CODES_PER_CHUNK
const MEMBERS_PER_INSERT = 50_000
const ACTIVE = 1

const marks = {
  userId: '00000000-1111-4222-8333-444444444444',
  sessionId: '55555555-6666-4777-8888-999999999999',
  email: 'm00000000@example.com',
  username: 'm00000000',
  number: 0xfffffffe,
} as const

/** An empty folder becomes one with a member and a chunk of codes. */
export async function seedPatterns(folder: string): Promise<void> {
  await runCommand(folder, ['seed', '--users', '1', '--codes', String(CODES_PER_CHUNK)])
}

/** Makes members until there are `count`. */
export async function growMembers(sql: Sql, count: number): Promise<void> {
  const [have = 0] = (await sql<{ count: number }[]>`select count(*)::int as count from directory_members`).map(
    (row) => row.count,
  )
  if (count <= have) return
  const user = await patternOf(sql, 'user')
  const account = await patternOf(sql, 'account')
  // Rows in the order of random ids are slow to index one by one.
  await sql`alter table actor_images drop constraint actor_images_pkey`
  await withProgress('Members', count - have, async (to) => {
    for (let from = have + 1; from <= count; from += MEMBERS_PER_INSERT) {
      const last = Math.min(count, from + MEMBERS_PER_INSERT - 1)
      await insertMembers(sql, from, last, user, account)
      to(last - have)
    }
  })
  await sql`alter table actor_images add primary key (actor)`
  await sql`vacuum analyze`
}

/** The image of the first member with marks in the places of what differs between members. */
async function patternOf(sql: Sql, type: 'user' | 'account'): Promise<Buffer> {
  const [row] = await sql<{ image: Buffer }[]>`
    select image from actor_images where actor >= ${`${type}/`} and actor < ${`${type}0`} order by seq limit 1`
  if (row === undefined) throw new Error(`there is no ${type} to take as a pattern`)
  const { value, context, accounts } = unpackImage(row.image)
  const { userId, number, email, username, sessionId } = marks
  const known = context as { readonly sessions?: { readonly mobile: object | null } }
  const own =
    type === 'account'
      ? { email, username }
      : { sessions: { ...known.sessions, mobile: { ...known.sessions?.mobile, id: sessionId } } }
  return Buffer.from(packImage({ value, accounts, context: { ...known, userId, number, ...own } }))
}

/** SQL that puts a value where a mark is, counting bytes from 1. Lengths do not change. */
function placed(image: string, pattern: Buffer, mark: string | Buffer, value: string): string {
  const at = pattern.indexOf(mark)
  if (at === -1 || pattern.indexOf(mark, at + 1) !== -1) throw new Error(`${mark} is not once in the pattern`)
  return `overlay(${image} placing ${value} from ${at + 1})`
}

function imageOf(parameter: string, pattern: Buffer, type: 'user' | 'account'): string {
  const number = Buffer.alloc(4)
  number.writeUInt32BE(marks.number)
  const text = (column: string) => `convert_to(${column}, 'UTF8')`
  let image = placed(parameter, pattern, marks.userId, text('user_id::text'))
  image = placed(image, pattern, number, 'int4send(number)')
  if (type === 'user') return placed(image, pattern, marks.sessionId, text('session_id::text'))
  const name = `m${'0'.repeat(8)}`
  const first = pattern.indexOf(name)
  const second = pattern.indexOf(name, first + 1)
  if (first === -1 || second === -1) throw new Error('the pattern has no two names')
  for (const at of [first, second]) image = `overlay(${image} placing ${text('username')} from ${at + 1})`
  return image
}

async function insertMembers(sql: Sql, from: number, to: number, user: Buffer, account: Buffer): Promise<void> {
  const key = (name: string) =>
    `('x' || encode(substr(sha256(convert_to(${name}, 'UTF8')), 1, 8), 'hex'))::bit(64)::bigint`
  await sql.unsafe(
    `with made as materialized (
      select number, gen_random_uuid() as user_id, gen_random_uuid() as session_id, 'm' || lpad(number::text, 8, '0') as username
      from generate_series(${from}::int, ${to}::int) number
    ), members as (
      insert into directory_members (number, user_id) select number, user_id from made order by number
    ), names as (
      insert into directory_names (kind, name_key, member_number)
      select 'email', ${key(`username || '@example.com'`)}, number from made
      union all select 'username', ${key('username')}, number from made
    ), rows as (
      insert into users (id, number, email, username, full_name, language, member_since)
      select user_id, number, username || '@example.com', username, 'Member ' || number, 'en', now() from made
    )
    insert into actor_images (actor, shard, seq, image)
    select 'user/' || user_id, shard, applied_seq, ${imageOf('$1::bytea', user, 'user')} from made, projector_mark
    union all
    select 'account/' || user_id, shard, applied_seq, ${imageOf('$2::bytea', account, 'account')} from made, projector_mark`,
    [user, account],
  )
}

/** Makes active codes until there are about `count`: whole chunks. */
export async function growCodes(sql: Sql, count: number): Promise<void> {
  const [last] = await sql<{ chunk: number; end: number }[]>`
    select chunk, first_row + code_count as end from qr_code_chunks order by chunk desc limit 1`
  if (last === undefined || last.end % CODES_PER_CHUNK !== 0) throw new Error('the first chunks are not whole')
  const have = last.end
  if (count <= have) return
  await withProgress('Codes', count - have, async (to) => {
    for (let from = have; from < count; from += CODES_PER_INSERT) {
      const chunks = Math.ceil(Math.min(CODES_PER_INSERT, count - from) / CODES_PER_CHUNK)
      await insertChunks(sql, from, chunks)
      to(Math.min(count, from + CODES_PER_INSERT) - have)
    }
  })
  await setQuantity(sql)
  await sql`vacuum analyze qr_code_chunks`
}

async function insertChunks(sql: Sql, firstRow: number, chunks: number): Promise<void> {
  const random = randomBytes(chunks * CODES_PER_CHUNK * RANDOM_BYTES_PER_CODE)
  const codes = Buffer.from(packCodes(codesFromRandom(random, false)))
  const bytes = CODES_PER_CHUNK * RANDOM_BYTES_PER_CODE
  await sql`
    insert into qr_code_chunks (chunk, first_row, code_count, batch_id, generated_at, codes, statuses)
    select ${firstRow}::int / ${CODES_PER_CHUNK}::int + place, ${firstRow}::int + place * ${CODES_PER_CHUNK}::int,
      ${CODES_PER_CHUNK}::int, 1, now(), substring(${codes}::bytea from 1 + place * ${bytes}::int for ${bytes}::int),
      ${Buffer.alloc(CODES_PER_CHUNK, ACTIVE)}::bytea
    from generate_series(0, ${chunks - 1}::int) place`
}

/** The batch has as many as there are. */
async function setQuantity(sql: Sql): Promise<void> {
  const [row] = await sql<{ image: Buffer }[]>`select image from actor_images where actor = 'batch/1'`
  const [total] = await sql<{ codes: number }[]>`select sum(code_count)::int as codes from qr_code_chunks`
  if (row === undefined || total === undefined) throw new Error('there is no batch to take as a pattern')
  const state = unpackImage(row.image)
  const context = { ...(state.context as object), quantity: total.codes, generated: total.codes }
  await sql`update actor_images set image = ${Buffer.from(packImage({ ...state, context }))} where actor = 'batch/1'`
  await sql`update qr_batches set code_count = ${total.codes} where id = 1`
}

/** What a run draws on: real members with real access tokens, and codes nobody has scanned. */
import { join } from 'node:path'
import { formatCode } from '../../actors/codes/code-text.js'
import type { UserContext } from '../../actors/user/machine.js'
import { withProgress } from '../../cli/progress.js'
import { unpackImage } from '../../engine/record.js'
import { KeySet } from '../../gateway/auth/keys.js'
import { Tokens } from '../../gateway/auth/tokens.js'
import type { Principal } from '../../gateway/http/toolkit/principal.js'
import type { Sql } from '../../persistence/postgres/connection.js'

const CODE_BYTES = 8
const SIGN_AT_ONCE = 64
/** As server.ts names them; tokens of any other issuer are refused. */
const ISSUER = 'Comptroller'
const AUDIENCE = 'comptroller'

/** Every unscanned active code, as text, in random order. */
export async function freshCodes(sql: Sql): Promise<string[]> {
  const scanned = new Set<number>()
  for await (const rows of sql<{ code_row: number }[]>`select code_row from scans`.cursor(50_000)) {
    for (const { code_row } of rows) scanned.add(code_row)
  }
  const codes: string[] = []
  const chunks = sql<{ first_row: number; codes: Buffer; statuses: Buffer }[]>`
    select first_row, codes, statuses from qr_code_chunks order by chunk`
  for await (const rows of chunks.cursor(16)) {
    for (const { first_row: firstRow, codes: packed, statuses } of rows) {
      for (let at = 0; at < statuses.length; at++) {
        if (statuses[at] !== 1 || scanned.has(firstRow + at)) continue
        codes.push(formatCode(packed.readUInt32BE(at * CODE_BYTES), packed.readUInt32BE(at * CODE_BYTES + 4)))
      }
    }
  }
  return shuffled(codes)
}

function shuffled<Item>(items: Item[]): Item[] {
  for (let at = items.length - 1; at > 0; at--) {
    const other = Math.floor(Math.random() * (at + 1))
    const held = items[at] as Item
    items[at] = items[other] as Item
    items[other] = held
  }
  return items
}

/** Members with a live session, spread over the whole table. */
export async function someMembers(sql: Sql, count: number): Promise<Principal[]> {
  const rows = await sql<{ image: Buffer }[]>`
    select image from actor_images where actor >= 'user/' and actor < 'user0' order by hashtext(actor) limit ${count + 1}`
  return rows
    .map(({ image }) => unpackImage(image).context as UserContext)
    .flatMap(({ userId, isAdmin, sessions }): Principal[] =>
      isAdmin || sessions.mobile === null ? [] : [{ userId, sessionId: sessions.mobile.id, role: 'member' }],
    )
    .slice(0, count)
}

/** Access tokens signed with the server's own key. */
export async function mintTokens(dataDirectory: string, principals: readonly Principal[]): Promise<string[]> {
  const clock = () => Date.now()
  const keys = await KeySet.open({ directory: join(dataDirectory, 'keys'), clock })
  const issuing = new Tokens({ signer: keys, keys, issuer: ISSUER, audience: AUDIENCE, clock })
  const tokens: string[] = []
  await withProgress('Access tokens', principals.length, async (to) => {
    for (let at = 0; at < principals.length; at += SIGN_AT_ONCE) {
      const issued = await Promise.all(principals.slice(at, at + SIGN_AT_ONCE).map((who) => issuing.issue(who, 1)))
      for (const { accessToken } of issued) tokens.push(accessToken)
      to(tokens.length)
    }
  })
  return tokens
}

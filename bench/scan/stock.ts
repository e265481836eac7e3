/** What a run draws on: real members with real access tokens, and codes nobody has scanned. */
import { join } from 'node:path'
import { formatCode } from '../../actors/codes/code-text.js'
import type { UserContext } from '../../actors/user/machine.js'
import { withProgress } from '../../cli/progress.js'
import { unpackImage } from '../../engine/record.js'
import { KeySet } from '../../gateway/auth/keys.js'
import { ACCESS_TOKEN_LIFETIME_MS } from '../../gateway/auth/lifetimes.js'
import type { Principal } from '../../gateway/http/toolkit/principal.js'
import type { Sql } from '../../persistence/postgres/connection.js'
import { PRODUCT, TOKEN_AUDIENCE } from '../../product.js'

const CODE_BYTES = 8
const SIGN_AT_ONCE = 64
const ACTIVE = 1

/** Codes in eight bytes each: millions of texts would keep the generator's garbage collector busy. */
export class PackedCodes {
  constructor(
    /** Two 30-bit halves a code. */
    private readonly halves: Uint32Array,
    readonly length: number,
  ) {}

  /** As members type it. */
  text(at: number): string {
    return formatCode(this.halves[2 * at] ?? 0, this.halves[2 * at + 1] ?? 0)
  }
}

/** Every unscanned active code, in random order. */
export async function packedCodes(sql: Sql): Promise<PackedCodes> {
  const scanned = new Set<number>()
  for await (const rows of sql<{ code_row: number }[]>`select code_row from scans`.cursor(50_000)) {
    for (const { code_row } of rows) scanned.add(code_row)
  }
  const [{ total } = { total: 0 }] = await sql<{ total: number }[]>`
    select coalesce(sum(code_count), 0)::int as total from qr_code_chunks`
  const halves = new Uint32Array(2 * total)
  let length = 0
  const chunks = sql<{ first_row: number; codes: Buffer; statuses: Buffer }[]>`
    select first_row, codes, statuses from qr_code_chunks order by chunk`
  for await (const rows of chunks.cursor(16)) {
    for (const { first_row: firstRow, codes, statuses } of rows) {
      for (let at = 0; at < statuses.length; at++) {
        if (statuses[at] !== ACTIVE || scanned.has(firstRow + at)) continue
        halves[2 * length] = codes.readUInt32BE(at * CODE_BYTES)
        halves[2 * length + 1] = codes.readUInt32BE(at * CODE_BYTES + 4)
        length += 1
      }
    }
  }
  shuffle(halves, length)
  return new PackedCodes(halves, length)
}

/** Every unscanned active code, as text, in random order. */
export async function freshCodes(sql: Sql): Promise<string[]> {
  const codes = await packedCodes(sql)
  return Array.from({ length: codes.length }, (_, at) => codes.text(at))
}

function shuffle(pairs: Uint32Array, count: number): void {
  for (let at = count - 1; at > 0; at--) {
    const other = Math.floor(Math.random() * (at + 1))
    for (const half of [0, 1]) {
      const held = pairs[2 * at + half] ?? 0
      pairs[2 * at + half] = pairs[2 * other + half] ?? 0
      pairs[2 * other + half] = held
    }
  }
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

/** Signs access tokens with a server's own key, as that server would. They live for fifteen minutes. */
export class Mint {
  private constructor(private readonly keys: KeySet) {}

  static async open(dataDirectory: string): Promise<Mint> {
    return new Mint(await KeySet.open({ directory: join(dataDirectory, 'keys'), clock: () => Date.now() }))
  }

  async tokens(principals: readonly Principal[], to: (minted: number) => void = () => {}): Promise<string[]> {
    const tokens: string[] = []
    for (let at = 0; at < principals.length; at += SIGN_AT_ONCE) {
      tokens.push(...(await Promise.all(principals.slice(at, at + SIGN_AT_ONCE).map((who) => this.#sign(who)))))
      to(tokens.length)
    }
    return tokens
  }

  #sign({ userId, sessionId, role }: Principal): Promise<string> {
    const iat = Math.floor(Date.now() / 1_000)
    const exp = iat + ACCESS_TOKEN_LIFETIME_MS / 1_000
    const claims = { iss: PRODUCT, aud: TOKEN_AUDIENCE, sub: userId, sid: sessionId, role, iat, exp }
    return this.keys.sign(claims, { typ: 'at+jwt' })
  }
}

/** Access tokens signed with the server's own key. */
export async function mintTokens(dataDirectory: string, principals: readonly Principal[]): Promise<string[]> {
  const mint = await Mint.open(dataDirectory)
  return withProgress('Access tokens', principals.length, (to) => mint.tokens(principals, to))
}

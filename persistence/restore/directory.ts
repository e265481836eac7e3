import type { Directory, NameKind } from '../../actors/members/directory.js'
import { assert } from '../../engine/assert.js'
import type { Sql, Transaction } from '../postgres/connection.js'

/** Members packed into one row of the answer. */
const MEMBERS_PER_ROW = 8_192
const USER_ID_BYTES = 16
const NAME_BYTES = 12

/** Fills an empty directory of members and their names. */
export async function restoreDirectory(sql: Sql | Transaction, directory: Directory): Promise<void> {
  const members: Buffer[] = []
  await sql<{ packed: Buffer }[]>`
    select string_agg(uuid_send(user_id), '' order by number) as packed from directory_members
    group by number / ${MEMBERS_PER_ROW}::int order by min(number)`.forEach(({ packed }) => {
    members.push(packed)
  })
  const userIds = Buffer.concat(members)
  const [last] = await sql<{ number: number }[]>`select coalesce(max(number), 0)::int as number from directory_members`
  assert(userIds.length === (last?.number ?? 0) * USER_ID_BYTES, 'a member number is missing (D2)')
  directory.restoreMembers(userIds)
  const parts: Record<NameKind, Buffer[]> = { email: [], username: [] }
  await sql<{ kind: NameKind; packed: Buffer }[]>`
    select kind, string_agg(int8send(name_key) || int4send(member_number), '') as packed from directory_names
    group by kind, member_number / ${MEMBERS_PER_ROW}::int`.forEach(({ kind, packed }) => {
    parts[kind].push(packed)
  })
  restoreNames(directory, 'email', Buffer.concat(parts.email))
  restoreNames(directory, 'username', Buffer.concat(parts.username))
}

function restoreNames(directory: Directory, kind: NameKind, packed: Buffer): void {
  const count = packed.length / NAME_BYTES
  const keys = new Uint32Array(count * 2)
  const members = new Uint32Array(count)
  for (let name = 0, at = 0; name < count; name++, at += NAME_BYTES) {
    keys[name * 2] = packed.readUInt32BE(at)
    keys[name * 2 + 1] = packed.readUInt32BE(at + 4)
    members[name] = packed.readUInt32BE(at + 8)
  }
  directory.restoreNames(kind, keys, members)
}

/**
 * Who has which e-mail, username and member number, decided inside the turn.
 *
 * D1 A name (e-mail or username) belongs to at most one member; a released name is free again.
 * D2 Member numbers count up from 1 without gaps and are never given twice (BJ-MID-01).
 * D3 The directory changes only by deltas, which a turn has checked before; one that breaks a rule stops the shard.
 *
 * Names are kept as 64 bits of their SHA-256. Two honest names meet with a chance of 1 in 10⁵ at 20 million; someone
 * can search for two names of his own that do, and gains one name counting as taken. So whoever mails or shows a name
 * takes it from the member, never from what was looked up here.
 */
import { createHash } from 'node:crypto'
import { assert, unreachable } from '../../engine/assert.js'
import type { Table } from '../../engine/table.js'
import { Column, KeyIndex } from '../shared/key-index.js'

export type NameKind = 'email' | 'username'

/** 64 bits of a name, as two unsigned halves. */
export interface NameKey {
  readonly hi: number
  readonly lo: number
}

export type DirectoryDelta =
  | ({ readonly op: 'claim'; readonly kind: NameKind; readonly member: number } & NameKey)
  | ({ readonly op: 'release'; readonly kind: NameKind } & NameKey)
  | { readonly op: 'member'; readonly number: number; readonly userId: string }

const USER_ID_BYTES = 16
const userIdPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

export class Directory implements Table<DirectoryDelta> {
  readonly name = 'members'
  readonly #names: Readonly<Record<NameKind, Names>> = { email: new Names(), username: new Names() }
  /** By member number: the sixteen bytes of the user id. */
  readonly #userIds = new Column<Uint8Array>((length) => new Uint8Array(length))
  #memberCount = 0

  get memberCount(): number {
    return this.#memberCount
  }

  get nextMemberNumber(): number {
    return this.#memberCount + 1
  }

  /** Memory held, in bytes. */
  get bytes(): number {
    return this.#names.email.bytes + this.#names.username.bytes + this.#userIds.bytes
  }

  /** The member number, or null if the name is free. */
  memberByEmail(text: string): number | null {
    return this.#memberBy('email', text)
  }

  /** The member number, or null if the name is free. */
  memberByUsername(text: string): number | null {
    return this.#memberBy('username', text)
  }

  /** The user id (a lower-case UUID), or null if there is no such member. */
  userIdOf(member: number): string | null {
    if (!this.#isMember(member)) return null
    const hex = Buffer.from(this.#userIds.read(member * USER_ID_BYTES, USER_ID_BYTES)).toString('hex')
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
  }

  apply(delta: DirectoryDelta): void {
    switch (delta.op) {
      case 'claim':
        assert(this.#isMember(delta.member), `member ${delta.member} cannot claim a name: there is none (D3)`)
        this.#names[delta.kind].claim(delta, delta.member)
        break
      case 'release':
        this.#names[delta.kind].release(delta)
        break
      case 'member':
        this.#addMember(delta.number, delta.userId)
        break
      default:
        unreachable(delta)
    }
  }

  /** Puts members back: sixteen bytes of user id each, from number 1 up. The directory must be empty. */
  restoreMembers(userIds: Uint8Array): void {
    assert(
      this.#memberCount === 0 && userIds.length % USER_ID_BYTES === 0,
      'members are restored once, sixteen bytes each',
    )
    this.#userIds.write(USER_ID_BYTES, userIds)
    this.#memberCount = userIds.length / USER_ID_BYTES
  }

  /** Puts names back, after the members: keys as [hi, lo, …] and the member of each. */
  restoreNames(kind: NameKind, keys: Uint32Array, members: Uint32Array): void {
    assert(keys.length === members.length * 2, 'each name has one key and one member')
    const names = this.#names[kind]
    names.reserve(members.length)
    members.forEach((member, at) => {
      assert(this.#isMember(member), 'a restored name belongs to a member who does not exist')
      names.claim({ hi: keys[at * 2] as number, lo: keys[at * 2 + 1] as number }, member)
    })
  }

  #memberBy(kind: NameKind, text: string): number | null {
    return this.#names[kind].memberOf(keyOf(text)) || null
  }

  #isMember(number: number): boolean {
    return number >= 1 && number <= this.#memberCount
  }

  #addMember(number: number, userId: string): void {
    assert(number === this.nextMemberNumber, `member number ${number} is not the next one (D2)`)
    assert(userIdPattern.test(userId), `${userId} is not a UUID`)
    this.#userIds.write(number * USER_ID_BYTES, Buffer.from(userId.replaceAll('-', ''), 'hex'))
    this.#memberCount = number
  }
}

/** Names of one kind and the member number of each, 0 once released. */
class Names {
  readonly #keys = new KeyIndex()
  readonly #members = new Column<Uint32Array>((length) => new Uint32Array(length))

  get bytes(): number {
    return this.#keys.bytes + this.#members.bytes
  }

  reserve(size: number): void {
    this.#keys.reserve(size)
  }

  /** The member number, 0 if the name is free. */
  memberOf({ hi, lo }: NameKey): number {
    const row = this.#keys.find(hi, lo)
    return row < 0 ? 0 : this.#members.get(row)
  }

  claim({ hi, lo }: NameKey, member: number): void {
    const known = this.#keys.find(hi, lo)
    const row = known < 0 ? this.#keys.add(hi, lo) : known
    assert(this.#members.get(row) === 0, 'the name belongs to another member (D1)')
    this.#members.set(row, member)
  }

  release({ hi, lo }: NameKey): void {
    const row = this.#keys.find(hi, lo)
    assert(row >= 0 && this.#members.get(row) !== 0, 'a name nobody has cannot be released (D3)')
    this.#members.set(row, 0)
  }
}

/** The key of a name: names that differ only in case or Unicode form are the same name. */
export function keyOf(text: string): NameKey {
  const digest = createHash('sha256').update(text.normalize('NFKC').toLowerCase()).digest()
  return { hi: digest.readUInt32BE(0), lo: digest.readUInt32BE(4) }
}

export const USERNAME_LENGTH_MIN = 3
export const USERNAME_LENGTH_MAX = 50
/** Leaves room for the longest number. */
const USERNAME_BASE_MAX = 40
/** Numbered names tried in turn before the member number is used. */
const USERNAME_TRIES_MAX = 50

/** A free username made from a name: `janedoe`, `janedoe2`, … and, if the first are all taken, the member number. */
export function suggestUsername(fullName: string, directory: Directory): string {
  const letters = fullName
    .normalize('NFKD')
    .toLowerCase()
    .replace(/[^a-z0-9]/g, '')
  const base = letters.length < USERNAME_LENGTH_MIN ? `${letters}member` : letters.slice(0, USERNAME_BASE_MAX)
  const isFree = (username: string) => directory.memberByUsername(username) === null
  if (isFree(base)) return base
  for (let number = 2; number <= USERNAME_TRIES_MAX; number++) {
    if (isFree(`${base}${number}`)) return `${base}${number}`
  }
  let number = directory.nextMemberNumber
  while (!isFree(`${base}${number}`)) number++
  return `${base}${number}`
}

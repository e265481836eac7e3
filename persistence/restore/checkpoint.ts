import type { ActorId } from '../../engine/actor.js'
import { defaultLimits, type ShardLimits } from '../../engine/limits.js'
import { type Alarm, type Message, unpack } from '../../engine/record.js'
import type { Checkpoint } from '../../engine/store.js'
import type { Sql, Transaction } from '../postgres/connection.js'
import { withParkedOutcomes } from './parked-outcomes.js'

/**
 * What a shard starts from. `pinnedTypes` are the actor types that are always in memory.
 * Read it in one snapshot with the tables, and before the projector starts (see inOneSnapshot).
 */
export async function readCheckpoint(
  sql: Sql | Transaction,
  shard: string,
  pinnedTypes: readonly string[],
  limits: Pick<ShardLimits, 'idempotencyWindowMs' | 'idempotencyEntriesMax'> = defaultLimits,
): Promise<Checkpoint> {
  const [mark] = await sql<{ applied_seq: bigint; applied_at_ms: bigint }[]>`
    select applied_seq, applied_at_ms from projector_mark where shard = ${shard}`
  const lastAt = Number(mark?.applied_at_ms ?? 0)
  return {
    appliedSeq: Number(mark?.applied_seq ?? 0),
    lastAt,
    pinned: await readPinned(sql, shard, pinnedTypes),
    alarms: await readAlarms(sql, shard),
    messages: await readMessages(sql, shard),
    idempotency: await readIdempotency(sql, shard, lastAt - limits.idempotencyWindowMs, limits.idempotencyEntriesMax),
  }
}

/**
 * The actors of a type are one range of the key: from `type/` to the character after the slash. Each is asked for by itself:
 * joined with a list of types, Postgres cannot tell how few rows the ranges have, and reads all members instead.
 */
async function readPinned(sql: Sql | Transaction, shard: string, types: readonly string[]) {
  const ranges: { actor: ActorId; image: Uint8Array }[][] = []
  for (const from of types.map((type) => `${type}/`).sort()) {
    ranges.push(
      await sql<{ actor: ActorId; image: Uint8Array }[]>`
        select actor, image from actor_images
        where actor >= ${from} and actor < ${`${from.slice(0, -1)}0`} and shard = ${shard} order by actor`,
    )
  }
  return ranges.flat()
}

async function readAlarms(sql: Sql | Transaction, shard: string): Promise<Alarm[]> {
  const rows = await sql<{ actor: ActorId; name: string; at_ms: bigint; command: string; args: Uint8Array }[]>`
    select actor, name, at_ms, command, args from alarms where shard = ${shard} order by actor, name`
  return rows.map(({ actor, name, at_ms, command, args }) => ({
    actor,
    name,
    at: Number(at_ms),
    command,
    args: unpack(args),
  }))
}

/** In the order they were told. */
async function readMessages(sql: Sql | Transaction, shard: string): Promise<Message[]> {
  const rows = await sql<{ seq: bigint; number: number; command: string; args: Uint8Array }[]>`
    select seq, number, command, args from messages where shard = ${shard} order by seq, number`
  return rows.map(({ seq, number, command, args }) => ({ id: `${seq}.${number}`, command, args: unpack(args) }))
}

/**
 * Client keys within the window, oldest first. One more than memory takes, if there are more, so that it knows it has
 * forgotten some. Natural keys stay in Postgres, which is always asked for them. They are sorted here, where they come
 * almost sorted: Postgres would sort a million of them on disk.
 */
async function readIdempotency(sql: Sql | Transaction, shard: string, since: number, entriesMax: number) {
  const entries: { key: string; fingerprint: string; at: number; seq: number; forever: false }[] = []
  const [oldest] = await sql<{ at: number }[]>`
    select at_ms::float8 as at from idempotency where shard = ${shard} and not forever and at_ms > ${since}
    order by at_ms desc offset ${entriesMax} limit 1`
  await sql<{ key: string; fingerprint: string; at: number; seq: number }[]>`
    select key, fingerprint, at_ms::float8 as at, seq::float8 as seq from ${withParkedOutcomes(sql)} entries
    where shard = ${shard} and not forever and at_ms > ${since} and at_ms >= ${oldest?.at ?? since}`.forEach(
    ({ key, fingerprint, at, seq }) => {
      entries.push({ key, fingerprint, at, seq, forever: false })
    },
  )
  return entries.sort((a, b) => a.seq - b.seq).slice(-entriesMax - 1)
}

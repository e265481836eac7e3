import type { ActorId } from '../engine/actor.js'
import { type StoredOutcome, unpack } from '../engine/record.js'
import type { Store } from '../engine/store.js'
import { readOnLiveConnection, type Sql } from './postgres/connection.js'
import { withParkedOutcomes } from './restore/parked-outcomes.js'

/** Reads what a shard no longer holds in memory from what the projector wrote. */
export class PostgresStore implements Store {
  constructor(
    readonly sql: Sql,
    readonly shard: string,
  ) {}

  async loadImages(ids: readonly ActorId[]): Promise<Map<ActorId, Uint8Array>> {
    const rows = await readOnLiveConnection(
      this.sql,
      () =>
        this.sql<{ actor: ActorId; image: Uint8Array }[]>`
          select actor, image from actor_images where actor = any(${[...ids]}::text[])`,
    )
    return new Map(rows.map(({ actor, image }) => [actor, image]))
  }

  async loadOutcome(key: string) {
    const [row] = await readOnLiveConnection(
      this.sql,
      () =>
        this.sql<{ fingerprint: string; at_ms: bigint; outcome: Uint8Array }[]>`
          select fingerprint, at_ms, outcome from ${withParkedOutcomes(this.sql)} entries
          where shard = ${this.shard} and key = ${key} order by seq desc limit 1`,
    )
    if (row === undefined) return undefined
    const { fingerprint, at_ms, outcome } = row
    return { fingerprint, at: Number(at_ms), outcome: unpack<StoredOutcome>(outcome) }
  }
}

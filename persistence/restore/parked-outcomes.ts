import type { Sql, Transaction } from '../postgres/connection.js'

/** The table of outcomes with those Postgres refused (P3): a repeat must be recognised all the same. */
export function withParkedOutcomes(sql: Sql | Transaction) {
  return sql`(
    select shard, key, fingerprint, at_ms, seq, forever, outcome from idempotency
    union all
    select parked.shard, entry.key, entry.fingerprint, entry.at_ms, entry.seq, entry.forever, entry.outcome
    from dead_letters parked, json_populate_record(null::idempotency, parked.row) entry
    where parked.table_name = 'idempotency' and parked.resolved_at is null
  )`
}

/**
 * A data folder as large as a start is to be measured with. Members and codes come from `comptroller seed`; scans, which
 * would take hours, are rows written in bulk as the write-behind writes them, in the order of their ordinals.
 */
import { scanCounter } from '../../actors/counter/machine.js'
import { withProgress } from '../../cli/progress.js'
import { pack, packImage, unpackImage } from '../../engine/record.js'
import type { Sql } from '../../persistence/postgres/connection.js'
import { defaultProjectorLimits } from '../../persistence/projector/limits.js'
import { PostgresProjection } from '../../persistence/projector/postgres-projection.js'
import { runCommand } from '../scan/server-process.js'

export const SHARD = 'blakjaks'
/** The most one batch of codes may have. */
const CODES_PER_BATCH_MAX = 10_000_000
const SCANS_PER_INSERT = 500_000
/** Any number without a common factor with the number of codes spreads scans over all of them. */
const SPREAD = 7_368_787
const OUTCOME_KEYS_AT_ONCE = 250_000
/** Scans that wait to be folded when a start is measured: as many as may wait in a running server. */
export const UNFOLDED = defaultProjectorLimits.foldScansMin

export interface StockSize {
  readonly users: number
  readonly codes: number
  readonly scans: number
  /** Idempotency keys of the last hours. */
  readonly keys: number
}

/** Members and active codes, by the command line. */
export async function seedStock(folder: string, { users, codes }: StockSize): Promise<void> {
  await runCommand(folder, ['seed', '--users', String(users)])
  for (let left = codes; left > 0; left -= CODES_PER_BATCH_MAX) {
    await runCommand(folder, ['seed', '--codes', String(Math.min(left, CODES_PER_BATCH_MAX))])
  }
}

/** Scans by ordinal, each of another code; indexes are made afterwards. */
export async function fillScans(sql: Sql, { users, codes, scans }: StockSize): Promise<void> {
  const indexes = await sql<{ name: string; definition: string }[]>`
    select indexname as name, indexdef as definition from pg_indexes
    where tablename = 'scans' and indexname <> 'scans_pkey'`
  for (const { name } of indexes) await sql`drop index ${sql(name)}`
  await sql`alter table scans drop constraint scans_pkey`
  await sql.unsafe(`
    create unlogged table bench_codes as
      select first_row + place as code_row, codes.code from qr_code_chunks chunk,
        chunk_codes(chunk.codes, chunk.statuses) codes;
    create unique index on bench_codes (code_row) include (code);
    analyze bench_codes`)
  await withProgress('Scans', scans, async (to) => {
    for (let from = 1; from <= scans; from += SCANS_PER_INSERT) {
      await insertScans(sql, { from, to: Math.min(scans, from + SCANS_PER_INSERT - 1), users, codes })
      to(from + SCANS_PER_INSERT - 1)
    }
  })
  await sql`drop table bench_codes`
  await sql`alter table scans add primary key (ordinal) include (code_row, device_fingerprint)`
  for (const { definition } of indexes) await sql.unsafe(definition)
  await countScans(sql, scans)
}

async function insertScans(
  sql: Sql,
  { from, to, users, codes }: { from: number; to: number; users: number; codes: number },
): Promise<void> {
  await sql`
    insert into scans (ordinal, id, user_id, code, scanned_at, client_at, seq, code_row, quarter_scans,
      device_fingerprint, scan_method, product_sku, quarter, tier, geolocation, device_id, ip_address)
    select ordinal, gen_random_uuid(), member.user_id, code.code, at, at, ordinal, code.code_row, 1 + ordinal / ${users}::int,
      1 + number % 63, 'qr', 'SPEARMINT-3MG', '2026-Q4', 'standard',
      point(25 + number % 2000 / 100.0, -120 + number % 4500 / 100.0), 'bench-' || number, '203.0.113.7'
    from (
      select ordinal, 1 + (ordinal - 1) % ${users}::int as number, ordinal * ${SPREAD}::bigint % ${codes}::int as code_row,
        to_timestamp(1790812800 + ordinal * 0.00864) as at
      from generate_series(${from}::bigint, ${to}::bigint) ordinal
    ) scan
    join directory_members member using (number)
    join bench_codes code using (code_row)
    order by ordinal`
}

/** The counter goes on after the last scan, or the next one would have an ordinal that is taken. */
async function countScans(sql: Sql, scans: number): Promise<void> {
  const [counter] = await sql<{ image: Buffer }[]>`select image from actor_images where actor = ${scanCounter.id}`
  const { accounts = {}, value = 'counting' } = counter === undefined ? {} : unpackImage(counter.image)
  const image = Buffer.from(packImage({ value, context: { value: scans }, accounts }))
  await sql`
    insert into actor_images (actor, shard, seq, image)
    select ${scanCounter.id}, shard, applied_seq, ${image} from projector_mark
    on conflict (actor) do update set image = excluded.image`
}

/** Idempotency keys of scans, evenly over the twelve hours before the last input. */
export async function fillKeys(sql: Sql, { keys }: StockSize): Promise<void> {
  const outcome = Buffer.from(
    pack({ ok: true, reply: { scan: { id: '-'.repeat(36), ordinal: 1 }, filler: '-'.repeat(300) } }),
  )
  await withProgress('Idempotency keys', keys, async (to) => {
    for (let from = 1; from <= keys; from += OUTCOME_KEYS_AT_ONCE) {
      const last = Math.min(keys, from + OUTCOME_KEYS_AT_ONCE - 1)
      await sql`
        insert into idempotency (shard, key, fingerprint, at_ms, seq, forever, outcome)
        select mark.shard, gen_random_uuid() || ':' || gen_random_uuid(), 'scan.submit:' || md5(key::text),
          mark.applied_at_ms - 43200000 + 43200000 * key / ${keys}::int, key, false, ${outcome}
        from generate_series(${from}::bigint, ${last}::bigint) key, projector_mark mark`
      to(last)
    }
  })
}

export interface Folding {
  readonly scans: number
  readonly seconds: number
  /** The longest transaction. */
  readonly longestStepMs: number
}

/** Lets the write-behind's own housekeeping fold all but the last scans. */
export async function foldScans(sql: Sql, url: string): Promise<Folding> {
  const limits = { ...defaultProjectorLimits, foldIntervalMs: 0, foldScansMin: UNFOLDED + 1, foldScansMax: UNFOLDED }
  const ends = async () => {
    const [row] = await sql<{ folded: bigint; last: bigint; at: bigint }[]>`
      select coalesce((select folded_ordinal from code_fold_mark), 0) as folded, applied_at_ms as at,
        coalesce((select max(ordinal) from scans), 0) as last from projector_mark`
    return { folded: Number(row?.folded), last: Number(row?.last), at: Number(row?.at) }
  }
  const projection = await PostgresProjection.open(url, SHARD, limits)
  try {
    const before = await ends()
    let longestStepMs = 0
    const startedAt = performance.now()
    await withProgress('Folding scans', before.last - before.folded, async (to) => {
      for (let now = before; now.last - now.folded > UNFOLDED; now = await ends()) {
        const stepAt = performance.now()
        await projection.housekeep(now.at)
        longestStepMs = Math.max(longestStepMs, performance.now() - stepAt)
        to(now.folded - before.folded)
      }
    })
    const seconds = (performance.now() - startedAt) / 1_000
    return { scans: (await ends()).folded - before.folded, seconds, longestStepMs }
  } finally {
    await projection.end()
  }
}

/** The end of the day: everything that was answered is in Postgres, the ledger is balanced, prizes are paid. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Sql } from '../../persistence/postgres/connection.js'
import { scrape } from '../scan/prometheus.js'

const POLL_MS = 200
const IDS_AT_ONCE = 20_000

export interface Promised {
  readonly scans: ReadonlySet<string>
  /** Sent, and never answered: each may be there or not. */
  readonly unknownScans: number
  readonly messages: readonly string[]
}

export interface Check {
  readonly name: string
  readonly found: string
  readonly ok: boolean
}

/** Waits until all is written and paid; returns the seconds each took, or null for what did not come in time. */
export async function settle(url: string, sql: Sql, patienceMs: number) {
  const startedAt = performance.now()
  const until = async (isDone: () => Promise<boolean>): Promise<number | null> => {
    while (!(await isDone())) {
      if (performance.now() - startedAt > patienceMs) return null
      await sleep(POLL_MS)
    }
    return (performance.now() - startedAt) / 1_000
  }
  const writtenSeconds = await until(async () => (await scrape(url)).get('comptroller_shard_lag_records') === 0)
  const paidSeconds = await until(async () => (await unpaid(sql)) === 0)
  await until(async () => (await scrape(url)).get('comptroller_shard_lag_records') === 0)
  return { writtenSeconds, paidSeconds }
}

async function unpaid(sql: Sql): Promise<number> {
  const [row] = await sql<{ count: number }[]>`
    select count(*)::int as count from comps where amount > 0 and status <> 'paid'`
  return row?.count ?? 0
}

export async function check(sql: Sql, promised: Promised): Promise<Check[]> {
  const [scans] = await sql<{ rows: number; last: number }[]>`
    select count(*)::int as rows, coalesce(max(ordinal), 0)::int as last from scans`
  const { rows = 0, last = 0 } = scans ?? {}
  const missingScans = await missing(sql, 'select id::text as id from scans where id = any($1::uuid[])', promised.scans)
  const missingMessages = await missing(
    sql,
    'select id from social_messages where id = any($1::text[])',
    new Set(promised.messages),
  )
  const extra = rows - promised.scans.size
  const [money] = await sql<{ unbalanced: number; debts: number; dead: number; won: number }[]>`
    select
      (select count(*)::int from (
        select from ledger_entries group by shard, seq, posting, currency having sum(amount) <> 0) off) as unbalanced,
      (select count(distinct account)::int from (
        select account, sum(amount) over (partition by account, currency order by seq, line) as balance
        from ledger_entries where account not like '%:funding') balances where balance < 0) as debts,
      (select count(*)::int from dead_letters) as dead,
      (select count(*)::int from comps where amount > 0) as won`
  const left = await unpaid(sql)
  const won = money?.won ?? 0
  return [
    {
      name: 'accepted scans in Postgres',
      found: `${promised.scans.size - missingScans} of ${promised.scans.size}`,
      ok: missingScans === 0,
    },
    {
      name: 'scans nobody was told of',
      found: `${extra}, with ${promised.unknownScans} whose answer was lost`,
      ok: extra >= 0 && extra <= promised.unknownScans,
    },
    { name: 'ordinals without a gap', found: `${rows} scans, the last is number ${last}`, ok: rows === last },
    {
      name: 'acknowledged messages in Postgres',
      found: `${promised.messages.length - missingMessages} of ${promised.messages.length}`,
      ok: missingMessages === 0,
    },
    { name: 'postings that are not balanced', found: String(money?.unbalanced), ok: money?.unbalanced === 0 },
    { name: 'accounts ever below zero', found: String(money?.debts), ok: money?.debts === 0 },
    { name: 'rows that Postgres refused', found: String(money?.dead), ok: money?.dead === 0 },
    { name: 'prizes paid on chain, and final', found: `${won - left} of ${won}`, ok: left === 0 },
  ]
}

/** How many of the ids a query does not find. */
async function missing(sql: Sql, query: string, ids: ReadonlySet<string>): Promise<number> {
  const all = [...ids]
  let found = 0
  for (let from = 0; from < all.length; from += IDS_AT_ONCE) {
    const part = `{${all.slice(from, from + IDS_AT_ONCE).join()}}`
    found += (await sql.unsafe(query, [part])).length
  }
  return all.length - found
}

/**
 * The two forms of the conventional scan in Postgres. The ordinal is an identity column, not a row that every scan locks:
 * that would let only one transaction commit at a time.
 */
import type postgres from 'postgres'
import { type AdmittedScan, codeRefusal, prizesOf, type StoreScan, scanColumns } from './scan.js'

type Queries = postgres.Sql | postgres.TransactionSql

/** One transaction with the code's row locked. What does not depend on each other goes in one round trip. */
export const inTransaction =
  (sql: postgres.Sql): StoreScan =>
  (scan) =>
    sql.begin(async (tx) => {
      const { id, userId, code, quarter, ip } = scan
      const [locked] = await tx<{ status: string; product_sku: string }[]>`
        select status, product_sku from qr_codes where code = ${code} for update`
      if (locked?.status !== 'manufactured') throw codeRefusal(locked?.status)
      const { clientAt, geolocation, deviceId, method } = scanColumns(scan)
      const [scans, , members] = await Promise.all([
        tx<{ ordinal: string }[]>`
          insert into scans (id, user_id, code, scanned_at, client_at, quarter, product_sku, scan_method, geolocation,
            device_id, ip_address)
          values (${id}, ${userId}, ${code}, now(), ${clientAt}, ${quarter.key}, ${locked.product_sku}, ${method},
            ${geolocation}, ${deviceId}, ${ip})
          returning ordinal`,
        tx`
          update qr_codes set status = 'scanned', scanned_at = now(), scanned_by_user_id = ${userId}
          where code = ${code}`,
        tx<{ scan_count: number }[]>`
          insert into tier_history (user_id, quarter, scan_count, tier, achieved_at)
          values (${userId}, ${quarter.key}, 1, tier_for(1), now())
          on conflict (user_id, quarter) do update
          set scan_count = tier_history.scan_count + 1, tier = tier_for(tier_history.scan_count + 1)
          returning scan_count`,
      ])
      const counted = {
        ordinal: Number(scans[0]?.ordinal),
        quarterScans: members[0]?.scan_count ?? 0,
        sku: locked.product_sku,
      }
      return { ...counted, lifetimeComps: await award(tx, scan, counted) }
    })

/** Everything in one statement: a round trip instead of five. A prize, one scan in 500, is a second one. */
export const inOneStatement =
  (sql: postgres.Sql): StoreScan =>
  async (scan) => {
    const { id, userId, code, quarter, ip } = scan
    const { clientAt, geolocation, deviceId, method } = scanColumns(scan)
    const [stored] = await sql<{ ordinal: string; scan_count: number; product_sku: string }[]>`
      with claimed as (
        update qr_codes set status = 'scanned', scanned_at = now(), scanned_by_user_id = ${userId}
        where code = ${code} and status = 'manufactured'
        returning product_sku
      ), scan as (
        insert into scans (id, user_id, code, scanned_at, client_at, quarter, product_sku, scan_method, geolocation,
          device_id, ip_address)
        select ${id}, ${userId}, ${code}, now(), ${clientAt}, ${quarter.key}, product_sku, ${method}, ${geolocation},
          ${deviceId}, ${ip}
        from claimed
        returning ordinal
      ), member as (
        insert into tier_history (user_id, quarter, scan_count, tier, achieved_at)
        select ${userId}, ${quarter.key}, 1, tier_for(1), now() from claimed
        on conflict (user_id, quarter) do update
        set scan_count = tier_history.scan_count + 1, tier = tier_for(tier_history.scan_count + 1)
        returning scan_count
      )
      select ordinal, scan_count, product_sku from claimed, scan, member`
    if (stored === undefined) {
      const [found] = await sql<{ status: string }[]>`select status from qr_codes where code = ${code}`
      throw codeRefusal(found?.status)
    }
    const counted = { ordinal: Number(stored.ordinal), quarterScans: stored.scan_count, sku: stored.product_sku }
    return { ...counted, lifetimeComps: await award(sql, scan, counted) }
  }

/** Stores what the scan wins, if it does; what the member has won ever then, in micro-USDT. */
async function award(
  sql: Queries,
  { id, userId, quarter }: AdmittedScan,
  counted: { readonly ordinal: number; readonly quarterScans: number; readonly sku: string },
): Promise<bigint> {
  let lifetimeComps = 0n
  for (const { compType, amount, label } of prizesOf(quarter, counted).awarded) {
    const [member] = await sql<{ lifetime_comps: string }[]>`
      with comp as (
        insert into comps (scan_id, comp_type, user_id, amount, milestone)
        values (${id}, ${compType}, ${userId}, ${String(amount)}, ${label})
      )
      insert into users (id, lifetime_comps) values (${userId}, ${String(amount)})
      on conflict (id) do update set lifetime_comps = users.lifetime_comps + excluded.lifetime_comps
      returning lifetime_comps`
    lifetimeComps = BigInt(member?.lifetime_comps ?? 0)
  }
  return lifetimeComps
}

export const stores = { transaction: inTransaction, statement: inOneStatement } as const
export type Form = keyof typeof stores

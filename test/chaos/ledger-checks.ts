// Money, as the tables tell it: nothing appears, nothing vanishes, nobody is in debt who may not be.
import type { Sql } from '../../persistence/postgres/connection.js'
import { differences } from './checks.js'
import type { Errands } from './errands.js'

export async function checkLedger(sql: Sql, errands: Errands): Promise<string[]> {
  const unbalanced = await sql`
    select seq, posting, currency, sum(amount)::text as off from ledger_entries
    group by shard, seq, posting, currency having sum(amount) <> 0`
  const debts = await sql`
    select account, min(balance)::text as lowest from (
      select account, sum(amount) over (partition by account, currency order by seq, line) as balance
      from ledger_entries where account not like '%:funding'
    ) balances group by account having min(balance) < 0`
  return [
    ...unbalanced.map(({ seq, currency, off }) => `L2: record ${seq} is off by ${off} ${currency}`),
    ...debts.map(({ account, lowest }) => `L3: ${account} was at ${lowest}`),
    ...(await checkFunding(sql, errands)),
    ...(await checkHolds(sql)),
    ...(await checkWaiting(sql)),
    ...(await checkSales(sql, errands)),
  ]
}

/** Every deposit counts once. */
async function checkFunding(sql: Sql, errands: Errands): Promise<string[]> {
  const rows = await sql`
    select reference, amount::text as amount from ledger_entries where kind = 'treasury.fund' and amount > 0`
  return differences(
    'deposits',
    rows.map(({ reference, amount }) => `${reference} ${amount}`),
    errands.done('fund').map(({ reference, amount }) => `${reference} ${amount}`),
  )
}

/** What is held is what was won and funded, each comp once. */
async function checkHolds(sql: Sql): Promise<string[]> {
  const held = await sql`
    select reference, amount::text as amount from ledger_entries where kind = 'payout.hold' and amount > 0`
  const funded = await sql`select id, trunc(amount * 1000000)::text as amount from comps where funded and amount > 0`
  return differences(
    'money held',
    held.map(({ reference, amount }) => `${reference} ${amount}`),
    funded.map(({ id, amount }) => `${id} ${amount}`),
  )
}

/** Comps that wait do so because there is no money for the first of them. */
async function checkWaiting(sql: Sql): Promise<string[]> {
  const waiting = await sql`select comp_id, amount::text as amount from unfunded_comps order by seq, entry`
  const unfunded = await sql`select id from comps where not funded`
  const [pool] = await sql`
    select coalesce(sum(amount), 0)::text as available from ledger_entries where account = 'treasury/member:available'`
  const [first] = waiting
  const isPayable = first !== undefined && BigInt(pool?.available) >= BigInt(first.amount)
  return [
    ...differences(
      'comps that wait',
      waiting.map(({ comp_id }) => String(comp_id)),
      unfunded.map(({ id }) => String(id)),
    ),
    ...(isPayable ? [`comp ${first.comp_id} waits though ${pool?.available} is there`] : []),
  ]
}

async function checkSales(sql: Sql, errands: Errands): Promise<string[]> {
  const rows = await sql`select reference, tins from tins_sold`
  return differences(
    'sales',
    rows.map(({ reference, tins }) => `${reference} ${tins}`),
    errands.done('sale').map(({ reference, amount }) => `${reference} ${amount}`),
  )
}

/** What the administrator last said of a member's tier is so. */
export async function checkTiersSet(sql: Sql, errands: Errands): Promise<string[]> {
  const rows = await sql`select id, tier from users`
  const found = new Map(rows.map(({ id, tier }) => [String(id), String(tier)]))
  return [...errands.tiersSet()]
    .filter(([userId, tier]) => tier !== null && found.get(userId) !== tier)
    .map(([userId, tier]) => `${userId} was set to ${tier} and is ${found.get(userId)}`)
}

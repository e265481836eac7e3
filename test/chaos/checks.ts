// What must be true after every fault. Each check returns what is wrong, in words; nothing is wrong with an empty list.
import type { Sql } from '../../persistence/postgres/connection.js'
import { type Attempt, type Campaign, listedScans } from '../support/campaign.js'
import type { Member } from '../support/members.js'
import type { Errands } from './errands.js'

const EXAMPLES_MAX = 5
const AT_ONCE = 8

/** What is in one list and not in the other; the same number of each. */
export function differences(what: string, found: readonly string[], expected: readonly string[]): string[] {
  const left = new Map<string, number>()
  for (const line of found) left.set(line, (left.get(line) ?? 0) + 1)
  const missing = expected.filter((line) => {
    const count = left.get(line) ?? 0
    left.set(line, count - 1)
    return count <= 0
  })
  const extra = [...left].filter(([, count]) => count > 0).map(([line]) => line)
  return [
    ...missing.slice(0, EXAMPLES_MAX).map((line) => `${what}: missing ${line}`),
    ...extra.slice(0, EXAMPLES_MAX).map((line) => `${what}: unexpected ${line}`),
  ]
}

/** Every answered scan is in its member's list, at once; with `exactly`, nothing else is. */
export async function checkMembers(
  campaign: Campaign,
  members: readonly Member[],
  { exactly }: { exactly: boolean },
): Promise<string[]> {
  const problems: string[] = []
  const waiting = [...members]
  const some = async () => {
    for (let member = waiting.pop(); member !== undefined; member = waiting.pop()) {
      const expected = campaign.answeredBy(member.user.id)
      const found = await listedScans(member)
      const relevant = exactly ? found : found.filter((line) => expected.includes(line))
      problems.push(...differences(`scans of ${member.account.email}`, relevant, expected))
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, some))
  return problems
}

/** Ordinals without gap or double, and every answer once in Postgres, and nothing else. */
export async function checkScans(sql: Sql, campaign: Campaign): Promise<string[]> {
  const answered = campaign.answeredBy()
  const gap = answered.findIndex((line, index) => !line.startsWith(`${index + 1} `))
  const rows = await sql`select ordinal, id, code_text(code) as code from scans order by ordinal`
  const [parked] = await sql`select count(*)::int as n from dead_letters where resolved_at is null`
  return [
    ...campaign.contradictions.map((what) => `two answers to one scan: ${what}`),
    ...(gap < 0 ? [] : [`ordinals: ${gap + 1} is missing or given twice`]),
    ...differences(
      'scans in Postgres',
      rows.map(({ ordinal, id, code }) => `${ordinal} ${id} ${code}`),
      answered,
    ),
    ...(parked?.n === 0 ? [] : [`P3: ${parked?.n} rows are parked`]),
  ]
}

const ranks = ['standard', 'vip', 'high_roller', 'whale']
const tierOfCount = (count: number) =>
  count >= 30 ? 'whale' : count >= 15 ? 'high_roller' : count >= 7 ? 'vip' : 'standard'
const isAtLeast = (tier: string, least: string) => ranks.indexOf(tier) >= ranks.indexOf(least)

interface Prizes {
  readonly awarded: string[]
  readonly unclaimed: string[]
}

/**
 * The rules once more, as a plain loop over the ordinals: what each must have won. Whose tier an administrator sets
 * meanwhile has the tier the scan says, if it is one of those that were ever set.
 */
function expectedPrizes(campaign: Campaign, errands: Errands, tiers: ReadonlyMap<number, string>, problems: string[]) {
  const everSet = new Map<string, Set<string>>()
  for (const { userId, tier } of errands.all) {
    if (userId !== undefined && tier !== null) everSet.set(userId, (everSet.get(userId) ?? new Set()).add(tier))
  }
  const counts = new Map<string, number>()
  const prizes: Prizes = { awarded: [], unclaimed: [] }
  for (const { member, scan } of inOrder(campaign)) {
    const userId = String(member.user.id)
    const count = (counts.get(userId) ?? 0) + 1
    counts.set(userId, count)
    const tier = tiers.get(scan.ordinal) ?? 'none'
    if (tier !== tierOfCount(count) && everSet.get(userId)?.has(tier) !== true) {
      problems.push(`tier: scan ${scan.ordinal} is the member's ${count}. and was made as ${tier}`)
    }
    addPrize(prizes, scan.ordinal, `${userId} ${scan.id}`, userId, tier)
  }
  return prizes
}

function addPrize({ awarded, unclaimed }: Prizes, ordinal: number, winner: string, userId: string, tier: string): void {
  if (ordinal % 500 !== 0) return
  const isThousand = ordinal % 7_500 === 0
  if (isThousand && isAtLeast(tier, 'high_roller')) awarded.push(`${ordinal} ${winner} crypto_1k 1000 7500th`)
  else if (isAtLeast(tier, 'vip')) awarded.push(`${ordinal} ${winner} crypto_100 100 500th`)
  else unclaimed.push(`${ordinal} ${userId} ${isThousand ? 'crypto_1k' : 'crypto_100'} tier_too_low`)
}

function inOrder(campaign: Campaign) {
  return campaign.attempts
    .flatMap(({ member, scan }: Attempt) => (scan === undefined ? [] : { member, scan }))
    .sort((a, b) => a.scan.ordinal - b.scan.ordinal)
}

/** Milestones are won at exactly the ordinals the rules say, by exactly whom they say. */
export async function checkPrizes(sql: Sql, campaign: Campaign, errands: Errands): Promise<string[]> {
  const problems: string[] = []
  const scans = await sql`
    select ordinal, user_id, id, tier, comp_type, trunc(comp_amount)::text as amount, milestone_hit from scans`
  const tiers = new Map(scans.map(({ ordinal, tier }) => [Number(ordinal), String(tier)]))
  const expected = expectedPrizes(campaign, errands, tiers, problems)
  const comps = await sql`
    select ordinal, user_id, trigger_scan_id, type, trunc(amount)::text as amount, milestone from comps`
  const unclaimed = await sql`select ordinal, user_id, comp_type, because from milestones_unclaimed`
  const won = scans.filter(({ comp_type }) => comp_type !== null)
  return [
    ...problems.slice(0, EXAMPLES_MAX),
    ...differences(
      'comps',
      comps.map((row) =>
        [row.ordinal, row.user_id, row.trigger_scan_id, row.type, row.amount, row.milestone].join(' '),
      ),
      expected.awarded,
    ),
    ...differences(
      'scans that won',
      won.map((row) => [row.ordinal, row.user_id, row.id, row.comp_type, row.amount, row.milestone_hit].join(' ')),
      expected.awarded,
    ),
    ...differences(
      'milestones unclaimed',
      unclaimed.map(({ ordinal, user_id, comp_type, because }) => `${ordinal} ${user_id} ${comp_type} ${because}`),
      expected.unclaimed,
    ),
    ...(await checkTold(sql, campaign)),
  ]
}

/** G1: what a socket was told has happened, and stays so. */
async function checkTold(sql: Sql, campaign: Campaign): Promise<string[]> {
  const scans = await sql`select ordinal, id, user_id from scans`
  const comps = await sql`select id, ordinal, user_id from comps`
  const known = new Set([...scans, ...comps].map(({ ordinal, id, user_id }) => `${ordinal} ${id} ${user_id}`))
  const told = campaign.told.flatMap(({ member, event, data }) => {
    if (event === 'scan:accepted') return `${data.ordinal} ${data.scan_id} ${member.user.id}`
    return event === 'comp:awarded' ? `${data.ordinal} ${data.comp_id} ${member.user.id}` : []
  })
  const untrue = told.filter((line) => !known.has(line))
  const twice = told.length - new Set(told).size
  return [
    ...untrue.slice(0, EXAMPLES_MAX).map((line) => `told on a socket and not so: ${line}`),
    ...(twice === 0 ? [] : [`${twice} events were told twice`]),
  ]
}

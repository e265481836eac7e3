// What a scan-and-win program must do, once more and as plainly as possible: lists, loops and if-chains written from
// the requirements, sharing nothing with the actors but the names in the facts.
import type { MilestoneRule, TierRule } from '../../actors/programs/rules.js'
import type { TierName } from '../../actors/user/facts.js'

export type CompName = 'crypto_100' | 'crypto_1k' | 'crypto_10k' | 'trip' | 'casino'

const USDT = 1_000_000n
const HOUR = 3_600_000

/** Small enough that a few dozen scans meet every milestone: 6 and 8 are multiples of 2, 24 of both, 48 of all. */
export const smallMilestones: readonly MilestoneRule[] = [
  { compType: 'trip', kind: 'trip', every: 16, amount: 0n, minimumTier: 'whale', label: '16th' },
  { compType: 'crypto_10k', kind: 'crypto', every: 8, amount: 10_000n * USDT, minimumTier: 'whale', label: '8th' },
  { compType: 'crypto_1k', kind: 'crypto', every: 6, amount: 1_000n * USDT, minimumTier: 'high_roller', label: '6th' },
  { compType: 'crypto_100', kind: 'crypto', every: 2, amount: 100n * USDT, minimumTier: 'vip', label: '2nd' },
]
export const smallTiers: readonly [TierRule, ...TierRule[]] = [
  { name: 'standard', scans: 0, permanentTins: null, suffix: 'ST' },
  { name: 'vip', scans: 2, permanentTins: 5, suffix: 'VIP' },
  { name: 'high_roller', scans: 4, permanentTins: 20, suffix: 'HR' },
  { name: 'whale', scans: 6, permanentTins: 50, suffix: 'WH' },
]
export const smallUnlocks = [
  { compType: 'crypto_100', tinsPerMonth: 0 },
  { compType: 'crypto_1k', tinsPerMonth: 4 },
  { compType: 'casino', tinsPerMonth: 6 },
  { compType: 'crypto_10k', tinsPerMonth: 8 },
  { compType: 'trip', tinsPerMonth: 12 },
] as const
export const SMALL_SCANS_PER_HOUR = 8

const ranks: readonly TierName[] = ['standard', 'vip', 'high_roller', 'whale']

function quarterAt(at: number): string {
  const [year, month] = new Date(at).toISOString().split('-')
  if (Number(month) <= 3) return `${year}-Q1`
  if (Number(month) <= 6) return `${year}-Q2`
  return Number(month) <= 9 ? `${year}-Q3` : `${year}-Q4`
}

const monthAt = (at: number) => new Date(at).toISOString().slice(0, 7)

/** This month and the two before it. */
function monthsUpTo(at: number): string[] {
  const now = new Date(at)
  return [0, 1, 2].map((back) => monthAt(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - back, 1)))
}

function rankOfCounts(scans: number, tins: number): { earned: number; permanent: number } {
  const earned = scans >= 6 ? 3 : scans >= 4 ? 2 : scans >= 2 ? 1 : 0
  const permanent = tins >= 50 ? 3 : tins >= 20 ? 2 : tins >= 5 ? 1 : 0
  return { earned, permanent }
}

export interface OracleMember {
  readonly userId: string
  readonly referrer: OracleMember | null
  readonly scans: number[]
  tins: number
  override: TierName | null
  suspended: boolean
  session: string | null
  chips: number
  lifetime: bigint
  announced: { tier: TierName; locked: boolean }
}

type Won = { userId: string; compType: string; amount: bigint; ordinal: number; milestone: string; funded: boolean }

export class Oracle {
  readonly members: OracleMember[] = []
  /** Status by code. */
  readonly codes = new Map<string, string>()
  readonly tierChanges: object[] = []
  /** Requested, in this order. */
  readonly payouts: { userId: string; amount: bigint }[] = []
  readonly won: Won[] = []
  readonly unclaimed: object[] = []
  readonly fundedLater: { userId: string; amount: bigint }[] = []
  readonly chipsEarned: string[] = []
  readonly unlocks: string[] = []
  /** Messages that must come, each once. */
  readonly due: string[] = []
  waiting: { userId: string; amount: bigint }[] = []
  available = 0n
  held = 0n
  ordinal = 0
  readonly #sales: { month: string; tins: number }[] = []
  readonly #references = new Set<string>()
  readonly #unlocked = new Set<string>(['crypto_100'])
  readonly #thresholds = new Map<string, number>(smallUnlocks.map((rule) => [rule.compType, rule.tinsPerMonth]))
  readonly #trips: string[] = []

  addMember(userId: string, session: string, referrer: OracleMember | null): void {
    const announced = { tier: 'standard' as const, locked: false }
    const counts = { tins: 0, override: null, suspended: false, chips: 0, lifetime: 0n }
    this.members.push({ userId, session, referrer, scans: [], ...counts, announced })
  }

  standing({ scans, tins, override }: OracleMember, at: number) {
    const count = scans.filter((scan) => quarterAt(scan) === quarterAt(at)).length
    const { earned, permanent } = rankOfCounts(count, tins)
    if (override !== null) return { tier: override, locked: true, count }
    return { tier: ranks[Math.max(earned, permanent)] as TierName, locked: permanent > 0 && permanent >= earned, count }
  }

  /** The code of the refusal, or what the reply must say. */
  scan(member: OracleMember, session: string, code: string, at: number): string | object {
    const barred = member.suspended ? 'account_suspended' : 'session_ended'
    const refused = member.session === session ? this.#refuse(member, code, at) : barred
    if (refused !== null) return refused
    this.codes.set(code, 'scanned')
    member.scans.push(at)
    this.ordinal += 1
    this.#announce(member, at, 'scan')
    const prizes = this.#prizes(member, at)
    if (member.referrer !== null) this.due.push(`user.credit_chip ${member.referrer.userId}`)
    const { tier, count } = this.standing(member, at)
    const next = (['vip', 'high_roller', 'whale'] as const).find(
      (name) => ranks.indexOf(name) > ranks.indexOf(tier) && count < { vip: 2, high_roller: 4, whale: 6 }[name],
    )
    return {
      ordinal: this.ordinal,
      usdt: prizes.reduce((sum, { amount }) => sum + amount, 0n),
      milestone: prizes[0]?.milestone ?? null,
      lifetime: prizes.length === 0 ? null : member.lifetime,
      tier,
      count,
      next: next ?? null,
    }
  }

  #refuse(member: OracleMember, code: string, at: number): string | null {
    if (!/^[A-HJ-NP-Z2-9-]{14}$/.test(code)) return 'code_malformed'
    const recent = member.scans.filter((scan) => scan > at - HOUR)
    if (recent.length >= SMALL_SCANS_PER_HOUR) {
      return `scan_velocity_exceeded ${(recent.at(-SMALL_SCANS_PER_HOUR) ?? 0) + HOUR - at}`
    }
    const status = this.codes.get(code)
    if (status === undefined) return 'code_unknown'
    if (status === 'scanned') return 'code_already_scanned'
    return status === 'manufactured' ? null : 'code_not_active'
  }

  #prizes(member: OracleMember, at: number): Won[] {
    const { tier } = this.standing(member, at)
    const hits = smallMilestones.filter(({ every }) => this.ordinal % every === 0)
    const won: Won[] = []
    for (const kind of ['trip', 'crypto'] as const) {
      const candidates = hits.filter((rule) => rule.kind === kind)
      const winner = candidates.find((rule) => this.#obstacle(rule, tier, at) === null)
      const [highest] = candidates
      if (winner !== undefined) won.push(this.#award(member, winner, at))
      else if (highest !== undefined) {
        const because = this.#obstacle(highest, tier, at)
        this.unclaimed.push({ ordinal: this.ordinal, userId: member.userId, compType: highest.compType, because })
      }
    }
    return won
  }

  #obstacle({ compType, minimumTier }: MilestoneRule, tier: TierName, at: number): string | null {
    if (ranks.indexOf(tier) < ranks.indexOf(minimumTier)) return 'tier_too_low'
    if (!this.#unlocked.has(compType)) return 'locked'
    if (compType !== 'trip') return null
    const perTrip = Math.max(1, this.#thresholds.get('trip') ?? 0)
    const allowed = Math.max(1, Math.floor(this.#average(at) / perTrip))
    return this.#trips.filter((month) => month === monthAt(at)).length >= allowed ? 'monthly_limit' : null
  }

  #award(member: OracleMember, { compType, amount, label }: MilestoneRule, at: number): Won {
    const { userId } = member
    const funded = amount === 0n || (this.waiting.length === 0 && this.available >= amount)
    if (funded) this.#hold(userId, amount)
    else this.waiting.push({ userId, amount })
    if (compType === 'trip') this.#trips.push(monthAt(at))
    member.lifetime += amount
    const won = { userId, compType, amount, ordinal: this.ordinal, milestone: label, funded }
    this.won.push(won)
    this.due.push('chat.announce ')
    return won
  }

  /** What is held is to be paid. */
  #hold(userId: string, amount: bigint): void {
    this.available -= amount
    this.held += amount
    if (amount > 0n) this.due.push(`payout.request ${userId}`)
  }

  fund(amount: bigint, reference: string): void {
    if (this.#references.has(`fund ${reference}`)) return
    this.#references.add(`fund ${reference}`)
    this.available += amount
    this.due.push('treasury.fund_waiting ')
  }

  sell(tins: number, reference: string, buyer: OracleMember | null, at: number): void {
    if (this.#references.has(`sale ${reference}`)) return
    this.#references.add(`sale ${reference}`)
    this.#sales.push({ month: monthAt(at), tins })
    this.#latch(at)
    if (buyer?.referrer) this.due.push(`user.credit_tins ${buyer.referrer.userId}`)
  }

  unlock(compType: string): void {
    if (this.#unlocked.has(compType)) return
    this.#unlocked.add(compType)
    this.unlocks.push(compType)
  }

  setThreshold(compType: string, tinsPerMonth: number, at: number): void {
    this.#thresholds.set(compType, tinsPerMonth)
    this.#latch(at)
  }

  #latch(at: number): void {
    for (const [compType, tins] of this.#thresholds) if (this.#average(at) >= tins) this.unlock(compType)
  }

  #average(at: number): number {
    const months = monthsUpTo(at)
    return this.#sales.reduce((sum, sale) => sum + (months.includes(sale.month) ? sale.tins : 0), 0) / 3
  }

  setTier(member: OracleMember, tier: TierName | null, at: number): void {
    member.override = tier
    this.#announce(member, at, 'admin')
  }

  suspend(member: OracleMember): void {
    this.setSuspended(member, true)
    member.session = null
  }

  setSuspended(member: OracleMember, isSuspended: boolean): void {
    if (member.suspended !== isSuspended) this.due.push(`chat.note_standing ${member.userId}`)
    member.suspended = isSuspended
  }

  /** What uploading these codes counts; `[from]` are the statuses that may become `to`. */
  moveCodes(codes: readonly string[], to: 'manufactured' | 'invalidated' | 'generated') {
    const from = {
      manufactured: 'generated',
      invalidated: 'generated manufactured',
      generated: 'manufactured invalidated',
    }
    const found = { moved: 0, already: 0, unknown: 0, invalid: 0 }
    for (const code of codes) {
      const status = this.codes.get(code)
      if (status === undefined) found.unknown += 1
      else if (status === to || (status === 'scanned' && to === 'manufactured')) found.already += 1
      else if (from[to].split(' ').includes(status)) {
        found.moved += 1
        this.codes.set(code, to)
      } else found.invalid += 1
    }
    return found
  }

  /** A message came; it must have been due. */
  deliver(command: string, args: { userId?: string; tins?: number; amount?: bigint }, at: number): void {
    const expected = this.due.indexOf(`${command} ${args.userId ?? ''}`)
    if (expected < 0) throw new Error(`${command} came unasked`)
    this.due.splice(expected, 1)
    if (command.startsWith('chat.')) return
    const member = this.members.find(({ userId }) => userId === args.userId)
    if (member === undefined) this.#fundWaiting()
    else if (command === 'payout.request') this.payouts.push({ userId: member.userId, amount: args.amount ?? 0n })
    else if (command === 'user.credit_chip') {
      member.chips += 1
      this.chipsEarned.push(member.userId)
    } else {
      const { permanent } = rankOfCounts(0, member.tins)
      member.tins += args.tins ?? Number.NaN
      const hasRisen = rankOfCounts(0, member.tins).permanent > permanent
      if (hasRisen && member.override === null) this.due.push(`chat.note_standing ${member.userId}`)
      this.#announce(member, at, 'referrals')
    }
  }

  /** Oldest first; the first that the pool cannot pay holds up those behind it. */
  #fundWaiting(): void {
    for (let [first] = this.waiting; first && this.available >= first.amount; [first] = this.waiting) {
      this.#hold(first.userId, first.amount)
      this.fundedLater.push(first)
      this.waiting = this.waiting.slice(1)
    }
  }

  /** Only an admin, or the end of a quarter, takes a tier away. */
  #announce(member: OracleMember, at: number, cause: 'scan' | 'referrals' | 'admin'): void {
    const { tier: from, locked: wasLocked } = member.announced
    const { tier: to, locked, count: quarterScans } = this.standing(member, at)
    if (from === to && locked === wasLocked) return
    const because = ranks.indexOf(to) < ranks.indexOf(from) && cause !== 'admin' ? 'quarter_end' : cause
    member.announced = { tier: to, locked }
    this.due.push(`chat.note_standing ${member.userId}`)
    if (ranks.indexOf(to) > ranks.indexOf(from)) this.due.push('chat.announce ')
    this.tierChanges.push({ userId: member.userId, from, to, because, locked, quarter: quarterAt(at), quarterScans })
  }
}

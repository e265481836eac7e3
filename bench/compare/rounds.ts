/** Rounds of measurements, one contender after the other, so that a busy minute of the machine meets all of them. */
import type { Principal } from '../../gateway/http/toolkit/principal.js'
import type { NamedPids } from '../load/processes.js'
import type { Mint } from '../scan/stock.js'
import type { Contender, ContenderName } from './contenders.js'
import { acquaint, measureRun, type RunFigures } from './run.js'
import { formatFigure } from './statistics.js'
import { SCANS_PER_MEMBER_MAX, type Supply, SupplyExhaustedError, scannersOf } from './supply.js'

/** Codes and members for rates above what the calibration saw. */
export const HEADROOM = 1.5
const MEMBERS_MIN = 500
const WARM_UP_MS = 500

export interface Measurement {
  readonly connections: number
  readonly durationMs: number
  /** Null for as many as are answered. */
  readonly ratePerSecond: (name: ContenderName) => number | null
  readonly among: readonly ContenderName[]
  readonly rounds: number
}

export type Results = Readonly<Partial<Record<ContenderName, readonly RunFigures[]>>>

export class Field {
  readonly #members: readonly Principal[]
  #nextMember = 0

  constructor(
    readonly contenders: ReadonlyMap<ContenderName, Contender>,
    private readonly supplies: ReadonlyMap<ContenderName, Supply>,
    /** Scans a second of each that a short run saw. */
    readonly rates: Readonly<Record<ContenderName, number>>,
    private readonly mint: Mint,
    members: readonly Principal[],
  ) {
    this.#members = members
  }

  /** Scans that a contender has been sent so far. */
  scanned(name: ContenderName): number {
    return this.supplies.get(name)?.scanned ?? 0
  }

  async measure(what: string, { rounds, among, ...run }: Measurement): Promise<Results> {
    const results: Partial<Record<ContenderName, RunFigures[]>> = {}
    for (let round = 1; round <= rounds; round++) {
      const needs = new Map(among.map((name) => [name, this.#membersNeeded(name, run)]))
      const scanners = scannersOf(await this.#newTokens(Math.max(...needs.values())))
      for (const name of rotated(among, round)) {
        const [contender, supply] = [this.contenders.get(name), this.supplies.get(name)]
        if (contender === undefined || supply === undefined) continue
        const next = supply.requests(scanners.slice(0, needs.get(name)))
        if (name !== 'ceiling') await acquaint(contender, next, needs.get(name) ?? 0)
        const { connections, durationMs } = run
        const load = { connections, durationMs, warmupMs: WARM_UP_MS, ratePerSecond: run.ratePerSecond(name) }
        const bystanders = this.#bystandersOf(name)
        const figures = await measureRun(contender, { next, bystanders, ...load })
        supply.assertLasted()
        results[name] = [...(results[name] ?? []), figures]
        tell(`${what}, round ${round} of ${rounds}, ${name}`, figures)
      }
    }
    return results
  }

  /** Each may scan only so often; the first scan of each is not measured. */
  #membersNeeded(name: ContenderName, { durationMs, ratePerSecond }: Omit<Measurement, 'rounds' | 'among'>): number {
    if (name === 'ceiling') return MEMBERS_MIN
    const rate = ratePerSecond(name) ?? this.rates[name] * HEADROOM
    const scans = (rate * (durationMs + WARM_UP_MS)) / 1_000
    return Math.max(MEMBERS_MIN, Math.ceil(scans / (SCANS_PER_MEMBER_MAX - 1)) + 1)
  }

  #bystandersOf(active: ContenderName): NamedPids {
    const others = [...this.contenders.values()].filter(({ name }) => name !== active)
    return Object.fromEntries(
      others.flatMap(({ name, pids }) => Object.entries(pids).map(([of, pid]) => [`idle ${name} ${of}`, pid])),
    )
  }

  /** Members nobody has seen yet: in the same hour they could not scan as much again. */
  #newTokens(count: number): Promise<string[]> {
    const first = this.#nextMember
    this.#nextMember += count
    if (this.#nextMember > this.#members.length) throw new SupplyExhaustedError('all members have scanned')
    return this.mint.tokens(this.#members.slice(first, this.#nextMember))
  }
}

/** Another one begins each round. */
export function rotated<Item>(items: readonly Item[], by: number): Item[] {
  const at = by % Math.max(1, items.length)
  return [...items.slice(at), ...items.slice(0, at)]
}

function tell(what: string, { perSecond, p50Ms, p99Ms, drainSeconds, failed }: RunFigures): void {
  const figures = [`${formatFigure(perSecond)}/s`, `p50 ${formatFigure(p50Ms)} ms`, `p99 ${formatFigure(p99Ms)} ms`]
  if (drainSeconds > 0) figures.push(`drained after ${formatFigure(drainSeconds)} s`)
  if (failed > 0) figures.push(`${failed} NOT ANSWERED`)
  process.stderr.write(`${what}: ${figures.join(', ')}\n`)
}

/**
 * Comps awarded while their pool or their campaign was short, in the order they were won: first funds in, first comp
 * funded.
 */
import type { Table } from '../../engine/table.js'

export interface UnfundedComp {
  readonly compId: string
  readonly userId: string
  /** Micro-USDT. */
  readonly amount: bigint
  /** The campaign that owes it; absent when the pool does. */
  readonly campaign?: string
}

export type UnfundedDelta =
  | ({ readonly op: 'waits' } & UnfundedComp)
  | { readonly op: 'funded'; readonly compId: string }

/** Comps that wait for the same money. */
interface Line {
  readonly comps: Map<string, UnfundedComp>
  amount: bigint
}

const BYTES_PER_ENTRY = 250

export class UnfundedComps implements Table<UnfundedDelta> {
  readonly name = 'unfunded-comps'
  readonly #ofPool: Line = { comps: new Map(), amount: 0n }
  readonly #ofCampaigns = new Map<string, Line>()
  readonly #lineOf = new Map<string, Line>()

  get size(): number {
    return this.#lineOf.size
  }

  get bytes(): number {
    return this.#lineOf.size * BYTES_PER_ENTRY
  }

  /** Longest waiting first: for a campaign, or for the pool. */
  waiting(campaign?: string): Iterable<UnfundedComp> {
    return this.#line(campaign)?.comps.values() ?? []
  }

  total(campaign?: string): { readonly count: number; readonly amount: bigint } {
    const line = this.#line(campaign)
    return { count: line?.comps.size ?? 0, amount: line?.amount ?? 0n }
  }

  apply(delta: UnfundedDelta): void {
    if (delta.op === 'funded') {
      this.#remove(delta.compId)
      return
    }
    const { op: _, ...comp } = delta
    this.#remove(comp.compId)
    const line = this.#line(comp.campaign) ?? { comps: new Map(), amount: 0n }
    if (comp.campaign !== undefined) this.#ofCampaigns.set(comp.campaign, line)
    line.comps.set(comp.compId, comp)
    line.amount += comp.amount
    this.#lineOf.set(comp.compId, line)
  }

  #remove(compId: string): void {
    const line = this.#lineOf.get(compId)
    const comp = line?.comps.get(compId)
    if (line === undefined || comp === undefined) return
    line.comps.delete(compId)
    line.amount -= comp.amount
    this.#lineOf.delete(compId)
    if (comp.campaign !== undefined && line.comps.size === 0) this.#ofCampaigns.delete(comp.campaign)
  }

  #line(campaign: string | undefined): Line | undefined {
    return campaign === undefined ? this.#ofPool : this.#ofCampaigns.get(campaign)
  }
}

/** Payouts that are not over, by wallet and state, oldest first: what the pipeline works on and operators look at. */
import type { Table } from '../../engine/table.js'

export const openStates = ['waiting', 'review', 'queued', 'in_flight'] as const
export type OpenState = (typeof openStates)[number]

export interface OpenPayout {
  readonly payoutId: string
  readonly wallet: string
  readonly state: OpenState
  /** Key of who is paid. */
  readonly payee: string
  /** Minor units. */
  readonly amount: bigint
}

export type OpenPayoutDelta = ({ readonly op: 'is' } & OpenPayout) | { readonly op: 'over'; readonly payoutId: string }

/** Payouts of one wallet in one state. */
interface Line {
  readonly payouts: Map<string, OpenPayout>
  amount: bigint
}

const BYTES_PER_ENTRY = 300

export class OpenPayouts implements Table<OpenPayoutDelta> {
  readonly name = 'open-payouts'
  readonly #lineOf = new Map<string, Line>()
  readonly #lines = new Map<string, Line>()
  /** Waiting for an address, by payee. */
  readonly #waiting = new Map<string, Set<string>>()

  get size(): number {
    return this.#lineOf.size
  }

  get bytes(): number {
    return this.#lineOf.size * BYTES_PER_ENTRY
  }

  /** Longest in this state first. */
  in(wallet: string, state: OpenState): IterableIterator<OpenPayout> {
    return this.#line(wallet, state).payouts.values()
  }

  total(wallet: string, state: OpenState): { readonly count: number; readonly amount: bigint } {
    const { payouts, amount } = this.#line(wallet, state)
    return { count: payouts.size, amount }
  }

  /** Payouts that wait for the address of a payee, oldest first, at most so many. */
  waitingFor(payee: string, max: number): string[] {
    return [...(this.#waiting.get(payee) ?? [])].slice(0, max)
  }

  apply(delta: OpenPayoutDelta): void {
    const { payoutId } = delta
    const before = this.#lineOf.get(payoutId)
    const old = before?.payouts.get(payoutId)
    if (before !== undefined && old !== undefined) {
      before.amount -= old.amount
      before.payouts.delete(payoutId)
      this.#lineOf.delete(payoutId)
      if (old.state === 'waiting') this.#noLongerWaits(old)
    }
    if (delta.op === 'over') return
    const { wallet, state, payee, amount } = delta
    const line = this.#line(wallet, state)
    line.payouts.set(payoutId, { payoutId, wallet, state, payee, amount })
    line.amount += amount
    this.#lineOf.set(payoutId, line)
    if (state !== 'waiting') return
    const waiting = this.#waiting.get(payee) ?? new Set()
    this.#waiting.set(payee, waiting.add(payoutId))
  }

  #noLongerWaits({ payee, payoutId }: OpenPayout): void {
    const waiting = this.#waiting.get(payee)
    waiting?.delete(payoutId)
    if (waiting?.size === 0) this.#waiting.delete(payee)
  }

  #line(wallet: string, state: OpenState): Line {
    const name = `${state}/${wallet}`
    let line = this.#lines.get(name)
    if (line === undefined) {
      line = { payouts: new Map(), amount: 0n }
      this.#lines.set(name, line)
    }
    return line
  }
}

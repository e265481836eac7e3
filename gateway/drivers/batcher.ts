/**
 * Requests that arrive together go out as one call.
 *
 * K1 Whoever asks gets the answer to what they asked, or an error; nobody waits for ever, unless the call does.
 * K2 A call carries one group, is no larger than its limits, and a failed one fails only those in it.
 * K3 Calls under way and requests waiting have limits; past them requests are refused at once (B1). Groups are served
 *    in the order they became due, and one with more than fits a call goes to the back.
 */
import { assert } from '../../engine/assert.js'
import { DomainError } from '../../engine/errors.js'
import { notRunning } from '../../engine/outcome.js'
import type { Environment } from '../../engine/store.js'

const BUSY_RETRY_AFTER_MS = 2_000

export interface BatcherLimits {
  /** How long the first of a batch waits for others. */
  readonly windowMs: number
  readonly batchItemsMax: number
  /** In the units of `weightOf`. An item heavier than this goes alone. */
  readonly batchWeightMax: number
  readonly callsInFlightMax: number
  /** Requests that may wait for a call; those in flight are not among them. */
  readonly waitingMax: number
}

export interface BatcherOptions<Item, Result> {
  /** Begins the code of its refusals: `<name>_busy`. */
  readonly name: string
  readonly environment: Pick<Environment, 'now' | 'wakeAt'>
  readonly limits: BatcherLimits
  /** Items of different groups never share a call. */
  readonly groupOf: (item: Item) => string
  readonly weightOf: (item: Item) => number
  /** Resolves with one result for each item, in order. */
  readonly call: (items: readonly Item[]) => Promise<readonly Result[]>
}

interface Waiting<Item, Result> {
  readonly item: Item
  readonly weight: number
  readonly resolve: (result: Result) => void
  readonly reject: (error: unknown) => void
}

interface Group<Item, Result> {
  readonly key: string
  readonly waiting: Waiting<Item, Result>[]
  weight: number
  cancelWindow: () => void
}

/** Too much of something is asked for at a time. */
export function busy(name: string): DomainError {
  const retryAfterMs = BUSY_RETRY_AFTER_MS
  return new DomainError('unavailable', `${name}_busy`, `Too much ${name} is asked for.`, { retryAfterMs })
}

export class Batcher<Item, Result> {
  readonly #options: BatcherOptions<Item, Result>
  /** Every group here has someone waiting. */
  readonly #groups = new Map<string, Group<Item, Result>>()
  /** Those to be sent, first come first. */
  readonly #due = new Set<Group<Item, Result>>()
  #waiting = 0
  #callsInFlight = 0
  #calls = 0
  #failedCalls = 0
  #isStopped = false

  constructor(options: BatcherOptions<Item, Result>) {
    this.#options = options
  }

  /** Rejects with `<name>_busy` when too many wait, `not_running` after a stop, else as its call does. */
  add(item: Item): Promise<Result> {
    const { name, limits, groupOf, weightOf } = this.#options
    if (this.#isStopped) return Promise.reject(notRunning())
    if (this.#waiting >= limits.waitingMax) return Promise.reject(busy(name)) // K3
    return new Promise((resolve, reject) => {
      const group = this.#groups.get(groupOf(item)) ?? this.#open(groupOf(item))
      const weight = weightOf(item)
      group.waiting.push({ item, weight, resolve, reject })
      group.weight += weight
      this.#waiting += 1
      if (this.#isFull(group)) this.#send(group)
    })
  }

  /** Refuses what waits and all that comes later; calls under way end by themselves. */
  stop(): void {
    this.#isStopped = true
    for (const group of this.#groups.values()) {
      group.cancelWindow()
      for (const { reject } of group.waiting) reject(notRunning()) // K1
    }
    this.#groups.clear()
    this.#due.clear()
    this.#waiting = 0
  }

  gauges(): Record<string, number> {
    const { waitingMax, callsInFlightMax } = this.#options.limits
    return {
      waiting: this.#waiting,
      waiting_max: waitingMax,
      calls_in_flight: this.#callsInFlight,
      calls_in_flight_max: callsInFlightMax,
      calls: this.#calls,
      failed_calls: this.#failedCalls,
    }
  }

  #open(key: string): Group<Item, Result> {
    const group: Group<Item, Result> = { key, waiting: [], weight: 0, cancelWindow: () => {} }
    this.#groups.set(key, group)
    this.#openWindow(group)
    return group
  }

  #openWindow(group: Group<Item, Result>): void {
    const { environment, limits } = this.#options
    group.cancelWindow = environment.wakeAt(environment.now() + limits.windowMs, () => this.#send(group))
  }

  #isFull({ waiting, weight }: Group<Item, Result>): boolean {
    const { batchItemsMax, batchWeightMax } = this.#options.limits
    return waiting.length >= batchItemsMax || weight >= batchWeightMax
  }

  #send(group: Group<Item, Result>): void {
    group.cancelWindow()
    this.#due.add(group)
    this.#pump()
  }

  #pump(): void {
    for (const group of this.#due) {
      if (this.#callsInFlight >= this.#options.limits.callsInFlightMax) return // K3
      const batch = this.#take(group)
      this.#due.delete(group)
      // At the back, and the loop comes to it again; what would make a small call waits for company.
      if (this.#isFull(group)) this.#due.add(group)
      else if (group.waiting.length > 0) this.#openWindow(group)
      else this.#groups.delete(group.key)
      void this.#call(batch)
    }
  }

  /** As much as one call may carry. */
  #take(group: Group<Item, Result>): readonly Waiting<Item, Result>[] {
    const { batchItemsMax, batchWeightMax } = this.#options.limits
    let count = 0
    let weight = 0
    for (const next of group.waiting) {
      if (count > 0 && (count >= batchItemsMax || weight + next.weight > batchWeightMax)) break // K2
      count += 1
      weight += next.weight
    }
    group.weight -= weight
    this.#waiting -= count
    return group.waiting.splice(0, count)
  }

  async #call(batch: readonly Waiting<Item, Result>[]): Promise<void> {
    this.#callsInFlight += 1
    this.#calls += 1
    try {
      const results = await this.#options.call(batch.map(({ item }) => item))
      assert(results.length === batch.length, 'a call answers each of its items')
      results.forEach((result, index) => {
        batch[index]?.resolve(result)
      })
    } catch (error) {
      this.#failedCalls += 1
      for (const { reject } of batch) reject(error) // K2
    } finally {
      this.#callsInFlight -= 1
      this.#pump()
    }
  }
}

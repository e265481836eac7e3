/** What subscribers of one room got, together: how often each message came, and how long after it was said. */

const STEP_MS = 0.1
const STEPS = 100_000
const FIELD = '"text":"'

/** Counts of times in steps of 0.1 ms; what takes longer than ten seconds counts as that. */
export class Times {
  readonly #counts: Uint32Array

  constructor(counts: Iterable<number> = []) {
    this.#counts = new Uint32Array(STEPS)
    this.#counts.set([...counts])
  }

  record(ms: number): void {
    const step = Math.min(STEPS - 1, Math.max(0, Math.floor(ms / STEP_MS)))
    this.#counts[step] = (this.#counts[step] ?? 0) + 1
  }

  add(other: Times): void {
    for (const [step, count] of other.#counts.entries()) this.#counts[step] = (this.#counts[step] ?? 0) + count
  }

  /** Milliseconds that `percentile` (0–100) of the times do not exceed; NaN when there are none. */
  at(percentile: number): number {
    const total = this.#counts.reduce((sum, count) => sum + count, 0)
    let left = (total * percentile) / 100
    for (const [step, count] of this.#counts.entries()) {
      left -= count
      if (count > 0 && left <= 0) return (step + 1) * STEP_MS
    }
    return Number.NaN
  }

  /** For another process. */
  toJSON(): number[] {
    return [...this.#counts.subarray(0, this.#counts.findLastIndex((count) => count > 0) + 1)]
  }
}

/** When a message was due to be sent, and when the server took it in, in milliseconds since 1970. */
export interface Stamps {
  readonly dueMs: number
  readonly takenMs: number
}

/** What a bench message says: enough to tell it from the others, and when it was due. About as long as people write. */
export function benchText(ordinal: number, dueMs: number): string {
  return `Message ${ordinal}, due ${dueMs.toFixed(3)}: see you all at the next draw`
}

/** Reads the stamps of a `message:new` with a bench text. */
export function stampsOf(bytes: Buffer, start: number, end: number): Stamps {
  const at = bytes.indexOf(FIELD, start, 'latin1') + FIELD.length
  const [, due] = /, due ([\d.]+):/.exec(bytes.toString('latin1', at, Math.min(end, at + 60))) ?? []
  const [, taken] = /"created_at":"([^"]+)"/.exec(bytes.toString('latin1', start, end)) ?? []
  if (due === undefined || taken === undefined)
    throw new Error(`no bench message: ${bytes.toString('latin1', start, end)}`)
  return { dueMs: Number(due), takenMs: Date.parse(taken) }
}

export class Arrivals {
  /** Of all messages, however they came. */
  deliveries = 0
  bytes = 0
  fromDue = new Times()
  fromTaken = new Times()
  readonly #counts = new Map<number, number>()
  readonly #stamps = new Map<number, Stamps>()

  /** `onComplete` is told the offset that all of the audience have got. */
  constructor(readonly onComplete: (offset: number) => void) {}

  /** How many are to get each message. */
  audience = 0

  /** Forgets times; the counts go on. */
  restart(): void {
    this.deliveries = 0
    this.bytes = 0
    this.fromDue = new Times()
    this.fromTaken = new Times()
  }

  /** A subscriber got a message as it was said. */
  live(offset: number, nowMs: number, bytes: Buffer, start: number, end: number): void {
    let stamps = this.#stamps.get(offset)
    if (stamps === undefined) {
      stamps = stampsOf(bytes, start, end)
      this.#stamps.set(offset, stamps)
    }
    this.bytes += end - start
    this.fromDue.record(nowMs - stamps.dueMs)
    this.fromTaken.record(nowMs - stamps.takenMs)
    this.count(offset)
  }

  /** A subscriber has a message now, or will not get it any more. */
  count(offset: number): void {
    this.deliveries += 1
    const count = (this.#counts.get(offset) ?? 0) + 1
    this.#counts.set(offset, count)
    if (count !== this.audience) return
    this.#counts.delete(offset)
    this.#stamps.delete(offset)
    this.onComplete(offset)
  }

  /** Messages that some of the audience have not got. */
  get incomplete(): number {
    return this.#counts.size
  }
}

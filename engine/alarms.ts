/**
 * Durable absolute deadlines. An alarm is set and cleared by turns, journaled with them, and fires as an input; the
 * turn that consumes it names it, so it is neither lost nor fired twice.
 */
import type { ActorId } from './actor.js'
import type { Alarm, AlarmChange } from './record.js'

const STALE_ENTRIES_MAX = 1024

/** Names an alarm and its deadline, as the record of the turn that consumes it does. */
export function alarmId(alarm: { actor: ActorId; name: string; at: number }): string {
  return `${alarm.actor}#${alarm.name}@${alarm.at}`
}

export class Alarms {
  readonly #pending = new Map<string, Alarm>()
  /** Binary heap by deadline; entries overtaken by a later change are skipped when they surface. */
  readonly #heap: Alarm[] = []

  get size(): number {
    return this.#pending.size
  }

  change(change: AlarmChange): void {
    const key = `${change.actor}#${change.name}`
    if (change.at === null) {
      this.#pending.delete(key)
      return
    }
    this.#pending.set(key, change)
    this.#push(change)
    this.#dropStale()
  }

  /** Forgets an alarm that a turn consumed. */
  consume(id: string): void {
    if (this.isPending(id)) this.#pending.delete(id.slice(0, id.lastIndexOf('@')))
  }

  /** Whether this very setting of the alarm still waits for its turn. */
  isPending(id: string): boolean {
    return this.deadlineOf(id) !== undefined
  }

  /** When this very setting of the alarm is due; undefined when it does not wait for its turn any more. */
  deadlineOf(id: string): number | undefined {
    const alarm = this.#pending.get(id.slice(0, id.lastIndexOf('@')))
    return alarm !== undefined && alarmId(alarm) === id ? alarm.at : undefined
  }

  /** The next deadline, or undefined. */
  nextAt(): number | undefined {
    for (let top = this.#heap[0]; top !== undefined; top = this.#heap[0]) {
      if (this.#isLatest(top)) return top.at
      this.#pop()
    }
    return undefined
  }

  /** Takes every alarm due at `now` off the heap, earliest first. They stay pending until consumed. */
  takeDue(now: number): Alarm[] {
    const due: Alarm[] = []
    for (let at = this.nextAt(); at !== undefined && at <= now; at = this.nextAt()) {
      const alarm = this.#pop()
      if (alarm !== undefined) due.push(alarm)
    }
    return due
  }

  /** Whether this is how the alarm was set last; an earlier setting is void even if it had the same deadline. */
  #isLatest(alarm: Alarm): boolean {
    return this.#pending.get(`${alarm.actor}#${alarm.name}`) === alarm
  }

  /** An alarm that is put off again and again leaves an entry each time (B1). */
  #dropStale(): void {
    if (this.#heap.length <= 2 * this.#pending.size + STALE_ENTRIES_MAX) return
    const latest = this.#heap.filter((alarm) => this.#isLatest(alarm))
    this.#heap.length = 0
    for (const alarm of latest) this.#push(alarm)
  }

  #push(alarm: Alarm): void {
    const heap = this.#heap
    let child = heap.push(alarm) - 1
    while (child > 0) {
      const parent = (child - 1) >> 1
      if (!isEarlier(heap[child], heap[parent])) return
      swap(heap, child, parent)
      child = parent
    }
  }

  #pop(): Alarm | undefined {
    const heap = this.#heap
    const top = heap[0]
    const last = heap.pop()
    if (heap.length === 0 || last === undefined) return top
    heap[0] = last
    for (let parent = 0; ; ) {
      const left = parent * 2 + 1
      const earlier = isEarlier(heap[left + 1], heap[left]) ? left + 1 : left
      if (!isEarlier(heap[earlier], heap[parent])) return top
      swap(heap, parent, earlier)
      parent = earlier
    }
  }
}

/** Ties are broken by actor and name, so that equal deadlines fire in one defined order (T5). */
function isEarlier(a: Alarm | undefined, b: Alarm | undefined): boolean {
  if (a === undefined || b === undefined) return false
  return a.at !== b.at ? a.at < b.at : alarmId(a) < alarmId(b)
}

function swap(heap: Alarm[], a: number, b: number): void {
  const held = heap[a] as Alarm
  heap[a] = heap[b] as Alarm
  heap[b] = held
}

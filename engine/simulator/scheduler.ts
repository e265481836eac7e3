/**
 * Simulated time. Whatever takes time is an event; events run one by one, each to the end of all it set in motion, so
 * a run depends on nothing but its seed. A process that dies takes its events with it: its code stops at whatever it
 * awaited.
 */
import { assert } from '../assert.js'

/** What events belong to. */
export class Life {
  isAlive = true

  constructor(readonly name: string) {}
}

/** Resolves when nothing more happens by itself: promises settle before the event loop turns. */
const quiet = () => new Promise(setImmediate)

interface Event {
  readonly at: number
  readonly order: number
  readonly life: Life
  run: (() => void) | undefined
}

export class Scheduler {
  /** Microseconds since the start of the run. */
  now = 0
  /** Events run so far. */
  steps = 0
  readonly #heap: Event[] = []
  #order = 0

  /** Runs `run` after so many microseconds unless `life` ends before; returns a function that cancels. */
  after(micros: number, life: Life, run: () => void): () => void {
    const event: Event = { at: this.now + Math.max(0, Math.ceil(micros)), order: this.#order++, life, run }
    this.#push(event)
    return () => {
      event.run = undefined
    }
  }

  /** Resolves after so many microseconds with what `act` returns then, or rejects with what it throws. */
  act<Result>(micros: number, life: Life, act: () => Result): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.after(micros, life, () => {
        try {
          resolve(act())
        } catch (error) {
          reject(error)
        }
      })
    })
  }

  /** Runs the next event and all that follows from it at once. False when there is none. */
  async step(): Promise<boolean> {
    // What was set in motion before may yet ask for something.
    if (this.#heap.length === 0) await quiet()
    for (let event = this.#pop(); event !== undefined; event = this.#pop()) {
      const { run } = event
      if (run === undefined || !event.life.isAlive) continue
      assert(event.at >= this.now, 'simulated time went back')
      this.now = event.at
      this.steps += 1
      run()
      await quiet()
      return true
    }
    return false
  }

  #push(event: Event): void {
    const heap = this.#heap
    let child = heap.push(event) - 1
    while (child > 0) {
      const parent = (child - 1) >> 1
      if (!isBefore(event, heap[parent] as Event)) break
      heap[child] = heap[parent] as Event
      child = parent
    }
    heap[child] = event
  }

  #pop(): Event | undefined {
    const heap = this.#heap
    const top = heap[0]
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return top
    let parent = 0
    for (;;) {
      let child = parent * 2 + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isBefore(heap[child + 1] as Event, heap[child] as Event)) child += 1
      if (!isBefore(heap[child] as Event, last)) break
      heap[parent] = heap[child] as Event
      parent = child
    }
    heap[parent] = last
    return top
  }
}

const isBefore = (a: Event, b: Event) => (a.at !== b.at ? a.at < b.at : a.order < b.order)

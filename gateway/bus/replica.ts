/**
 * A copy of something that the engine keeps: asked for once, then changed as the engine tells.
 *
 * X1 What is told while it is asked for is held back and taken in after it, as far as the copy does not have it already.
 *    B1 What is held back is bounded: past that it is asked for anew, since a later copy has it.
 */
const HELD_BACK_MAX = 5_000

export interface ReplicaOptions<State, Change> {
  readonly load: () => Promise<State>
  /** Takes in a change; returns false if the state had it already. */
  readonly take: (state: State, change: Change) => boolean
}

export class Replica<State, Change> {
  /** Rejects when the engine could not be asked. */
  readonly loading: Promise<State>
  readonly #options: ReplicaOptions<State, Change>
  #state: State | undefined
  #heldBack: Change[] = []
  #isOutdated = false

  constructor(options: ReplicaOptions<State, Change>) {
    this.#options = options
    this.loading = this.#load()
  }

  /** Undefined until it is loaded. */
  get state(): State | undefined {
    return this.#state
  }

  /** Returns whether it is news to whoever saw the state. */
  take(change: Change): boolean {
    if (this.#state !== undefined) return this.#options.take(this.#state, change)
    this.#heldBack.push(change)
    if (this.#heldBack.length > HELD_BACK_MAX) {
      this.#heldBack = []
      this.#isOutdated = true
    }
    return false
  }

  async #load(): Promise<State> {
    for (;;) {
      this.#isOutdated = false
      this.#heldBack = []
      const state = await this.#options.load()
      if (this.#isOutdated) continue
      for (const change of this.#heldBack) this.#options.take(state, change)
      this.#heldBack = []
      this.#state = state
      return state
    }
  }
}

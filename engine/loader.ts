/** Brings cached actors into memory. Everything asked for within one tick shares one read of the store. */
import type { ActorId, ActorRef } from './actor.js'
import type { Residents } from './residents.js'
import type { Store } from './store.js'

const none: readonly ActorRef[] = []

export class Loader {
  readonly #underWay = new Map<ActorId, Promise<void>>()
  #waiting = 0
  #onIdle = () => {}
  #next: ActorId[] = []
  #batch: Promise<void> | undefined

  constructor(
    readonly store: Store,
    readonly residents: Residents,
    /** The record the loaded images are at least as new as. */
    readonly appliedSeq: () => number,
  ) {}

  /** The named actors that a turn needs and memory lacks. */
  missing(refs: readonly ActorRef[]): readonly ActorRef[] {
    let missing: ActorRef[] | undefined
    for (const ref of refs) {
      if (ref.of.residency === 'pinned' || ref.isNew || this.residents.has(ref.id, 'cached')) continue
      if (missing === undefined) missing = [ref]
      else missing.push(ref)
    }
    return missing ?? none
  }

  /** Inputs and reads that wait for actors or for an outcome. */
  get waiting(): number {
    return this.#waiting
  }

  /** Counts one more that waits, and keeps its actors in memory, until the returned function is called. */
  begin(refs: readonly ActorRef[]): () => void {
    this.#waiting += 1
    const letGo = this.residents.hold(refs.map(({ id }) => id))
    return () => {
      letGo()
      this.#waiting -= 1
      if (this.#waiting === 0) this.#onIdle()
    }
  }

  /** Resolves once nothing waits. */
  idle(): Promise<void> {
    return new Promise((resolve) => {
      this.#onIdle = resolve
      if (this.#waiting === 0) resolve()
    })
  }

  /** Resolves once every named actor that exists is in memory; rejects when the store does not answer. */
  async load(refs: readonly ActorRef[]): Promise<void> {
    await Promise.all(this.missing(refs).map((ref) => this.#underWay.get(ref.id) ?? this.#enqueue(ref.id)))
  }

  #enqueue(id: ActorId): Promise<void> {
    this.#next.push(id)
    this.#batch ??= Promise.resolve().then(() => this.#fetch())
    this.#underWay.set(id, this.#batch)
    return this.#batch
  }

  async #fetch(): Promise<void> {
    const ids = this.#next
    this.#next = []
    this.#batch = undefined
    try {
      const seq = this.appliedSeq()
      const images = await this.store.loadImages(ids)
      for (const [id, image] of images) {
        // A turn may have made the actor meanwhile; what is in memory is always the newest.
        if (!this.residents.has(id, 'cached')) this.residents.load(id, image, seq)
      }
    } finally {
      for (const id of ids) this.#underWay.delete(id)
    }
  }
}

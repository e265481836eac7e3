/**
 * The actors in memory. Pinned ones stay; cached ones live in an LRU bounded by `cachedActorsMax` (B1).
 *
 * An evicted actor whose latest image is not yet in Postgres is set aside until it is, so that a later load never
 * reads a state older than the last turn. So is one that an input still loading others waits with, or its turn would
 * find that the actor does not exist.
 */
import { LRUCache } from 'lru-cache'
import type { ActorId, ActorState, ActorType } from './actor.js'
import { assert } from './assert.js'
import type { PackedBytes } from './packed-values.js'
import { unpackImage } from './record.js'

/** Room for the next image of an actor: most grow a little with each. */
const IMAGE_GROWTH_BYTES = 64

/** An actor in memory. One that was restored stays packed until somebody asks for its state: most never are. */
export class Resident {
  #state: ActorState | undefined
  /** Its image, in the first bytes of a buffer that later images are copied to if they fit. */
  #image: Buffer | undefined
  #imageBytes = 0

  /** `seq` is the record that holds its latest image. */
  constructor(public seq: number) {}

  get state(): ActorState {
    if (this.#state !== undefined) return this.#state
    assert(this.#image !== undefined, 'an actor in memory has a state')
    const state = unpackImage(this.#image.subarray(0, this.#imageBytes))
    this.state = state
    return state
  }

  set state(state: ActorState) {
    this.#state = state
    this.#image = undefined
  }

  restore({ bytes, start, end }: PackedBytes): void {
    const length = end - start
    if (this.#image === undefined || this.#image.length < length) {
      this.#image = Buffer.allocUnsafe(length + IMAGE_GROWTH_BYTES)
    }
    bytes.copy(this.#image, 0, start, end)
    this.#imageBytes = length
    this.#state = undefined
  }
}

export class Residents {
  readonly #pinned = new Map<ActorId, Resident>()
  readonly #cached: LRUCache<ActorId, Resident>
  readonly #setAside = new Map<ActorId, Resident>()
  /** Cached actors during recovery, which cares only for the last image of each: an LRU costs several times more. */
  readonly #restored = new Map<ActorId, Resident>()
  /** How many inputs being loaded name the actor. */
  readonly #held = new Map<ActorId, number>()
  #appliedSeq = 0

  constructor(readonly cachedActorsMax: number) {
    this.#cached = new LRUCache<ActorId, Resident>({
      max: cachedActorsMax,
      dispose: (resident, id, reason) => {
        if (reason === 'evict' && this.#isNeeded(id, resident)) this.#setAside.set(id, resident)
      },
    })
  }

  get(id: ActorId, residency: ActorType['residency']): Resident | undefined {
    if (residency === 'pinned') return this.#pinned.get(id)
    // Never moved back into the cache here: that would evict another, perhaps one of the same turn.
    return this.#cached.get(id) ?? this.#setAside.get(id)
  }

  set(id: ActorId, residency: ActorType['residency'], state: ActorState, seq: number): void {
    let resident = this.get(id, residency)
    if (resident === undefined) {
      resident = new Resident(seq)
      if (residency === 'pinned') this.#pinned.set(id, resident)
      else this.#cached.set(id, resident)
    }
    resident.seq = seq
    resident.state = state
    if (this.#setAside.delete(id)) this.#cached.set(id, resident)
  }

  /** At recovery: the same with an image, of which it takes a copy. It can be read after `recovered`. */
  restore(id: ActorId, residency: ActorType['residency'], image: PackedBytes, seq: number): void {
    const actors = residency === 'pinned' ? this.#pinned : this.#restored
    let resident = actors.get(id)
    if (resident === undefined) {
      resident = new Resident(seq)
      actors.set(id, resident)
    }
    resident.seq = seq
    resident.restore(image)
  }

  /** Puts what was restored into the cache, the last changed on top. */
  recovered(): void {
    const actors = [...this.#restored].sort(([, a], [, b]) => a.seq - b.seq)
    this.#restored.clear()
    for (const [id, resident] of actors) this.#cached.set(id, resident)
  }

  /** Keeps these actors in memory, once they are there, until the returned function is called. */
  hold(ids: readonly ActorId[]): () => void {
    for (const id of ids) this.#held.set(id, (this.#held.get(id) ?? 0) + 1)
    return () => {
      for (const id of ids) this.#letGo(id)
    }
  }

  /** Postgres holds every image up to `seq`. */
  applied(seq: number): void {
    this.#appliedSeq = seq
    for (const [id, resident] of this.#setAside) {
      if (!this.#isNeeded(id, resident)) this.#setAside.delete(id)
    }
  }

  #isNeeded(id: ActorId, resident: Resident): boolean {
    return resident.seq > this.#appliedSeq || this.#held.has(id)
  }

  #letGo(id: ActorId): void {
    const others = (this.#held.get(id) ?? 0) - 1
    if (others > 0) {
      this.#held.set(id, others)
      return
    }
    this.#held.delete(id)
    const resident = this.#setAside.get(id)
    if (resident !== undefined && !this.#isNeeded(id, resident)) this.#setAside.delete(id)
  }

  gauges() {
    return {
      pinned_actors: this.#pinned.size,
      cached_actors: this.#cached.size,
      cached_actors_max: this.cachedActorsMax,
      evicted_unapplied_actors: this.#setAside.size,
    }
  }
}

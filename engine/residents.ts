/**
 * The actors in memory. Pinned ones stay; cached ones live in an LRU bounded by `cachedActorsMax` (B1), most of them
 * at rest, as nothing but their image (resident.ts).
 *
 * An evicted actor whose latest image is not yet in Postgres is set aside until it is, so that a later load never
 * reads a state older than the last turn. So is one that an input still loading others waits with, or its turn would
 * find that the actor does not exist.
 */
import { LRUCache } from 'lru-cache'
import type { ActorId, ActorState, ActorType } from './actor.js'
import type { PackedBytes } from './packed-values.js'
import { Awake, Resident } from './resident.js'

export class Residents {
  readonly #pinned = new Map<ActorId, Resident>()
  readonly #cached: LRUCache<ActorId, Resident>
  readonly #awake: Awake
  readonly #setAside = new Map<ActorId, Resident>()
  /** Cached actors during recovery, which cares only for the last image of each: an LRU costs several times more. */
  readonly #restored = new Map<ActorId, Resident>()
  /** How many inputs being loaded name the actor. */
  readonly #held = new Map<ActorId, number>()
  #appliedSeq = 0

  constructor(readonly limits: { readonly cachedActorsMax: number; readonly awakeActorsMax: number }) {
    this.#awake = new Awake(limits.awakeActorsMax)
    this.#cached = new LRUCache<ActorId, Resident>({
      max: limits.cachedActorsMax,
      dispose: (resident, id, reason) => {
        if (reason === 'evict' && this.#isNeeded(id, resident)) this.#setAside.set(id, resident)
      },
    })
  }

  has(id: ActorId, residency: ActorType['residency']): boolean {
    return this.#get(id, residency) !== undefined
  }

  state(id: ActorId, residency: ActorType['residency']): ActorState | undefined {
    const resident = this.#get(id, residency)
    if (resident !== undefined && residency === 'cached') this.#awake.use(resident)
    return resident?.state
  }

  /** A new state, with its image, of a turn. */
  set(id: ActorId, residency: ActorType['residency'], state: ActorState, image: Uint8Array, seq: number): void {
    const resident = this.#get(id, residency) ?? this.#add(id, residency, seq)
    resident.seq = seq
    if (residency === 'pinned') resident.state = state
    else {
      this.#awake.use(resident)
      resident.change(state, image)
      if (this.#setAside.delete(id)) this.#cached.set(id, resident)
    }
  }

  /** A cached actor as it is in Postgres, which holds everything up to `seq`. */
  load(id: ActorId, image: Uint8Array, seq: number): void {
    this.#add(id, 'cached', seq).restore(image)
  }

  #get(id: ActorId, residency: ActorType['residency']): Resident | undefined {
    if (residency === 'pinned') return this.#pinned.get(id)
    // Never moved back into the cache here: that would evict another, perhaps one of the same turn.
    return this.#cached.get(id) ?? this.#setAside.get(id)
  }

  #add(id: ActorId, residency: ActorType['residency'], seq: number): Resident {
    const resident = new Resident(seq)
    if (residency === 'pinned') this.#pinned.set(id, resident)
    else this.#cached.set(id, resident)
    return resident
  }

  /** At recovery: the image of an actor, of which it takes a copy. It can be read after `recovered`. */
  restore(id: ActorId, residency: ActorType['residency'], image: PackedBytes, seq: number): void {
    const actors = residency === 'pinned' ? this.#pinned : this.#restored
    let resident = actors.get(id)
    if (resident === undefined) {
      resident = new Resident(seq)
      actors.set(id, resident)
    }
    resident.seq = seq
    resident.restore(image.bytes, image.start, image.end)
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
      cached_actors_max: this.limits.cachedActorsMax,
      evicted_unapplied_actors: this.#setAside.size,
      awake_actors: this.#awake.size,
      awake_actors_max: this.limits.awakeActorsMax,
    }
  }
}

/**
 * The actors in memory. Pinned ones stay; cached ones live in an LRU bounded by `cachedActorsMax` (B1).
 *
 * An evicted actor whose latest image is not yet in Postgres is set aside until it is, so that a later load never
 * reads a state older than the last turn.
 */
import { LRUCache } from 'lru-cache'
import type { ActorId, ActorState, ActorType } from './actor.js'

export interface Resident {
  state: ActorState
  /** The record that holds its latest image. */
  seq: number
}

export class Residents {
  readonly #pinned = new Map<ActorId, Resident>()
  readonly #cached: LRUCache<ActorId, Resident>
  readonly #evictedUnapplied = new Map<ActorId, Resident>()
  #appliedSeq = 0

  constructor(readonly cachedActorsMax: number) {
    this.#cached = new LRUCache<ActorId, Resident>({
      max: cachedActorsMax,
      dispose: (resident, id, reason) => {
        if (reason === 'evict' && resident.seq > this.#appliedSeq) this.#evictedUnapplied.set(id, resident)
      },
    })
  }

  get(id: ActorId, residency: ActorType['residency']): Resident | undefined {
    if (residency === 'pinned') return this.#pinned.get(id)
    const cached = this.#cached.get(id)
    if (cached !== undefined) return cached
    const setAside = this.#evictedUnapplied.get(id)
    if (setAside === undefined) return undefined
    this.#evictedUnapplied.delete(id)
    this.#cached.set(id, setAside)
    return setAside
  }

  set(id: ActorId, residency: ActorType['residency'], state: ActorState, seq: number): void {
    const resident = this.get(id, residency)
    if (resident !== undefined) {
      resident.state = state
      resident.seq = seq
    } else if (residency === 'pinned') this.#pinned.set(id, { state, seq })
    else this.#cached.set(id, { state, seq })
  }

  /** Postgres holds every image up to `seq`. */
  applied(seq: number): void {
    this.#appliedSeq = seq
    for (const [id, resident] of this.#evictedUnapplied) {
      if (resident.seq <= seq) this.#evictedUnapplied.delete(id)
    }
  }

  gauges() {
    return {
      pinned_actors: this.#pinned.size,
      cached_actors: this.#cached.size,
      cached_actors_max: this.cachedActorsMax,
      evicted_unapplied_actors: this.#evictedUnapplied.size,
    }
  }
}

import type { ActorId } from './actor.js'
import type { Alarm, Message, StoredOutcome } from './record.js'

/** Where the engine reads what it no longer holds in memory. */
export interface Store {
  /** The latest images of these actors; those that do not exist are absent. */
  loadImages(ids: readonly ActorId[]): Promise<Map<ActorId, Uint8Array>>
  loadOutcome(key: string): Promise<{ fingerprint: string; at: number; outcome: StoredOutcome } | undefined>
}

/** What Postgres holds, as of `appliedSeq`. Tables and views are restored by their own loaders before. */
export interface Checkpoint {
  readonly appliedSeq: number
  /** The time of the last applied input, in milliseconds. */
  readonly lastAt: number
  readonly pinned: Iterable<{ readonly actor: ActorId; readonly image: Uint8Array }>
  readonly alarms: Iterable<Alarm>
  /** Told but not yet consumed. */
  readonly messages: Iterable<Message>
  readonly idempotency: Iterable<{
    readonly key: string
    readonly fingerprint: string
    readonly at: number
    readonly seq: number
    readonly forever: boolean
  }>
}

/** Time, ids and timers, injected (T2). */
export interface Environment {
  /** Milliseconds since the epoch. */
  now(): number
  /** A monotonic clock for measurements, in microseconds. */
  micros(): number
  newId(): string
  /** Calls back once at a time in milliseconds since the epoch; returns a function that cancels. */
  wakeAt(at: number, callback: () => void): () => void
}

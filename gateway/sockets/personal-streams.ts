/**
 * The event streams of the members who are here or at a gateway, and of those who left not long ago.
 *
 * X1 A stream that was forgotten and begun anew has an epoch of its own, so that an old offset is never mistaken for a
 *    new one. B1 Streams of members who are here are bounded by their connections, the others by a limit; the one whose
 *    member left first is forgotten first. Gateways ask for the streams of their members to be kept, and are told of
 *    those that could not be.
 */
import { LRUCache } from 'lru-cache'
import { type KeptStream, Stream } from './stream.js'

/** A stream that a socket follows, until it leaves. */
export interface Followed<Event> {
  readonly stream: Stream<Event> | Promise<Stream<Event>>
  readonly leave: () => void
}

interface Known<Event> {
  readonly stream: Stream<Event>
  /** Gateways are told of its events. */
  isShared: boolean
}

interface Attended<Event> extends Known<Event> {
  sockets: number
}

export class PersonalStreams<Event> {
  readonly #present = new Map<string, Attended<Event>>()
  readonly #absent: LRUCache<string, Known<Event>>
  #begun = 0

  constructor(
    readonly epoch: string,
    readonly eventsKept: number,
    absentMembersMax: number,
  ) {
    this.#absent = new LRUCache({ max: absentMembersMax })
  }

  get present(): number {
    return this.#present.size
  }

  get absent(): number {
    return this.#absent.size
  }

  /** A socket of the member came; call {@link leave} when it goes. */
  enter(userId: string): Stream<Event> {
    let attended = this.#present.get(userId)
    if (attended === undefined) {
      attended = { ...(this.#absent.get(userId) ?? this.#begin()), sockets: 0 }
      this.#absent.delete(userId)
      this.#present.set(userId, attended)
    }
    attended.sockets += 1
    return attended.stream
  }

  leave(userId: string): void {
    const attended = this.#present.get(userId)
    if (attended === undefined) return
    attended.sockets -= 1
    if (attended.sockets > 0) return
    this.#present.delete(userId)
    const { stream, isShared } = attended
    this.#absent.set(userId, { stream, isShared })
  }

  /** A gateway follows the stream, as it is now, from here on. */
  share(userId: string): KeptStream<Event> {
    let known = this.#present.get(userId) ?? this.#absent.get(userId)
    if (known === undefined) {
      known = this.#begin()
      this.#absent.set(userId, known)
    }
    known.isShared = true
    return known.stream.kept
  }

  /** Keeps streams that gateways follow from being forgotten for a while; those of the members returned already are. */
  keep(userIds: readonly string[]): string[] {
    return userIds.filter((userId) => !(this.#present.get(userId) ?? this.#absent.get(userId))?.isShared)
  }

  /** The stream to append to, if the member is or was here; `present` tells whether someone listens here now. */
  find(userId: string): (Known<Event> & { readonly present: boolean }) | undefined {
    const attended = this.#present.get(userId)
    if (attended !== undefined) return { ...attended, present: true }
    const known = this.#absent.peek(userId) // being written to is no reason to be kept longer
    return known === undefined ? undefined : { ...known, present: false }
  }

  #begin(): Known<Event> {
    this.#begun += 1
    return { stream: new Stream(`${this.epoch}-${this.#begun}`, this.eventsKept), isShared: false }
  }
}

/**
 * The event streams of the members who are here, and of those who left not long ago.
 *
 * X1 A stream that was forgotten and begun anew has an epoch of its own, so that an old offset is never mistaken for a
 *    new one. B1 Streams of members who are here are bounded by their connections, the others by a limit; the one whose
 *    member left first is forgotten first.
 */
import { LRUCache } from 'lru-cache'
import { Stream } from './stream.js'

interface Attended<Event> {
  readonly stream: Stream<Event>
  sockets: number
}

export class PersonalStreams<Event> {
  readonly #present = new Map<string, Attended<Event>>()
  readonly #absent: LRUCache<string, Stream<Event>>
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
      attended = { stream: this.#absent.get(userId) ?? this.#begin(), sockets: 0 }
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
    this.#absent.set(userId, attended.stream)
  }

  /** The stream to append to, if the member is or was here; `present` tells whether someone listens now. */
  find(userId: string): { readonly stream: Stream<Event>; readonly present: boolean } | undefined {
    const attended = this.#present.get(userId)
    if (attended !== undefined) return { stream: attended.stream, present: true }
    const stream = this.#absent.peek(userId) // being written to is no reason to be kept longer
    return stream === undefined ? undefined : { stream, present: false }
  }

  #begin(): Stream<Event> {
    this.#begun += 1
    return new Stream(`${this.epoch}-${this.#begun}`, this.eventsKept)
  }
}

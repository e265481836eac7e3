/**
 * The streams of members who are at this gateway. The engine numbers them, so that they are the same at every gateway.
 *
 * X1 A copy has everything the engine told since it was asked for, once and in order. A member whose stream the engine
 *    has forgotten is told to come back, and is told to resync. B1 There are as many copies as members who are here.
 */
import { z } from 'zod'
import type { Environment } from '../../engine/store.js'
import type { PersonalEntry } from '../sockets/client-out.js'
import type { Followed } from '../sockets/personal-streams.js'
import { Stream } from '../sockets/stream.js'
import { Replica } from './replica.js'

const KEEP_INTERVAL_MS = 20_000
export const KEPT_AT_ONCE_MAX = 1_000

const entry = z.custom<PersonalEntry>((value) => typeof value === 'object' && value !== null)
const keptSchema = z.object({ epoch: z.string(), offset: z.int().nonnegative(), events: z.array(entry) })
const forgottenSchema = z.object({ forgotten: z.array(z.string()) })

type PersonalStream = Stream<PersonalEntry>

interface Copy {
  readonly replica: Replica<PersonalStream, PersonalEntry>
  followers: number
}

export interface RemoteStreamsOptions {
  readonly environment: Pick<Environment, 'now' | 'wakeAt'>
  readonly eventsKept: number
  /** What the engine answers when a gateway begins to follow a member's stream. */
  readonly share: (userId: string) => Promise<unknown>
  /** Asks the engine not to forget streams; it answers with those it has forgotten. */
  readonly keep: (userIds: readonly string[]) => Promise<unknown>
  /** Tells a member who is here. */
  readonly tell: (userId: string, entry: PersonalEntry) => void
  /** Closes the connections of a member, who comes back. */
  readonly dismiss: (userId: string) => void
}

export class RemoteStreams {
  readonly #options: RemoteStreamsOptions
  #copies = new Map<string, Copy>()
  #cancelKeeping = () => {}

  constructor(options: RemoteStreamsOptions) {
    this.#options = options
    this.#awaitKeeping()
  }

  gauges() {
    return { personal_streams: this.#copies.size }
  }

  readonly follow = (userId: string): Followed<PersonalEntry> => {
    const copies = this.#copies
    const copy = copies.get(userId) ?? this.#copy(userId)
    copies.set(userId, copy)
    copy.followers += 1
    const leave = () => {
      copy.followers -= 1
      if (copy.followers === 0 && copies.get(userId) === copy) copies.delete(userId)
    }
    return { stream: copy.replica.loading, leave }
  }

  take(userId: string, told: PersonalEntry): void {
    const copy = this.#copies.get(userId)
    if (copy === undefined) return
    const stream = copy.replica.state
    if (stream !== undefined && !continues(stream, told)) this.#dismiss(userId)
    else if (copy.replica.take(told)) this.#options.tell(userId, told)
  }

  /** Whoever is here is told to come back: the copies are of before. */
  begin(): void {
    this.#copies = new Map()
  }

  stop(): void {
    this.#cancelKeeping()
  }

  #copy(userId: string): Copy {
    const { share, eventsKept } = this.#options
    const replica = new Replica<PersonalStream, PersonalEntry>({
      load: async () => Stream.restored(keptSchema.parse(await share(userId)), eventsKept),
      take: (stream, told) => {
        if (told.data.epoch !== stream.epoch || told.data.offset <= stream.offset) return false
        stream.append(() => told)
        return true
      },
    })
    return { replica, followers: 0 }
  }

  #dismiss(userId: string): void {
    this.#copies.delete(userId)
    this.#options.dismiss(userId)
  }

  #awaitKeeping(): void {
    const { environment } = this.#options
    this.#cancelKeeping = environment.wakeAt(environment.now() + KEEP_INTERVAL_MS, () => {
      void this.#keep()
      this.#awaitKeeping()
    })
  }

  async #keep(): Promise<void> {
    const copies = this.#copies
    const userIds = [...copies.keys()]
    for (let start = 0; start < userIds.length; start += KEPT_AT_ONCE_MAX) {
      const some = userIds.slice(start, start + KEPT_AT_ONCE_MAX)
      const { forgotten } = await this.#options.keep(some).then(forgottenSchema.parse, () => ({ forgotten: [] }))
      for (const userId of forgotten) if (this.#copies === copies) this.#dismiss(userId)
    }
  }
}

/** Whether it comes next, or is known already. */
function continues({ epoch, offset }: PersonalStream, { data }: PersonalEntry): boolean {
  return data.epoch === epoch && data.offset <= offset + 1
}

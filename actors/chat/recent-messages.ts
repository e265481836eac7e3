/**
 * The last messages of every channel, and what changed last in it: each message once, as it is now.
 *
 * X1 What came after an offset is every message that was posted or changed since, as it is now; when one of them may be
 *    forgotten already, that is said. B1 A channel keeps `messagesKept` of each.
 */
import type { PackedFact } from '../../engine/recovery-record.js'
import type { View } from '../../engine/table.js'
import type { Message, messageChanged, messagePosted } from './facts.js'

export interface RecentMessage {
  /** Of the last thing that happened to it. */
  readonly offset: number
  /** Of its posting; 0 when that is not known any more. */
  readonly postedOffset: number
  readonly message: Message
}

type Posted = ReturnType<typeof messagePosted.make>
type Changed = ReturnType<typeof messageChanged.make>

class Window {
  /** By message id, the one that changed last at the end. */
  readonly changed = new Map<string, RecentMessage>()
  /** By message id, the newest at the end. */
  readonly latest = new Map<string, RecentMessage>()
  /** What came after this offset is known. */
  knownAfter = 0
}

export class RecentMessages implements View {
  readonly name = 'recent-messages'
  readonly facts = ['chat.message_posted', 'chat.message_changed']
  readonly #windows = new Map<string, Window>()

  constructor(readonly messagesKept: number) {}

  get size(): number {
    let size = 0
    for (const { changed } of this.#windows.values()) size += changed.size
    return size
  }

  /** Everything that is new or changed after `offset`, in the order it changed. */
  since(channelId: string, offset: number): readonly RecentMessage[] | 'resync' {
    const window = this.#windows.get(channelId)
    if (window === undefined) return []
    if (offset < window.knownAfter) return 'resync'
    return [...window.changed.values()].filter((each) => each.offset > offset)
  }

  /** The last messages that are still there, oldest first. */
  latest(channelId: string, count: number): readonly RecentMessage[] {
    const all = [...(this.#windows.get(channelId)?.latest.values() ?? [])]
    const there = all.filter(({ message }) => message.deletedAt === null)
    return there.slice(Math.max(0, there.length - count))
  }

  /**
   * Messages below a number that are still there, newest first; below `knownFrom` there may be others that are not in
   * memory.
   */
  page(channelId: string, before: number, limit: number): { readonly messages: Message[]; readonly knownFrom: number } {
    const all = [...(this.#windows.get(channelId)?.latest.values() ?? [])]
    const there = all.filter(({ message: { number, deletedAt } }) => number < before && deletedAt === null)
    const messages = there.slice(-limit).map(({ message }) => message)
    return { messages: messages.reverse(), knownFrom: all[0]?.message.number ?? Number.MAX_SAFE_INTEGER }
  }

  /** A message as it is now, if it is one of the last that came or changed. */
  known({ channelId, messageId }: Pick<Message, 'channelId' | 'messageId'>): Message | null {
    const window = this.#windows.get(channelId)
    return (window?.changed.get(messageId) ?? window?.latest.get(messageId))?.message ?? null
  }

  /** The number of the last message that was posted up to `offset`, or null when that is not known any more. */
  numberAt(channelId: string, offset: number): number | null {
    const window = this.#windows.get(channelId)
    if (window === undefined) return 0
    const [first] = window.latest.values()
    let number = first === undefined || first.message.number === 1 ? 0 : null
    for (const each of window.latest.values()) if (each.postedOffset <= offset) number = each.message.number
    return number
  }

  /** Puts back what Postgres has of a channel: the last that changed, by offset, and the last that came, by number. */
  restoreChannel(channelId: string, changed: readonly RecentMessage[], latest: readonly RecentMessage[]): void {
    const window = this.#window(channelId)
    for (const each of latest) window.latest.set(each.message.messageId, each)
    for (const each of changed) window.changed.set(each.message.messageId, each)
    const first = changed.length < this.messagesKept ? undefined : changed[0]
    window.knownAfter = first === undefined ? 0 : first.offset - 1
  }

  fold(fact: { readonly type: string }): void {
    if (fact.type === 'chat.message_posted') this.#put(fact as Posted, true)
    else if (fact.type === 'chat.message_changed') this.#put(fact as Changed, false)
  }

  restore(fact: PackedFact): void {
    this.fold(fact.unpack<Posted | Changed>())
  }

  applied(): void {
    // The last messages are what is read most: they stay, whether Postgres has them or not.
  }

  #put({ channelId, offset, message }: Posted | Changed, isNew: boolean): void {
    const window = this.#window(channelId)
    const { messageId } = message
    const known = window.latest.get(messageId)
    const entry = { offset, message, postedOffset: isNew ? offset : (known?.postedOffset ?? 0) }
    if (isNew || known !== undefined) window.latest.set(messageId, entry)
    trim(window.latest, this.messagesKept)
    window.changed.delete(messageId)
    window.changed.set(messageId, entry)
    const forgotten = trim(window.changed, this.messagesKept)
    if (forgotten !== undefined) window.knownAfter = forgotten.offset
  }

  #window(channelId: string): Window {
    let window = this.#windows.get(channelId)
    if (window === undefined) {
      window = new Window()
      this.#windows.set(channelId, window)
    }
    return window
  }
}

/** Drops the first entry when there is one too many. */
function trim(entries: Map<string, RecentMessage>, max: number): RecentMessage | undefined {
  if (entries.size <= max) return undefined
  const [first] = entries
  if (first === undefined) return undefined
  entries.delete(first[0])
  return first[1]
}

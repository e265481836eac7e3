/**
 * What happened last in each channel, as far as it was published here: it closes the gap between what the engine says a
 * channel holds and what is sent from then on.
 *
 * X1 What is kept follows each other without gaps: what is not known here is never taken for nothing. B1 Each channel
 *    keeps `keptMax` events.
 */
import type { Message } from '../../actors/chat/facts.js'

interface Entry {
  readonly offset: number
  /** Null when it was not about a message. */
  readonly message: Message | null
}

interface Feed {
  offset: number
  readonly kept: Entry[]
}

export class ChannelFeeds {
  readonly #feeds = new Map<string, Feed>()

  constructor(readonly keptMax: number) {}

  get size(): number {
    return this.#feeds.size
  }

  /** The offset of the last thing published, or null when nothing was. */
  offsetOf(channelId: string): number | null {
    return this.#feeds.get(channelId)?.offset ?? null
  }

  /** Where something between this and the event before was not published here, what came before is forgotten (X1). */
  take(channelId: string, offset: number, message: Message | null): void {
    const feed = this.#feeds.get(channelId)
    if (feed === undefined) {
      this.#feeds.set(channelId, { offset, kept: [{ offset, message }] })
      return
    }
    if (offset !== feed.offset + 1) feed.kept.length = 0
    feed.offset = offset
    feed.kept.push({ offset, message })
    if (feed.kept.length > this.keptMax) feed.kept.shift()
  }

  /** Whether everything after `offset` was published here. */
  covers(channelId: string, offset: number): boolean {
    const feed = this.#feeds.get(channelId)
    const first = feed?.kept[0]
    return feed !== undefined && first !== undefined && first.offset <= offset + 1 && offset <= feed.offset
  }

  /** Messages that were posted or changed after `offset`, each once as it is now; null when they are not known here. */
  since(channelId: string, offset: number): readonly Required<Entry & { message: Message }>[] | null {
    const feed = this.#feeds.get(channelId)
    if (feed === undefined || feed.offset <= offset) return []
    const first = feed.kept[0]
    if (first === undefined || first.offset > offset + 1) return null
    const latest = new Map<string, Entry & { message: Message }>()
    for (const { offset: each, message } of feed.kept) {
      if (each <= offset || message === null) continue
      latest.delete(message.messageId)
      latest.set(message.messageId, { offset: each, message })
    }
    return [...latest.values()]
  }
}

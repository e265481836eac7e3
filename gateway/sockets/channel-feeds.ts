/**
 * What happened last in each channel, as far as it was published here: it closes the gap between what the engine says a
 * channel holds and what is sent from then on.
 *
 * X1 What is kept follows each other without gaps: what is not known here is never taken for nothing. B1 Each channel
 *    keeps `keptMax` events.
 */
import type { Message } from '../../actors/chat/facts.js'

const none: readonly Changed[] = []

interface Entry {
  readonly offset: number
  /** Null when it was not about a message. */
  readonly message: Message | null
}

/** A message as it is since the last thing that happened to it. */
export interface Changed {
  readonly offset: number
  readonly message: Message
}

interface Feed {
  offset: number
  readonly kept: Entry[]
  /** What was asked for last: many who lost their connections together ask for the same. */
  asked: { readonly after: number; readonly changed: readonly Changed[] } | null
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
      this.#feeds.set(channelId, { offset, kept: [{ offset, message }], asked: null })
      return
    }
    if (offset !== feed.offset + 1) feed.kept.length = 0
    feed.offset = offset
    feed.asked = null
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
  since(channelId: string, offset: number): readonly Changed[] | null {
    const feed = this.#feeds.get(channelId)
    if (feed === undefined || feed.offset <= offset) return none
    const first = feed.kept[0]
    if (first === undefined || first.offset > offset + 1) return null
    if (feed.asked?.after !== offset) feed.asked = { after: offset, changed: changedSince(feed, offset) }
    return feed.asked.changed
  }
}

function changedSince({ kept }: Feed, after: number): readonly Changed[] {
  const latest = new Map<string, Changed>()
  for (const { offset, message } of kept) {
    if (offset <= after || message === null) continue
    latest.delete(message.messageId)
    latest.set(message.messageId, { offset, message })
  }
  return [...latest.values()]
}

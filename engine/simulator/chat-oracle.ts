/** What every channel held after each of its offsets, by what is on the disk and nothing else. */
import { assert } from '../assert.js'
import { type ChannelFact, messageText } from './chat-words.js'
import type { Deployment } from './deployment.js'

/** A message from one offset on; null once it was deleted. */
export interface Version {
  readonly offset: number
  readonly text: string | null
}

interface Told {
  readonly id: string
  readonly number: number
  readonly versions: Version[]
}

interface Pins {
  readonly offset: number
  readonly ids: readonly string[]
}

export interface Held {
  /** By number, those that are not deleted, in the words of `messageText`. */
  readonly messages: readonly { readonly id: string; readonly number: number; readonly text: string }[]
  /** How many were deleted so far. */
  readonly deleted: number
  /** The newest first. */
  readonly pins: readonly string[]
}

export class ChannelStory {
  readonly epoch: string
  offset = 0
  readonly #messages = new Map<string, Told>()
  readonly #pins: Pins[] = []
  /** Asked for again and again by all who follow. */
  #latest: { readonly offset: number; readonly held: Held } | null = null

  constructor(epoch: string) {
    this.epoch = epoch
  }

  take(fact: ChannelFact): void {
    const { offset } = fact
    this.offset = offset
    if (fact.type === 'chat.channel_changed') return
    const { messageId: id, number, deletedAt } = fact.message
    const told = this.#messages.get(id) ?? { id, number, versions: [] }
    this.#messages.set(id, told)
    told.versions.push({ offset, text: deletedAt === null ? messageText(fact.message) : null })
    if (fact.type === 'chat.message_posted') return
    const ids = this.#pins.at(-1)?.ids ?? []
    const others = ids.filter((each) => each !== id)
    if (fact.change === 'pinned') this.#pins.push({ offset, ids: [id, ...others] })
    else if (fact.change === 'unpinned' || deletedAt !== null) this.#pins.push({ offset, ids: others })
  }

  /** Messages that changed after one offset, up to another, as they were then, in the order they changed. */
  changed(after: number, upTo: number): readonly Version[] {
    const latest = [...this.#messages.values()].flatMap(({ versions }) => {
      const version = versions.findLast(({ offset }) => offset <= upTo)
      return version !== undefined && version.offset > after ? [version] : []
    })
    return latest.sort((one, other) => one.offset - other.offset)
  }

  at(offset: number): Held {
    if (this.#latest?.offset === offset) return this.#latest.held
    let deleted = 0
    const messages: { id: string; number: number; text: string }[] = []
    for (const { id, number, versions } of this.#messages.values()) {
      const version = versions.findLast((each) => each.offset <= offset)
      if (version === undefined) continue
      if (version.text === null) deleted += 1
      else messages.push({ id, number, text: version.text })
    }
    const held = { messages, deleted, pins: this.#pins.findLast((each) => each.offset <= offset)?.ids ?? [] }
    this.#latest = { offset, held }
    return held
  }
}

export class ChatOracle {
  readonly #channels = new Map<string, ChannelStory>()
  #seq = 0

  constructor(readonly deployment: Deployment) {}

  /** The channel as far as it is on the disk: what is there stays there. */
  channel(channelId: string): ChannelStory | undefined {
    const { records, keptSeq } = this.deployment.history
    for (; this.#seq < keptSeq; this.#seq++) {
      const record = records[this.#seq]
      assert(record !== undefined, 'what is on the disk was appended')
      for (const fact of record.facts as readonly ChannelFact[]) this.#take(fact)
    }
    return this.#channels.get(channelId)
  }

  #take(fact: ChannelFact): void {
    if (fact.type === 'chat.channel_changed' && !this.#channels.has(fact.channelId)) {
      this.#channels.set(fact.channelId, new ChannelStory(fact.epoch))
    }
    const isOfChannel = ['chat.message_posted', 'chat.message_changed', 'chat.channel_changed'].includes(fact.type)
    if (isOfChannel) this.#channels.get(fact.channelId)?.take(fact)
  }
}

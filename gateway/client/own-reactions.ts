/**
 * Which emoji on which messages are ours: asked of the server for messages that may have some, then followed as we put
 * and take them, here or elsewhere.
 *
 * B1 `messagesMax` messages are remembered, those longest known forgotten first; `ASKED_AT_ONCE_MAX` are asked for at once.
 */
import type { ChatMessage } from './channel-state.js'

const ASKED_AT_ONCE_MAX = 100

interface Act {
  readonly id: string
  readonly emoji: string
  readonly on: boolean
}

/** What the server says: messages that have none of ours are not there. */
export interface OwnReactionsAnswer {
  readonly reactions: readonly { readonly id: string; readonly emojis: readonly string[] }[]
}

const none: ReadonlySet<string> = new Set()

export class OwnReactions {
  readonly #ours = new Map<string, ReadonlySet<string>>()
  readonly #unasked = new Set<string>()
  /** What we did while the server was asked: its answer may be of before. */
  #meanwhile: Act[] | null = null

  constructor(
    readonly messagesMax: number,
    readonly ask: (ids: readonly string[]) => Promise<OwnReactionsAnswer>,
  ) {}

  of(id: string): ReadonlySet<string> {
    return this.#ours.get(id) ?? none
  }

  set(act: Act): void {
    this.#meanwhile?.push(act)
    this.#apply(act)
  }

  /** Messages as they are now, of which it is not known whether we reacted. */
  meet(messages: readonly ChatMessage[]): void {
    for (const { id, reactions } of messages) {
      if (Object.keys(reactions).length > 0 || this.#ours.has(id)) this.#unasked.add(id)
    }
    forgetFirst(this.#unasked, this.messagesMax)
  }

  /** Asks for what is not known. Returns whether there was anything; rejects with a ChatError, and may be tried again. */
  async load(): Promise<boolean> {
    if (this.#meanwhile !== null || this.#unasked.size === 0) return false
    try {
      while (this.#unasked.size > 0) {
        this.#meanwhile = []
        const ids = [...this.#unasked].slice(0, ASKED_AT_ONCE_MAX)
        const { reactions } = await this.ask(ids)
        const told = new Map(reactions.map(({ id, emojis }) => [id, new Set(emojis)]))
        for (const id of ids) {
          this.#unasked.delete(id)
          this.#put(id, told.get(id) ?? none)
        }
        for (const act of this.#meanwhile) this.#apply(act)
      }
    } finally {
      this.#meanwhile = null
    }
    return true
  }

  #apply({ id, emoji, on }: Act): void {
    const others = [...this.of(id)].filter((each) => each !== emoji)
    this.#put(id, new Set(on ? [...others, emoji] : others))
  }

  #put(id: string, emojis: ReadonlySet<string>): void {
    this.#ours.delete(id)
    if (emojis.size > 0) this.#ours.set(id, emojis)
    forgetFirst(this.#ours, this.messagesMax)
  }
}

function forgetFirst(entries: Map<string, unknown> | Set<string>, max: number): void {
  for (const key of entries.keys()) {
    if (entries.size <= max) return
    entries.delete(key)
  }
}

/**
 * Messages in the language of this browser, where somebody asked for it. B1 `KEPT_MAX` of them, those asked for first
 * forgotten first.
 */
import type { ChatMessage } from '../../client/channel-state.js'

const KEPT_MAX = 200

export interface Translation {
  readonly text: string
  readonly language: string
  /** As it is called in this browser. */
  readonly from: string
}

interface Answer {
  readonly text: string
  readonly language: string
  readonly source_language: string
}

const names = new Intl.DisplayNames(undefined, { type: 'language' })

export class Translations {
  readonly #kept = new Map<string, Translation & { readonly of: string }>()

  constructor(private readonly request: (method: string, path: string, body: object) => Promise<unknown>) {}

  /** Undefined, too, when the message has been edited since. */
  of({ id, text }: ChatMessage): Translation | undefined {
    const known = this.#kept.get(id)
    return known?.of === text ? known : undefined
  }

  /** Rejects with a ChatError. */
  async ask({ id, text: said }: ChatMessage): Promise<void> {
    const [wanted = 'en'] = navigator.language.split('-')
    const answer = await this.request('POST', `/v1/social/messages/${id}/translate`, { language: wanted })
    const { text, language, source_language: source } = answer as Answer
    this.#kept.set(id, { of: said, text, language, from: source === 'und' ? 'another language' : nameOf(source) })
    for (const first of this.#kept.keys()) {
      if (this.#kept.size <= KEPT_MAX) break
      this.#kept.delete(first)
    }
  }

  forget({ id }: ChatMessage): void {
    this.#kept.delete(id)
  }
}

function nameOf(language: string): string {
  try {
    return names.of(language) ?? language
  } catch {
    return language // the service names it otherwise than browsers do
  }
}

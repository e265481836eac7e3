/** Who is writing, as far as is known: a hint that ends by itself. */
import type { Timers } from './timers.js'

const LASTS_MS = 5_000
const TYPISTS_MAX = 20

interface Typist {
  readonly user_id: string
  readonly username: string
}

export class Typists {
  readonly #known = new Map<string, { readonly typist: Typist; readonly forget: () => void }>()

  constructor(
    readonly timers: Timers,
    readonly changed: () => void,
  ) {}

  get all(): readonly Typist[] {
    return [...this.#known.values()].map(({ typist }) => typist)
  }

  began(typist: Typist): void {
    const known = this.#known.get(typist.user_id)
    if (known === undefined && this.#known.size >= TYPISTS_MAX) return
    known?.forget()
    const forget = this.timers.after(LASTS_MS, () => this.ended(typist.user_id))
    this.#known.set(typist.user_id, { typist, forget })
    if (known === undefined) this.changed()
  }

  ended(userId: string): void {
    const known = this.#known.get(userId)
    if (known === undefined) return
    known.forget()
    this.#known.delete(userId)
    this.changed()
  }

  clear(): void {
    for (const { forget } of this.#known.values()) forget()
    this.#known.clear()
  }
}

/** Keys of a KMS that were opened: each is asked for once, and one that could not be opened is asked for again. */
import type { SigningKey } from './key-provider.js'

export class OpenedKeys {
  readonly #keys = new Map<string, Promise<SigningKey>>()

  constructor(private readonly open: (name: string) => Promise<SigningKey>) {}

  get(name: string): Promise<SigningKey> {
    const found = this.#keys.get(name) ?? this.open(name)
    this.#keys.set(name, found)
    found.catch(() => this.#keys.delete(name))
    return found
  }
}

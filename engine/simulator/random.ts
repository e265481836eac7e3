/** Reproducible randomness: the same seed draws the same numbers on every machine. */
export class Random {
  #a: number
  #b: number
  #c: number
  #d: number

  /** Streams of one seed that differ in name are independent, so that one may change without changing the others. */
  constructor(seed: number, name: string) {
    let hash = 2_166_136_261 ^ seed
    for (const character of `${seed}/${name}`) hash = Math.imul(hash ^ character.charCodeAt(0), 16_777_619)
    this.#a = hash | 0
    this.#b = Math.imul(hash, 0x9e3779b1) | 0
    this.#c = Math.imul(hash ^ seed, 0x85ebca6b) | 0
    this.#d = 1
    for (let round = 0; round < 12; round++) this.#next()
  }

  /** From 0 to less than 1. */
  unit(): number {
    return this.#next() / 2 ** 32
  }

  /** A whole number from `min` to `max`, both included. */
  int(min: number, max: number): number {
    return min + Math.floor(this.unit() * (max - min + 1))
  }

  chance(probability: number): boolean {
    return this.unit() < probability
  }

  pick<Item>(items: readonly Item[]): Item {
    return items[this.int(0, items.length - 1)] as Item
  }

  /** Mostly near `min`, sometimes near `max`: how long things take. */
  skewed(min: number, max: number): number {
    return Math.round(min * (max / min) ** (this.unit() ** 3))
  }

  /** sfc32 */
  #next(): number {
    const sum = (this.#a + this.#b + this.#d) | 0
    this.#d = (this.#d + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum
    this.#c |= 0
    return sum >>> 0
  }
}

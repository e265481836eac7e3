/**
 * The batches of facts that gateways were told last, for those that missed some.
 *
 * X1 Batches are numbered without gaps within one run of the engine. B1 The last `bytesMax` bytes of them are kept.
 */
export interface Batch {
  readonly seq: number
  readonly bytes: Uint8Array
}

export class FactLog {
  readonly #kept: Batch[] = []
  /** Place of the oldest that is kept; what is before it is cut off now and then. */
  #first = 0
  #bytes = 0
  #seq = 0

  constructor(readonly bytesMax: number) {}

  get seq(): number {
    return this.#seq
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Takes the next batch; its number. */
  append(bytes: Uint8Array): number {
    this.#seq += 1
    this.#kept.push({ seq: this.#seq, bytes })
    this.#bytes += bytes.length
    while (this.#bytes > this.bytesMax && this.#first < this.#kept.length - 1) {
      this.#bytes -= this.#kept[this.#first]?.bytes.length ?? 0
      this.#first += 1
    }
    if (this.#first * 2 > this.#kept.length) {
      this.#kept.splice(0, this.#first)
      this.#first = 0
    }
    return this.#seq
  }

  /** What follows `seq`, as much as fits into `bytesMax` and one batch at least; null when that is not known any more. */
  since(seq: number, bytesMax: number): Batch[] | null {
    const from = this.#kept.length - (this.#seq - seq)
    if (seq > this.#seq || from < this.#first) return null
    const found: Batch[] = []
    let bytes = 0
    for (let place = from; place < this.#kept.length; place++) {
      const batch = this.#kept[place]
      if (batch === undefined || (found.length > 0 && bytes + batch.bytes.length > bytesMax)) break
      found.push(batch)
      bytes += batch.bytes.length
    }
    return found
  }
}

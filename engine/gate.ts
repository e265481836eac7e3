/**
 * Holds every reply, event and driver job until the record it depends on is durable.
 *
 * J1 nothing leaves before its record is durable; G1 outputs leave in record order; G2 a read waits for what it saw;
 * G3 when the shard stops, held outputs are dropped.
 */
import { assert } from './assert.js'

const COMPACT_AT = 1024

export class Gate {
  #seqs: number[] = []
  #releases: ((() => void) | undefined)[] = []
  #head = 0
  readonly #waiting = new Set<(reason: Error) => void>()
  #durableSeq: number
  #closedBy: Error | undefined
  #releasing = false

  constructor(durableSeq: number) {
    this.#durableSeq = durableSeq
  }

  get durableSeq(): number {
    return this.#durableSeq
  }

  get held(): number {
    return this.#seqs.length - this.#head
  }

  /** Runs `release` once everything up to `seq` is durable and what was held before has left; perhaps at once. */
  hold(seq: number, release: () => void): void {
    if (this.#closedBy !== undefined) return
    assert(this.held === 0 || seq >= (this.#seqs.at(-1) ?? 0), 'outputs are held in record order (G1)')
    this.#seqs.push(seq)
    this.#releases.push(release)
    this.#release()
  }

  /** Opens the gate up to `seq`. */
  open(seq: number): void {
    if (this.#closedBy !== undefined) return
    assert(seq >= this.#durableSeq, 'durability never goes back (J1)')
    this.#durableSeq = seq
    this.#release()
  }

  /** Resolves once everything up to `seq` is durable; rejects if the gate is closed before. */
  passed(seq: number): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#closedBy !== undefined) {
        reject(this.#closedBy)
        return
      }
      this.#waiting.add(reject)
      this.hold(seq, () => {
        this.#waiting.delete(reject)
        resolve()
      })
    })
  }

  /** Drops everything held (G3); who awaits it is told `reason`. */
  close(reason: Error): void {
    this.#closedBy = reason
    this.#forgetAll()
    for (const reject of this.#waiting) reject(reason)
    this.#waiting.clear()
  }

  #release(): void {
    // An output may cause others, or even durability: they leave after it, not from within it (G1).
    if (this.#releasing) return
    this.#releasing = true
    try {
      while ((this.#seqs[this.#head] ?? Number.POSITIVE_INFINITY) <= this.#durableSeq) {
        const release = this.#releases[this.#head]
        this.#releases[this.#head] = undefined
        this.#head += 1
        release?.()
      }
    } finally {
      this.#releasing = false
      this.#compact()
    }
  }

  /** Under load the gate is never empty, so what has left must go on the way. */
  #compact(): void {
    if (this.held === 0) this.#forgetAll()
    else if (this.#head > COMPACT_AT && this.#head * 2 > this.#seqs.length) {
      this.#seqs.splice(0, this.#head)
      this.#releases.splice(0, this.#head)
      this.#head = 0
    }
  }

  #forgetAll(): void {
    this.#seqs = []
    this.#releases = []
    this.#head = 0
  }
}

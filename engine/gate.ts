/**
 * Holds every reply, event and driver job until the record it depends on is durable.
 *
 * J1 nothing leaves before its record is durable; G1 outputs leave in record order; G2 a read waits for what it saw;
 * G3 when the shard stops, held outputs are dropped.
 */
import { assert } from './assert.js'

export class Gate {
  #seqs: number[] = []
  #releases: (() => void)[] = []
  #head = 0
  #durableSeq: number
  #closed = false

  constructor(durableSeq: number) {
    this.#durableSeq = durableSeq
  }

  get durableSeq(): number {
    return this.#durableSeq
  }

  get held(): number {
    return this.#seqs.length - this.#head
  }

  /** Runs `release` once everything up to `seq` is durable: now, if it already is. */
  hold(seq: number, release: () => void): void {
    if (this.#closed) return
    if (seq <= this.#durableSeq && this.held === 0) {
      release()
      return
    }
    assert(this.held === 0 || seq >= (this.#seqs.at(-1) ?? 0), 'outputs are held in record order (G1)')
    this.#seqs.push(seq)
    this.#releases.push(release)
  }

  /** Opens the gate up to `seq`. */
  open(seq: number): void {
    if (this.#closed) return
    assert(seq >= this.#durableSeq, 'durability never goes back (J1)')
    this.#durableSeq = seq
    while (this.#head < this.#seqs.length && (this.#seqs[this.#head] ?? 0) <= seq) {
      const release = this.#releases[this.#head] as () => void
      this.#head += 1
      release()
    }
    if (this.#head === this.#seqs.length) {
      this.#seqs = []
      this.#releases = []
      this.#head = 0
    }
  }

  /** Drops everything held (G3). */
  close(): void {
    this.#closed = true
    this.#seqs = []
    this.#releases = []
    this.#head = 0
  }
}

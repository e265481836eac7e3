/**
 * Slots, block heights, blockhashes and commitments of the local Solana chain, as a cluster counts them. A slot that a
 * fork dropped is never used again: it stays skipped, so a slot always has the same blockhash.
 */
import { createHash } from 'node:crypto'
import { getBase58Decoder } from '@solana/kit'

export type Commitment = 'processed' | 'confirmed' | 'finalized'

/** The slot the VM itself begins at; programs of the VM are not visible before it. */
export const FIRST_SLOT = 447_552_000
/** Blocks for which a transaction may use a blockhash, as on a cluster (MAX_PROCESSING_AGE). */
export const BLOCKHASH_LIFE_BLOCKS = 150
/** Blocks behind the newest one. */
const LAG_BLOCKS = { processed: 0, confirmed: 1, finalized: 32 } as const
export const FINAL_AFTER_BLOCKS = LAG_BLOCKS.finalized

/** From slot `from` to slot `through`, both included. */
export interface SkippedSlots {
  readonly from: number
  readonly through: number
}

export class Slots {
  readonly #slotOfHash = new Map<string, number>()
  /** What was final once stays so, though a fork makes the chain shorter. */
  #final = FIRST_SLOT

  constructor(
    readonly genesisHash: string,
    private newest: number = FIRST_SLOT,
    readonly skipped: SkippedSlots[] = [],
  ) {
    for (const slot of this.#newestBlocks(BLOCKHASH_LIFE_BLOCKS + 1)) this.#slotOfHash.set(this.hashOf(slot), slot)
  }

  /** The slot whose block is open. */
  get current(): number {
    return this.newest
  }

  at(commitment: Commitment): number {
    const slot = this.#newestBlocks(LAG_BLOCKS[commitment] + 1).at(-1) ?? FIRST_SLOT
    return commitment === 'finalized' ? Math.max(slot, this.#final) : slot
  }

  heightOf(slot: number): number {
    let height = slot - FIRST_SLOT
    for (const { from, through } of this.skipped) {
      if (from <= slot) height -= Math.min(slot, through) - from + 1
    }
    return height
  }

  isSkipped(slot: number): boolean {
    return this.skipped.some(({ from, through }) => from <= slot && slot <= through)
  }

  hashOf(slot: number): string {
    return getBase58Decoder().decode(createHash('sha256').update(`${this.genesisHash}:${slot}`).digest())
  }

  /** Whether a transaction with this blockhash may land in the bank of that commitment. */
  accepts(blockhash: string, commitment: Commitment = 'processed'): boolean {
    const slot = this.#slotOfHash.get(blockhash)
    const bank = this.at(commitment)
    return slot !== undefined && slot <= bank && this.heightOf(bank) <= this.lastValidBlockHeight(slot)
  }

  lastValidBlockHeight(slot: number): number {
    return this.heightOf(slot) + BLOCKHASH_LIFE_BLOCKS
  }

  advance(): void {
    this.newest += 1
    this.#slotOfHash.set(this.hashOf(this.newest), this.newest)
    // Finality looks further back than the newest bank does, so hashes are kept as long as any bank may accept them.
    for (const [hash, slot] of this.#slotOfHash) {
      if (this.lastValidBlockHeight(slot) + FINAL_AFTER_BLOCKS >= this.heightOf(this.newest)) break
      this.#slotOfHash.delete(hash)
    }
  }

  /** Drops the newest `blocks` blocks and opens one after them; returns the first slot that is gone. */
  rollback(blocks: number): number {
    this.#final = this.at('finalized')
    const dropped = this.#newestBlocks(blocks)
    const from = dropped.at(-1) ?? this.newest
    for (const slot of dropped) this.#slotOfHash.delete(this.hashOf(slot))
    this.skipped.push({ from, through: this.newest })
    this.advance()
    return from
  }

  /** Newest first. */
  #newestBlocks(count: number): number[] {
    const blocks: number[] = []
    for (let slot = this.newest; slot >= FIRST_SLOT && blocks.length < count; slot -= 1) {
      if (!this.isSkipped(slot)) blocks.push(slot)
    }
    return blocks
  }
}

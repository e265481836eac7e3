/**
 * 64-bit keys to dense row numbers, without an object per key.
 *
 * K1 Rows count up from 0 in the order keys are added; a row never moves and never leaves.
 * K2 A key has one row.
 * K3 Growing copies one small sub-table, never the whole index, so no single `add` is long.
 *
 * A slot holds a 4-bit tag of the key's hash above row + 1 (0 = empty). The tag answers 15 of 16 comparisons without
 * reading the row, which at this size is a cache miss. Slots are filled by linear probing.
 */
import { assert } from '../../engine/assert.js'

const PAGE_BITS = 16
const PAGE_LENGTH = 1 << PAGE_BITS
const PAGE_MASK = PAGE_LENGTH - 1

const TAG_SHIFT = 28
const ROW_MASK = 2 ** TAG_SHIFT - 1
/** Rows one index can hold: what a slot has left beside its tag. */
export const KEY_ROWS_MAX = ROW_MASK

const TABLE_BITS = 12
const TABLES = 1 << TABLE_BITS
const LOAD_MAX = 0.8
const GROWTH = 1.5
const FIRST_SLOTS = 16

/** Stands for a sub-table that holds nothing yet; too small to be written to. */
const noSlots = new Uint32Array(1)

export class KeyIndex {
  /** Keys by row: hi and lo side by side, so that reading a key touches one cache line. */
  readonly #pages: Uint32Array[] = []
  readonly #tables: Uint32Array[] = new Array<Uint32Array>(TABLES).fill(noSlots)
  readonly #used = new Uint32Array(TABLES)
  #size = 0
  #slots = 0

  get size(): number {
    return this.#size
  }

  /** Memory held by keys and slots, in bytes. */
  get bytes(): number {
    return this.#pages.length * PAGE_LENGTH * 8 + this.#slots * 4
  }

  hi(row: number): number {
    return this.#pageOf(row)[(row & PAGE_MASK) << 1] as number
  }

  lo(row: number): number {
    return this.#pageOf(row)[((row & PAGE_MASK) << 1) | 1] as number
  }

  /** The row of a key (two unsigned 32-bit halves), or -1. */
  find(hi: number, lo: number): number {
    const mixed = mixForTable(hi, lo)
    const slots = this.#tables[mixed >>> (32 - TABLE_BITS)] as Uint32Array
    const at = this.#probe(slots, mixed, hi, lo)
    return ((slots[at] as number) & ROW_MASK) - 1
  }

  /** Adds a key that is not there yet (K2); returns its row (K1). */
  add(hi: number, lo: number): number {
    const row = this.#size
    assert(row < KEY_ROWS_MAX, 'the key index is full')
    const mixed = mixForTable(hi, lo)
    const table = mixed >>> (32 - TABLE_BITS)
    const used = (this.#used[table] as number) + 1
    let slots = this.#tables[table] as Uint32Array
    if (used > slots.length * LOAD_MAX) slots = this.#grow(table, nextLength(slots.length, table))
    const at = this.#probe(slots, mixed, hi, lo)
    assert(slots[at] === 0, 'the key is already in the index')
    slots[at] = tagOf(mixed) | (row + 1)
    this.#used[table] = used
    this.#writeKey(row, hi, lo)
    this.#size = row + 1
    return row
  }

  /** Makes room for `size` keys in all, so that adding them grows (almost) nothing. */
  reserve(size: number): void {
    const perTable = size / TABLES / LOAD_MAX
    for (let table = 0; table < TABLES; table++) {
      const now = (this.#tables[table] as Uint32Array).length
      let length = now
      while (length < perTable) length = nextLength(length, table)
      if (length > now) this.#grow(table, length)
    }
  }

  /** The slot that holds the key, or the empty slot where it belongs. */
  #probe(slots: Uint32Array, mixed: number, hi: number, lo: number): number {
    const tag = mixed << TAG_SHIFT
    const length = slots.length
    let at = firstSlot(hi, lo, length)
    for (;;) {
      const slot = slots[at] as number
      if (slot === 0) return at
      if ((slot ^ tag) >>> TAG_SHIFT === 0 && this.#holds((slot & ROW_MASK) - 1, hi, lo)) return at
      if (++at === length) at = 0
    }
  }

  #holds(row: number, hi: number, lo: number): boolean {
    const page = this.#pages[row >>> PAGE_BITS] as Uint32Array
    const at = (row & PAGE_MASK) << 1
    return page[at] === hi && page[at + 1] === lo
  }

  #pageOf(row: number): Uint32Array {
    assert(row >= 0 && row < this.#size, 'there is no such row')
    return this.#pages[row >>> PAGE_BITS] as Uint32Array
  }

  #writeKey(row: number, hi: number, lo: number): void {
    if ((row & PAGE_MASK) === 0) this.#pages.push(new Uint32Array(PAGE_LENGTH * 2))
    const page = this.#pages[row >>> PAGE_BITS] as Uint32Array
    const at = (row & PAGE_MASK) << 1
    page[at] = hi
    page[at + 1] = lo
  }

  /** K3: only the keys of this sub-table are read again. */
  #grow(table: number, length: number): Uint32Array {
    const before = this.#tables[table] as Uint32Array
    const after = new Uint32Array(length)
    for (const slot of before) {
      if (slot === 0) continue
      const row = (slot & ROW_MASK) - 1
      const page = this.#pages[row >>> PAGE_BITS] as Uint32Array
      const key = (row & PAGE_MASK) << 1
      let at = firstSlot(page[key] as number, page[key + 1] as number, length)
      while (after[at] !== 0) if (++at === length) at = 0
      after[at] = slot
    }
    this.#tables[table] = after
    this.#slots += length - (before === noSlots ? 0 : before.length)
    return after
  }
}

/**
 * Lengths grow by half, from a start that differs by sub-table: keys spread evenly, so equal lengths would all grow,
 * and all be at their emptiest, together.
 */
function nextLength(length: number, table: number): number {
  return length === 1 ? Math.floor(FIRST_SLOTS * GROWTH ** (table / TABLES)) : Math.ceil(length * GROWTH)
}

/** Picks the sub-table (high bits) and the tag (low bits). Keys need not be uniform: both mixers stir every bit. */
function mixForTable(hi: number, lo: number): number {
  return stir(Math.imul(hi ^ (hi >>> 15), 0x2c1b3c6d) ^ lo) >>> 0
}

/** Independent of {@link mixForTable}, so that keys sharing a sub-table spread over it. */
function firstSlot(hi: number, lo: number, length: number): number {
  const mixed = stir((Math.imul(lo, 0x9e3779b1) + Math.imul(hi ^ (hi >>> 16), 0x297a2d39)) | 0)
  return Math.floor((mixed >>> 0) * length * 2 ** -32)
}

function tagOf(mixed: number): number {
  return mixed << TAG_SHIFT
}

/** The finalizer of MurmurHash3. */
function stir(bits: number): number {
  let mixed = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
  return mixed ^ (mixed >>> 16)
}

/** A column of numbers beside a {@link KeyIndex}, in pages, so that growing never copies. Unwritten cells read 0. */
export class Column<Page extends Uint8Array | Uint32Array> {
  readonly #pages: Page[] = []
  readonly #newPage: (length: number) => Page

  constructor(newPage: (length: number) => Page) {
    this.#newPage = newPage
  }

  /** Memory held, in bytes. */
  get bytes(): number {
    return this.#pages.reduce((sum, page) => sum + page.byteLength, 0)
  }

  get(row: number): number {
    return this.#pages[row >>> PAGE_BITS]?.[row & PAGE_MASK] ?? 0
  }

  set(row: number, value: number): void {
    this.#pageOf(row)[row & PAGE_MASK] = value
  }

  write(firstRow: number, values: Page): void {
    for (let done = 0; done < values.length; ) {
      const row = firstRow + done
      const part = values.subarray(done, done + PAGE_LENGTH - (row & PAGE_MASK))
      this.#pageOf(row).set(part, row & PAGE_MASK)
      done += part.length
    }
  }

  /** A copy. */
  read(firstRow: number, count: number): Page {
    const values = this.#newPage(count)
    for (let done = 0; done < count; ) {
      const row = firstRow + done
      const length = Math.min(count - done, PAGE_LENGTH - (row & PAGE_MASK))
      const part = this.#pages[row >>> PAGE_BITS]?.subarray(row & PAGE_MASK, (row & PAGE_MASK) + length)
      if (part !== undefined) values.set(part, done)
      done += length
    }
    return values
  }

  #pageOf(row: number): Page {
    while (this.#pages.length <= row >>> PAGE_BITS) this.#pages.push(this.#newPage(PAGE_LENGTH))
    return this.#pages[row >>> PAGE_BITS] as Page
  }
}

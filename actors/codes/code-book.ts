/**
 * All QR codes, without an object per code: a key index and one byte each.
 *
 * C1 The book changes only by deltas, which a turn has checked before; a delta that breaks a rule is a bug and stops
 *    the shard before it changes a status.
 * C2 A code is in the book once (BJ-QR-02), in one chunk of one batch. Rows, chunks and their order never change, so
 *    a row in a journaled delta means the same code for ever.
 * C3 Statuses move only as BJ-QR-05 allows; a scanned code never leaves that status (BJ-SCAN-03).
 * C4 Counts equal the statuses at all times.
 */
import { AssertionError, assert, unreachable } from '../../engine/assert.js'
import type { Table } from '../../engine/table.js'
import { Column, KeyIndex } from '../shared/key-index.js'
import { formatCode } from './code-text.js'

/** In the order of their two bits. */
export const codeStatuses = ['generated', 'manufactured', 'scanned', 'invalidated'] as const
export type CodeStatus = (typeof codeStatuses)[number]
export type CodeCounts = Readonly<Record<CodeStatus, number>>

/** Going back to `generated` is the reuse of an unused code (BJ-QR-08). */
const mayFollow: Readonly<Record<CodeStatus, readonly CodeStatus[]>> = {
  generated: ['manufactured', 'invalidated'],
  manufactured: ['scanned', 'invalidated', 'generated'],
  scanned: [],
  invalidated: ['generated'],
}

/** Codes in one chunk, hence in one append. An append takes well under a microsecond a code, all in one turn. */
export const CHUNK_CODES_MAX = 10_000
/** Device fingerprints are 1 to this; 0 means none is known. */
export const DEVICE_FINGERPRINT_MAX = 63

export type CodeDelta =
  /** Eight bytes a code: hi and lo, big-endian. */
  | { readonly op: 'append'; readonly batch: number; readonly codes: Uint8Array }
  /** Rows as ascending runs: first, count, first, count, … */
  | { readonly op: 'status'; readonly runs: readonly number[]; readonly status: Exclude<CodeStatus, 'scanned'> }
  | { readonly op: 'scanned'; readonly row: number; readonly device: number }

/** Consecutive rows of one batch. */
export interface CodeChunk {
  readonly firstRow: number
  readonly count: number
  readonly batch: number
}

interface Batch {
  readonly counts: Record<CodeStatus, number>
  readonly chunks: CodeChunk[]
}

const CODE_BYTES = 8
const STATUS_MASK = 3
const DEVICE_SHIFT = 2
const SCANNED = codeStatuses.indexOf('scanned')

export class CodeBook implements Table<CodeDelta> {
  readonly name = 'codes'
  readonly #keys = new KeyIndex()
  /** By row: status in the low two bits, device fingerprint of the accepted scan above. */
  readonly #states = new Column<Uint8Array>((length) => new Uint8Array(length))
  readonly #chunks: CodeChunk[] = []
  readonly #batches = new Map<number, Batch>()

  get size(): number {
    return this.#keys.size
  }

  /** Memory held by codes and their states, in bytes. */
  get bytes(): number {
    return this.#keys.bytes + this.#states.bytes
  }

  get chunkCount(): number {
    return this.#chunks.length
  }

  /** The row of a code, or -1. */
  find(hi: number, lo: number): number {
    return this.#keys.find(hi, lo)
  }

  /** The text of the code in a row. */
  code(row: number): string {
    return formatCode(this.#keys.hi(row), this.#keys.lo(row))
  }

  status(row: number): CodeStatus {
    return codeStatuses[this.#state(row) & STATUS_MASK] as CodeStatus
  }

  /** Fingerprint of the device whose scan was accepted, 0 if none. */
  device(row: number): number {
    return this.#state(row) >>> DEVICE_SHIFT
  }

  /** Whether a delta may give this row that status now. */
  mayBecome(row: number, status: CodeStatus): boolean {
    return mayFollow[this.status(row)].includes(status)
  }

  batchOf(row: number): number {
    return this.chunk(this.chunkOf(row)).batch
  }

  batchCounts(batch: number): CodeCounts {
    return { ...(this.#batches.get(batch)?.counts ?? noCounts()) }
  }

  /** The rows of a batch in the order they were added. */
  *rowsOf(batch: number): Generator<number, void, undefined> {
    for (const { firstRow, count } of this.#batches.get(batch)?.chunks ?? []) {
      for (let row = firstRow; row < firstRow + count; row++) yield row
    }
  }

  chunk(number: number): CodeChunk {
    const chunk = this.#chunks[number]
    assert(chunk !== undefined, 'there is no such chunk of codes')
    return chunk
  }

  /** The number of the chunk a row is in. */
  chunkOf(row: number): number {
    assert(Number.isInteger(row) && row >= 0 && row < this.size, 'there is no code in this row')
    let low = 0
    let high = this.#chunks.length - 1
    while (low < high) {
      const middle = (low + high + 1) >>> 1
      if (this.chunk(middle).firstRow <= row) low = middle
      else high = middle - 1
    }
    return low
  }

  /** Those of the codes ([hi, lo, …]) that are neither in the book nor repeated, packed for an `append` (C2). */
  fresh(codes: Uint32Array): Uint8Array {
    const packed = new Uint8Array(codes.length * 4)
    const view = new DataView(packed.buffer)
    const seen = new KeyIndex()
    for (let at = 0; at < codes.length; at += 2) {
      const hi = codes[at] as number
      const lo = codes[at + 1] as number
      if (this.#keys.find(hi, lo) >= 0 || seen.find(hi, lo) >= 0) continue
      const row = seen.add(hi, lo)
      view.setUint32(row * CODE_BYTES, hi)
      view.setUint32(row * CODE_BYTES + 4, lo)
    }
    return packed.subarray(0, seen.size * CODE_BYTES)
  }

  apply(delta: CodeDelta): void {
    switch (delta.op) {
      case 'append':
        this.#addChunk(delta.batch, delta.codes)
        break
      case 'status':
        this.#setStatus(delta.runs, delta.status)
        break
      case 'scanned':
        this.#setScanned(delta.row, delta.device)
        break
      default:
        unreachable(delta)
    }
  }

  /** Makes room for `size` codes in all, before they are restored. */
  reserve(size: number): void {
    this.#keys.reserve(size)
  }

  /** Puts back what {@link chunkCodes} and {@link chunkStatuses} gave, chunk by chunk in their order. */
  restoreChunk(batch: number, codes: Uint8Array, statuses: Uint8Array): void {
    assert(statuses.length * CODE_BYTES === codes.length, 'a chunk has one status byte a code')
    const chunk = this.#addChunk(batch, codes)
    const { counts } = this.#batch(batch)
    counts.generated -= chunk.count
    for (const state of statuses) {
      const whole = state <= STATUS_MASK || (state & STATUS_MASK) === SCANNED
      assert(whole, 'a status byte names a device for a code that is not scanned')
      counts[codeStatuses[state & STATUS_MASK] as CodeStatus]++
    }
    this.#states.write(chunk.firstRow, statuses)
  }

  /** The codes of a chunk, eight bytes each. They never change. */
  chunkCodes(number: number): Uint8Array {
    const { firstRow, count } = this.chunk(number)
    const codes = new Uint8Array(count * CODE_BYTES)
    const view = new DataView(codes.buffer)
    for (let at = 0; at < count; at++) {
      view.setUint32(at * CODE_BYTES, this.#keys.hi(firstRow + at))
      view.setUint32(at * CODE_BYTES + 4, this.#keys.lo(firstRow + at))
    }
    return codes
  }

  /** A copy of the status bytes (status and device) of a chunk. */
  chunkStatuses(number: number): Uint8Array {
    const { firstRow, count } = this.chunk(number)
    return this.#states.read(firstRow, count)
  }

  #state(row: number): number {
    assert(Number.isInteger(row) && row >= 0 && row < this.size, 'there is no code in this row')
    return this.#states.get(row)
  }

  #batch(number: number): Batch {
    let batch = this.#batches.get(number)
    if (batch === undefined) {
      batch = { counts: noCounts(), chunks: [] }
      this.#batches.set(number, batch)
    }
    return batch
  }

  #addChunk(batch: number, codes: Uint8Array): CodeChunk {
    const count = codes.length / CODE_BYTES
    assert(Number.isInteger(count) && count > 0 && count <= CHUNK_CODES_MAX, `a chunk cannot hold ${count} codes`)
    const chunk = { firstRow: this.size, count, batch }
    const view = new DataView(codes.buffer, codes.byteOffset, codes.byteLength)
    for (let at = 0; at < codes.length; at += CODE_BYTES) {
      this.#keys.add(view.getUint32(at), view.getUint32(at + 4))
    }
    const { counts, chunks } = this.#batch(batch)
    counts.generated += count
    chunks.push(chunk)
    this.#chunks.push(chunk)
    return chunk
  }

  #setStatus(runs: readonly number[], status: CodeStatus): void {
    this.#checkRuns(runs, status)
    const state = codeStatuses.indexOf(status)
    for (const [firstRow, endRow] of pairs(runs)) {
      for (let row = firstRow; row < endRow; ) {
        const chunk = this.chunk(this.chunkOf(row))
        const chunkEnd = Math.min(endRow, chunk.firstRow + chunk.count)
        const { counts } = this.#batch(chunk.batch)
        counts[status] += chunkEnd - row
        for (; row < chunkEnd; row++) {
          counts[this.status(row)]--
          this.#states.set(row, state)
        }
      }
    }
  }

  /** C1: all rows are checked before the first one changes. */
  #checkRuns(runs: readonly number[], status: CodeStatus): void {
    let free = 0
    for (const [firstRow, endRow] of pairs(runs)) {
      assert(firstRow >= free && endRow > firstRow, 'runs of rows must ascend and not overlap')
      for (let row = firstRow; row < endRow; row++) this.#checkMayBecome(row, status)
      free = endRow
    }
  }

  #setScanned(row: number, device: number): void {
    this.#checkMayBecome(row, 'scanned')
    assert(device >= 0 && device <= DEVICE_FINGERPRINT_MAX, 'a device fingerprint has six bits')
    const { counts } = this.#batch(this.batchOf(row))
    counts[this.status(row)]--
    counts.scanned++
    this.#states.set(row, SCANNED | (device << DEVICE_SHIFT))
  }

  /** C3 */
  #checkMayBecome(row: number, status: CodeStatus): void {
    if (this.mayBecome(row, status)) return
    throw new AssertionError(`the code in row ${row} is ${this.status(row)}, it cannot become ${status}`)
  }
}

/** Rows in any order, repeats dropped, as the runs a `status` delta takes. */
export function runsOf(rows: Iterable<number>): number[] {
  const runs: number[] = []
  let endRow = -1
  for (const row of Uint32Array.from(rows).sort()) {
    if (row === endRow) runs[runs.length - 1] = (runs.at(-1) as number) + 1
    else if (row > endRow) runs.push(row, 1)
    endRow = row + 1
  }
  return runs
}

/** A device id as 1 to 63: enough to notice that a code was tried on another device, now and then missing it. */
export function deviceFingerprint(deviceId: string): number {
  let hash = 0x811c9dc5
  for (let at = 0; at < deviceId.length; at++) hash = Math.imul(hash ^ deviceId.charCodeAt(at), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d)
  return (((hash ^ (hash >>> 16)) >>> 0) % DEVICE_FINGERPRINT_MAX) + 1
}

/** Runs as [first row, row after the last]. */
function* pairs(runs: readonly number[]): Generator<[number, number], void, undefined> {
  for (let at = 0; at < runs.length; at += 2) {
    const firstRow = runs[at] as number
    yield [firstRow, firstRow + (runs[at + 1] ?? 0)]
  }
}

function noCounts(): Record<CodeStatus, number> {
  return { generated: 0, manufactured: 0, scanned: 0, invalidated: 0 }
}

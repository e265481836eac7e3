import type { CodeBook } from '../../actors/codes/code-book.js'
import { assert } from '../../engine/assert.js'
import type { Sql, Transaction } from '../postgres/connection.js'
import { eachScan, packedScans } from '../scanned-codes.js'

/** Fills an empty code book from the chunks, and from the scans that are not yet folded into them. */
export async function restoreCodeBook(sql: Sql | Transaction, book: CodeBook): Promise<void> {
  const [size] = await sql<{ codes: number }[]>`
    select coalesce(max(first_row + code_count), 0)::int as codes from qr_code_chunks`
  const codes = size?.codes ?? 0
  const scanned = await readScanned(sql, codes)
  book.reserve(codes)
  await sql<{ batch_id: number; first_row: number; codes: Uint8Array; statuses: Uint8Array }[]>`
    select batch_id, first_row, codes, statuses from qr_code_chunks order by chunk`.forEach((chunk) => {
    const { batch_id, first_row, statuses } = chunk
    assert(first_row === book.size, `the code chunk at row ${first_row} follows row ${book.size}: one is missing`)
    overlay(statuses, scanned.subarray(first_row, first_row + statuses.length))
    book.restoreChunk(batch_id, chunk.codes, statuses)
  })
}

/** By row of the code book: its status byte if a scan that may not be folded used it up, else 0. */
async function readScanned(sql: Sql | Transaction, codes: number): Promise<Uint8Array> {
  const scanned = new Uint8Array(codes)
  const [ends] = await sql<{ folded: bigint; last: bigint }[]>`
    select coalesce((select folded_ordinal from code_fold_mark), 0) as folded,
      coalesce((select max(ordinal) from scans), 0) as last`
  const { folded, last } = ends ?? { folded: 0n, last: 0n }
  await sql.unsafe<{ packed: Buffer }[]>(packedScans, [folded, last]).forEach(({ packed }) => {
    eachScan(packed, (codeRow, state) => {
      assert(codeRow >= 0 && codeRow < codes, `a scan names row ${codeRow}, the code book has ${codes}`)
      scanned[codeRow] = state
    })
  })
  return scanned
}

function overlay(statuses: Uint8Array, scanned: Uint8Array): void {
  for (let at = 0; at < statuses.length; at++) {
    const state = scanned[at] as number
    if (state !== 0) statuses[at] = state
  }
}

import { type CodeBook, codeStatuses } from '../../actors/codes/code-book.js'
import { assert } from '../../engine/assert.js'
import type { Sql, Transaction } from '../postgres/connection.js'

const SCANNED = codeStatuses.indexOf('scanned')
const DEVICE_SHIFT = 2
/** Scans packed into one row of the answer; each is four bytes of row and two of device. */
const SCANS_PER_ROW = 8_192
const SCAN_BYTES = 6

/** Fills an empty code book from the chunks, and from the scans, which say which codes are used up. */
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

/** By row of the code book: its status and device if it was scanned, else 0. */
async function readScanned(sql: Sql | Transaction, codes: number): Promise<Uint8Array> {
  const scanned = new Uint8Array(codes)
  const note = (codeRow: number, device: number) => {
    assert(codeRow >= 0 && codeRow < codes, `a scan names row ${codeRow}, the code book has ${codes}`)
    scanned[codeRow] = SCANNED | (device << DEVICE_SHIFT)
  }
  await sql<{ packed: Buffer }[]>`
    select string_agg(int4send(code_row) || int2send(device_fingerprint), '') as packed from scans
    group by ordinal / ${SCANS_PER_ROW}::bigint`.forEach(({ packed }) => {
    for (let at = 0; at < packed.length; at += SCAN_BYTES) note(packed.readInt32BE(at), packed.readInt16BE(at + 4))
  })
  // A scan whose row Postgres refused has used up its code all the same (P3).
  const parked = await sql<{ code_row: number; device: number }[]>`
    select (found.row ->> found.code_row)::int as code_row, (found.row ->> found.device)::int as device
    from (
      select row, 'code_row' as code_row, 'device_fingerprint' as device from dead_letters
      where table_name = 'scans' and resolved_at is null
      union all
      select row, 'codeRow', 'deviceFingerprint' from dead_letters
      where table_name = 'fact scan.accepted' and resolved_at is null
    ) found
    where found.row ->> found.code_row ~ '^[0-9]+$' and found.row ->> found.device ~ '^-?[0-9]+$'`
  for (const { code_row, device } of parked) note(code_row, device)
  return scanned
}

function overlay(statuses: Uint8Array, scanned: Uint8Array): void {
  for (let at = 0; at < statuses.length; at++) {
    const state = scanned[at] as number
    if (state !== 0) statuses[at] = state
  }
}

/** Which codes are used up, as Postgres tells it: by scans, and by scans whose rows it refused. */
import { codeStatuses, DEVICE_FINGERPRINT_MAX } from '../actors/codes/code-book.js'

const SCANNED = codeStatuses.indexOf('scanned')
const DEVICE_SHIFT = 2
/** Scans packed into one row of the answer; each is four bytes of code row and two of device. */
const SCANS_PER_ROW = 8_192
const SCAN_BYTES = 6

/** A scan whose row Postgres refused has used up its code all the same (P3). */
const parkedScans = `
  select (found.row ->> found.code_row)::int as code_row, (found.row ->> found.device)::int as device
  from (
    select row, 'code_row' as code_row, 'device_fingerprint' as device from dead_letters
    where table_name = 'scans' and resolved_at is null
    union all
    select row, 'codeRow', 'deviceFingerprint' from dead_letters
    where table_name = 'fact scan.accepted' and resolved_at is null
  ) found
  where found.row ->> found.code_row ~ '^[0-9]{1,9}$' and found.row ->> found.device ~ '^-?[0-9]{1,9}$'`

/**
 * Scans with an ordinal above $1 and up to $2, and all that are parked, packed for {@link eachScan}. One statement, so
 * that a parked scan which is written after all meanwhile is seen in one place or the other.
 */
export const packedScans = `
  select string_agg(int4send(code_row) || int2send((device & ${DEVICE_FINGERPRINT_MAX})::int2), '') as packed
  from (
    select code_row, device_fingerprint as device, ordinal / ${SCANS_PER_ROW}::bigint as part from scans
    where ordinal > $1 and ordinal <= $2
    union all
    select code_row, device, null from (${parkedScans}) parked
  ) scanned
  group by part`

/** `onScan` gets the row of a code in the code book, and the status byte of that code since it was scanned. */
export function eachScan(packed: Buffer, onScan: (codeRow: number, state: number) => void): void {
  for (let at = 0; at < packed.length; at += SCAN_BYTES) {
    onScan(packed.readInt32BE(at), SCANNED | (packed.readInt16BE(at + 4) << DEVICE_SHIFT))
  }
}

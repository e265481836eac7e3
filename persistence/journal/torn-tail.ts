// Torn or damaged? A frame that cannot be read is one of two things (J2):
//
// - torn: the process or the machine died before its flush finished. Nobody was told of its records (J1), so
//   it is cut. The evidence: it is the very last thing in the journal, and part of it never reached the disk,
//   so that the file ends early or whole disk sectors read as zeros.
// - damaged: anything else. Its records may have been acknowledged, so the start stops.
//
// What makes the evidence hold: one flush is in flight at a time, so bytes after a frame prove it was durable;
// fdatasync covers the file size, so an acknowledged frame is never short; the header vouches for the length by
// a checksum of its own; and it says how many sectors its frame fills with zeros by right. When in doubt, damaged.
import {
  countZeroSectors,
  decodeFrameHeader,
  FRAME_BYTES_MAX,
  FRAME_HEADER_BYTES,
  type FrameHeader,
  SECTOR_BYTES,
  SEGMENT_HEADER_BYTES,
} from './format.js'

/** Returns null when the rest of a segment from `fileOffset` on, where `nextSeq` is due, is torn; else the damage. */
export async function damageOfTail(
  tail: { readonly fileOffset: number; readonly bytes: number; readonly nextSeq: number },
  read: (fileOffset: number, bytes: number) => Promise<Buffer>,
): Promise<string | null> {
  if (tail.bytes < FRAME_HEADER_BYTES) return null
  const start = await read(tail.fileOffset, FRAME_HEADER_BYTES)
  const header = decodeFrameHeader(start, 0)
  if (header === null) return damageOfUnknown(tail, read)
  if (header.firstSeq !== tail.nextSeq) return `a frame of record ${header.firstSeq} stands here`
  if (FRAME_HEADER_BYTES + header.payloadLength > tail.bytes) return null
  return damageOfPayload(header, tail, read)
}

async function damageOfPayload(
  header: FrameHeader,
  tail: { readonly fileOffset: number; readonly bytes: number },
  read: (fileOffset: number, bytes: number) => Promise<Buffer>,
): Promise<string | null> {
  const damage = 'the payload does not match its checksum'
  const bytes = FRAME_HEADER_BYTES + header.payloadLength
  if (tail.bytes > bytes) return damage
  const zeroSectors = countZeroSectors(await read(tail.fileOffset, bytes), tail.fileOffset)
  return zeroSectors > header.zeroSectors ? null : damage
}

/** The header itself is unreadable: torn only if its sector never arrived and no later frame is to be found. */
async function damageOfUnknown(
  tail: { readonly fileOffset: number; readonly bytes: number; readonly nextSeq: number },
  read: (fileOffset: number, bytes: number) => Promise<Buffer>,
): Promise<string | null> {
  const damage = 'the frame header does not match its checksum'
  if (tail.bytes > FRAME_BYTES_MAX) return damage
  const rest = await read(tail.fileOffset, tail.bytes)
  const headerSectors = rest.subarray(0, Math.min(rest.length, sectorsEnd(tail.fileOffset) - tail.fileOffset))
  if (countZeroSectors(headerSectors, tail.fileOffset) === 0) return damage
  return hasFrameAfter(rest, tail.nextSeq) ? damage : null
}

/** Where the last sector that the frame header at `fileOffset` touches ends. */
function sectorsEnd(fileOffset: number): number {
  return Math.ceil((fileOffset + FRAME_HEADER_BYTES) / SECTOR_BYTES) * SECTOR_BYTES
}

function hasFrameAfter(rest: Buffer, nextSeq: number): boolean {
  for (let at = 1; at + FRAME_HEADER_BYTES <= rest.length; at += 1) {
    const header = decodeFrameHeader(rest, at)
    if (header !== null && header.firstSeq > nextSeq) return true
  }
  return false
}

/**
 * Whether the newest file holds no more than what a crash while creating it leaves: nothing, zeros, or the
 * beginning of the header it was to get. That header is synced before the first frame is written.
 */
export function isTornSegment(bytes: Buffer, expectedHeader: Buffer): boolean {
  if (bytes.length > SEGMENT_HEADER_BYTES) return false
  if (bytes.every((byte) => byte === 0)) return true
  return bytes.length < SEGMENT_HEADER_BYTES && expectedHeader.subarray(0, bytes.length).equals(bytes)
}

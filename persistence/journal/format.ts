// The bytes of a journal file (J2): a segment header, then one frame per flushed batch.
//
//   segment header          frame header                    payload
//    0 magic, 8 bytes        0 magic u16, 2 version u16      recordCount times:
//    8 crc32c of 12..64      4 crc32c of 8..64                 u32 length, body
//   12 version u32           8 payloadLength u32
//   16 firstSeq u64         12 crc32c of the payload
//   24 zero                 16 recordCount u32
//   32 chain before         20 zeroSectors u32
//                           24 firstSeq u64
//                           32 chain = sha256(chain before || payload)
//
// The header has a checksum of its own so that its length can be believed before the payload is there:
// that is what tells a frame cut short from one whose length was altered. All integers are little-endian.
import { createHash } from 'node:crypto'
import { crc32c } from '@node-rs/crc32'

export const FORMAT_VERSION = 1
export const SEGMENT_HEADER_BYTES = 64
export const FRAME_HEADER_BYTES = 64
export const RECORD_PREFIX_BYTES = 4
/** The largest payload of one frame, and with its prefix the largest record. */
export const PAYLOAD_BYTES_MAX = 16 * 1024 * 1024
export const FRAME_BYTES_MAX = FRAME_HEADER_BYTES + PAYLOAD_BYTES_MAX
/** What stands in for the chain before the first record. */
export const GENESIS_CHAIN: Buffer = Buffer.alloc(32)

const SEGMENT_MAGIC = Buffer.from('COMPJRNL', 'latin1')
const FRAME_MAGIC = 0x4a46
const CHAIN_AT = 32
export const SECTOR_BYTES = 512
const SECTOR_OF_ZEROS = Buffer.alloc(SECTOR_BYTES)
const SEGMENT_NAME = /^(\d{16})\.journal$/

/** File name of the segment whose first record is `firstSeq`; names sort in record order. */
export function segmentName(firstSeq: number): string {
  return `${String(firstSeq).padStart(16, '0')}.journal`
}

/** The first record of the segment called `name`, or null if that is no segment. */
export function segmentFirstSeq(name: string): number | null {
  const digits = SEGMENT_NAME.exec(name)?.[1]
  return digits === undefined ? null : Number(digits)
}

export interface SegmentHeader {
  readonly firstSeq: number
  /** The chain after the last record of the segment before. */
  readonly chain: Buffer
}

export function encodeSegmentHeader(header: SegmentHeader): Buffer {
  const bytes = Buffer.alloc(SEGMENT_HEADER_BYTES)
  SEGMENT_MAGIC.copy(bytes)
  bytes.writeUInt32LE(FORMAT_VERSION, 12)
  bytes.writeBigUInt64LE(BigInt(header.firstSeq), 16)
  header.chain.copy(bytes, CHAIN_AT)
  bytes.writeUInt32LE(crc32c(bytes.subarray(12)), 8)
  return bytes
}

/** Decodes a segment header; a string says what is wrong with it. */
export function decodeSegmentHeader(bytes: Buffer): SegmentHeader | string {
  if (bytes.length < SEGMENT_HEADER_BYTES) return 'the segment header is incomplete'
  if (!bytes.subarray(0, 8).equals(SEGMENT_MAGIC)) return 'this is no journal segment'
  if (crc32c(bytes.subarray(12, SEGMENT_HEADER_BYTES)) !== bytes.readUInt32LE(8)) {
    return 'the segment header does not match its checksum'
  }
  const version = bytes.readUInt32LE(12)
  if (version !== FORMAT_VERSION) return `format version ${version}, this program reads ${FORMAT_VERSION}`
  const chain = Buffer.from(bytes.subarray(CHAIN_AT, SEGMENT_HEADER_BYTES))
  return { firstSeq: Number(bytes.readBigUInt64LE(16)), chain }
}

export interface FrameHeader {
  readonly payloadLength: number
  readonly payloadCrc: number
  readonly recordCount: number
  /** How many of the disk sectors the frame touches it fills with zeros only; see torn-tail.ts. */
  readonly zeroSectors: number
  readonly firstSeq: number
}

/** The frame header at `at`, or null when there is none that can be believed. */
export function decodeFrameHeader(bytes: Buffer, at: number): FrameHeader | null {
  if (bytes.readUInt16LE(at) !== FRAME_MAGIC || bytes.readUInt16LE(at + 2) !== FORMAT_VERSION) return null
  if (crc32c(bytes.subarray(at + 8, at + FRAME_HEADER_BYTES)) !== bytes.readUInt32LE(at + 4)) return null
  const payloadLength = bytes.readUInt32LE(at + 8)
  if (payloadLength > PAYLOAD_BYTES_MAX) return null
  return {
    payloadLength,
    payloadCrc: bytes.readUInt32LE(at + 12),
    recordCount: bytes.readUInt32LE(at + 16),
    zeroSectors: bytes.readUInt32LE(at + 20),
    firstSeq: Number(bytes.readBigUInt64LE(at + 24)),
  }
}

/**
 * Fills in the header of `frame` (header space, then payload) that will be written at `fileOffset`.
 * Returns the new chain.
 */
export function sealFrame(
  frame: Buffer,
  facts: { firstSeq: number; recordCount: number; chain: Buffer; fileOffset: number },
): Buffer {
  frame.writeUInt16LE(FRAME_MAGIC, 0)
  frame.writeUInt16LE(FORMAT_VERSION, 2)
  frame.writeUInt32LE(frame.length - FRAME_HEADER_BYTES, 8)
  frame.writeUInt32LE(crc32c(frame.subarray(FRAME_HEADER_BYTES)), 12)
  frame.writeUInt32LE(facts.recordCount, 16)
  frame.writeBigUInt64LE(BigInt(facts.firstSeq), 24)
  const chain = writeChain(frame, facts.chain)
  frame.writeUInt32LE(countZeroSectors(frame, facts.fileOffset), 20)
  frame.writeUInt32LE(crc32c(frame.subarray(8, FRAME_HEADER_BYTES)), 4)
  return chain
}

/** Computes the chain of `frame` and leaves it in its header; the field lies before the payload, so one hash does. */
function writeChain(frame: Buffer, chainBefore: Buffer): Buffer {
  chainBefore.copy(frame, CHAIN_AT)
  const chain = createHash('sha256').update(frame.subarray(CHAIN_AT)).digest()
  chain.copy(frame, CHAIN_AT)
  return chain
}

/** The chain after `frame`, or null when the frame does not follow `chainBefore`. Overwrites a wrong chain. */
export function verifyChain(frame: Buffer, chainBefore: Buffer): Buffer | null {
  const stored = Buffer.from(frame.subarray(CHAIN_AT, FRAME_HEADER_BYTES))
  const chain = writeChain(frame, chainBefore)
  return chain.equals(stored) ? chain : null
}

/** Whether the payload of `frame` is exactly `recordCount` records. */
export function recordsFit(frame: Buffer, recordCount: number): boolean {
  let at = FRAME_HEADER_BYTES
  for (let index = 0; index < recordCount; index += 1) {
    if (at + RECORD_PREFIX_BYTES > frame.length) return false
    at += RECORD_PREFIX_BYTES + frame.readUInt32LE(at)
  }
  return recordCount > 0 && at === frame.length
}

/** How many of the disk sectors that `bytes`, lying at `fileOffset`, touches it fills with zeros only. */
export function countZeroSectors(bytes: Buffer, fileOffset: number): number {
  let count = 0
  let from = 0
  while (from < bytes.length) {
    const to = Math.min(bytes.length, from + SECTOR_BYTES - ((fileOffset + from) % SECTOR_BYTES))
    if (bytes[from] === 0 && bytes.compare(SECTOR_OF_ZEROS, 0, to - from, from, to) === 0) count += 1
    from = to
  }
  return count
}

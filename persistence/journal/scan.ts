// Reads whole segments in order and checks that each continues the one before. The start, `journal verify` and
// `journal inspect` stand on it.
import { JournalDamagedError } from './errors.js'
import { type JournalFiles, readUpTo, withFile } from './files.js'
import { decodeSegmentHeader, encodeSegmentHeader, GENESIS_CHAIN, SEGMENT_HEADER_BYTES } from './format.js'
import { type Frame, type SegmentFile, SegmentReader } from './segment-reader.js'
import { isTornSegment } from './torn-tail.js'

/** Where the journal stands after some record. */
export interface Position {
  readonly nextSeq: number
  readonly chain: Buffer
}

export const GENESIS: Position = { nextSeq: 1, chain: GENESIS_CHAIN }

/** Where what is before a segment ends, and in which file that is. */
export interface SegmentEnd extends Position {
  readonly file: string
  /** Bytes of the file up to the end of its last whole frame. */
  readonly bytes: number
}

/** Where the oldest segment must begin; null when the ones before it were truncated. */
export function beforeOldest(oldest: SegmentFile): SegmentEnd | null {
  return oldest.firstSeq === GENESIS.nextSeq ? { ...GENESIS, file: oldest.path, bytes: 0 } : null
}

export interface SegmentScan extends SegmentEnd {
  /** Bytes after it that are a torn frame; only the newest segment may have any. */
  readonly tornBytes: number
  readonly lastFrame: Frame | null
}

/**
 * Reads a segment from end to end, handing each frame to `onFrame`. Throws JournalDamagedError, also when the
 * segment does not continue `before`, or ends in a torn frame though it is not the newest.
 */
export async function scanSegment(
  segment: SegmentFile,
  files: JournalFiles,
  expected: { readonly before: SegmentEnd | null; readonly isNewest: boolean },
  onFrame: (frame: Frame, chain: Buffer) => void = () => {},
): Promise<SegmentScan> {
  const reader = await SegmentReader.open(segment, files)
  try {
    if (expected.before !== null) checkContinues(reader, expected.before)
    let lastFrame: Frame | null = null
    for (let frame = await reader.nextFrame(); frame !== null; frame = await reader.nextFrame()) {
      lastFrame = frame
      onFrame(frame, reader.chain)
    }
    const { nextSeq, chain, fileOffset: bytes, tornBytes } = reader
    if (tornBytes > 0 && !expected.isNewest) throw reader.damage('the frame is cut short, yet a later segment exists')
    return { file: segment.path, nextSeq, chain, bytes, tornBytes, lastFrame }
  } finally {
    await reader.close()
  }
}

function checkContinues(reader: SegmentReader, before: SegmentEnd): void {
  if (reader.nextSeq !== before.nextSeq) {
    const what = `the segment ends here, yet the next one begins with record ${reader.nextSeq}`
    throw new JournalDamagedError(before.file, before.bytes, before.nextSeq, what)
  }
  if (!reader.chainBefore.equals(before.chain)) {
    throw new JournalDamagedError(
      reader.segment.path,
      0,
      before.nextSeq,
      'the segment does not continue the hash chain of the one before',
    )
  }
}

/**
 * If the newest segment is one whose creation a crash interrupted, its size in bytes; else null. `before` is where
 * the segments before it end, null when that is not known (they were truncated), and then nothing is torn.
 */
export async function tornSegmentBytes(
  segment: SegmentFile,
  files: JournalFiles,
  before: Position | null,
): Promise<number | null> {
  if (before === null || before.nextSeq !== segment.firstSeq) return null
  const bytes = await withFile(files, segment.path, (fd) => readUpTo(files, fd, 0, SEGMENT_HEADER_BYTES + 1))
  const expectedHeader = encodeSegmentHeader({ firstSeq: before.nextSeq, chain: before.chain })
  const isWhole = typeof decodeSegmentHeader(bytes) !== 'string'
  return !isWhole && isTornSegment(bytes, expectedHeader) ? bytes.length : null
}

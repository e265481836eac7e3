// Looking at a journal without changing it; a running server does not mind. What such a server is just writing
// shows as a torn tail.
import { readMark } from './durable-mark.js'
import { endsTooSoon, JournalDamagedError } from './errors.js'
import { type JournalFiles, nodeFiles } from './files.js'
import type { TornTail } from './recover.js'
import { beforeOldest, type Position, type SegmentEnd, scanSegment, tornSegmentBytes } from './scan.js'
import { listSegments, type SegmentFile, SegmentReader } from './segment-reader.js'

export interface SegmentDescription {
  readonly file: string
  readonly firstSeq: number
  /** firstSeq - 1 when the segment holds no record. */
  readonly lastSeq: number
  readonly frames: number
  readonly records: number
  /** Up to the end of the last whole frame. */
  readonly bytes: number
  /** A torn frame after it, or a segment whose creation was interrupted; cut at the next start. */
  readonly cutBytes: number
  /** The hash chain after the last record, in hex. */
  readonly chain: string
}

/** Verifies segment after segment, oldest first, and describes each. Throws JournalDamagedError. */
export async function* describeSegments(
  directory: string,
  files: JournalFiles = nodeFiles,
): AsyncGenerator<SegmentDescription> {
  const segments = await listSegments(directory, files)
  const newest = segments.at(-1)
  let before: SegmentEnd | null = segments[0] ? beforeOldest(segments[0]) : null
  for (const segment of segments) {
    const torn = segment === newest ? await tornSegmentBytes(segment, files, before) : null
    if (torn !== null && before !== null) {
      yield { ...describe(segment, before), frames: 0, bytes: 0, cutBytes: torn }
      return
    }
    let frames = 0
    const scan = await scanSegment(segment, files, { before, isNewest: segment === newest }, () => {
      frames += 1
    })
    yield { ...describe(segment, scan), frames, bytes: scan.bytes, cutBytes: scan.tornBytes }
    before = scan
  }
}

function describe({ path, firstSeq }: SegmentFile, end: Position) {
  const lastSeq = end.nextSeq - 1
  return { file: path, firstSeq, lastSeq, records: lastSeq - firstSeq + 1, chain: end.chain.toString('hex') }
}

export interface FrameDescription {
  readonly offset: number
  readonly bytes: number
  readonly firstSeq: number
  readonly lastSeq: number
  readonly records: number
  /** The hash chain after the last record, in hex. */
  readonly chain: string
}

/** Verifies and describes the frames of one segment, up to a torn one. Throws JournalDamagedError. */
export async function* describeFrames(
  segment: SegmentFile,
  files: JournalFiles = nodeFiles,
): AsyncGenerator<FrameDescription> {
  const reader = await SegmentReader.open(segment, files)
  try {
    for (let frame = await reader.nextFrame(); frame !== null; frame = await reader.nextFrame()) {
      const { firstSeq, recordCount: records, fileOffset: offset } = frame
      const chain = reader.chain.toString('hex')
      yield { offset, bytes: frame.bytes.length, firstSeq, lastSeq: firstSeq + records - 1, records, chain }
    }
  } finally {
    await reader.close()
  }
}

export interface VerifyProgress {
  readonly segments: number
  readonly records: number
  readonly bytes: number
}

export interface VerifyResult extends VerifyProgress {
  /** 0 when the journal is empty. */
  readonly firstSeq: number
  readonly lastSeq: number
  /** What the next start will cut off as torn. */
  readonly cutBytes?: number
  /** The first damage; what is counted lies before it. */
  readonly problem?: { readonly file: string; readonly offset: number; readonly seq: number; readonly what: string }
}

/** Reads and checks a whole journal. `onProgress` is called after each segment. */
export async function verifyJournal(
  directory: string,
  onProgress: (progress: VerifyProgress) => void = () => {},
  files: JournalFiles = nodeFiles,
): Promise<VerifyResult> {
  const result = { segments: 0, records: 0, bytes: 0, firstSeq: 0, lastSeq: 0 }
  try {
    const tail = await checkJournal(directory, files, (segment) => {
      result.segments += 1
      result.records += segment.records
      result.bytes += segment.bytes
      if (segment.records > 0) result.firstSeq ||= segment.firstSeq
      result.lastSeq = segment.lastSeq
      onProgress({ segments: result.segments, records: result.records, bytes: result.bytes })
    })
    return tail === null ? result : { ...result, cutBytes: tail.cutBytes }
  } catch (error) {
    const { file, offset, expectedSeq: seq, what } = asDamage(error)
    return { ...result, problem: { file, offset, seq, what } }
  }
}

/** Reads and checks a whole journal; returns its torn tail, if it has one. Throws JournalDamagedError. */
export async function checkJournal(
  directory: string,
  files: JournalFiles,
  onSegment: (segment: SegmentDescription) => void = () => {},
): Promise<TornTail | null> {
  // Before the segments: a running server moves both on.
  const mark = await readMark(directory, files).catch(asDamage)
  let end = { file: directory, offset: 0, cutBytes: 0, nextSeq: 1 }
  for await (const segment of describeSegments(directory, files)) {
    const { file, bytes: offset, cutBytes, lastSeq } = segment
    end = { file, offset, cutBytes, nextSeq: lastSeq + 1 }
    onSegment(segment)
  }
  if (mark instanceof JournalDamagedError) throw mark
  if (end.nextSeq <= mark) throw endsTooSoon(end, end.nextSeq, mark) // J5
  return end.cutBytes > 0 ? end : null
}

function asDamage(error: unknown): JournalDamagedError {
  if (error instanceof JournalDamagedError) return error
  throw error
}

// Opening a journal (J2): check every segment's header, verify the newest segment frame by frame, cut a torn tail,
// stop at damage.
//
// The last frame is then written once more and synced. It may have been read from the page cache only, after a
// crash between write and fdatasync or after a failed fdatasync, and is about to count as durable (J1).
import { endsTooSoon } from './errors.js'
import { type JournalFiles, withFile, writeWhole } from './files.js'
import { encodeSegmentHeader, SEGMENT_HEADER_BYTES } from './format.js'
import {
  beforeOldest,
  GENESIS,
  type Position,
  type SegmentEnd,
  type SegmentScan,
  scanSegment,
  tornSegmentBytes,
} from './scan.js'
import { listSegments, readSegmentHeader, type SegmentFile } from './segment-reader.js'
import { createSegment, type StoredSegment } from './segment-writer.js'

/** What a crash left behind and the start cut off; it was never acknowledged. */
export interface TornTail {
  readonly file: string
  readonly offset: number
  readonly cutBytes: number
  /** The record the next append gets instead. */
  readonly nextSeq: number
}

export interface Recovered extends Position {
  /** Oldest first. */
  readonly segments: StoredSegment[]
  /** The last of them, to append to. */
  readonly active: StoredSegment
  readonly fd: number
  readonly tail: TornTail | null
}

/**
 * Brings the journal in `directory` into a state to append to. `knownDurableSeq` is a record the caller knows to
 * have been durable: a journal that ends before it is damaged, and nothing of it is cut.
 */
export async function recover(directory: string, files: JournalFiles, knownDurableSeq: number): Promise<Recovered> {
  const segments = await listSegments(directory, files)
  for (const segment of segments.slice(0, -1)) await readSegmentHeader(segment, files)
  const { before, tornSegment } = await findTornSegment(segments, files)
  if (tornSegment !== null) segments.pop()
  const newest = segments.at(-1)
  const end = newest && (await scanSegment(newest, files, { before, isNewest: tornSegment === null }))
  const nextSeq = end?.nextSeq ?? GENESIS.nextSeq
  if (nextSeq <= knownDurableSeq) {
    const place = tornSegment ?? { file: newest?.path ?? directory, offset: end?.bytes ?? 0 }
    throw endsTooSoon(place, nextSeq, knownDurableSeq) // J5
  }
  if (tornSegment !== null) await files.remove(tornSegment.file)
  if (newest === undefined || end === undefined) {
    const { fd, segment } = await createSegment(directory, files, GENESIS)
    return { ...GENESIS, segments: [segment], active: segment, fd, tail: tornSegment }
  }
  return continueSegment(directory, files, { segments, newest, end, tornSegment })
}

/** The newest segment if a crash interrupted its creation; else, if the look at it told, where it must begin. */
async function findTornSegment(
  segments: SegmentFile[],
  files: JournalFiles,
): Promise<{ readonly before: SegmentEnd | null; readonly tornSegment: TornTail | null }> {
  const newest = segments.at(-1)
  if (newest === undefined || (await sizeOf(newest, files)) > SEGMENT_HEADER_BYTES) {
    return { before: null, tornSegment: null }
  }
  const older = segments.at(-2)
  const before = older ? await scanSegment(older, files, { before: null, isNewest: false }) : beforeOldest(newest)
  const cutBytes = await tornSegmentBytes(newest, files, before)
  if (cutBytes === null || before === null) return { before, tornSegment: null }
  return { before: null, tornSegment: { file: newest.path, offset: 0, cutBytes, nextSeq: before.nextSeq } }
}

async function continueSegment(
  directory: string,
  files: JournalFiles,
  found: { segments: SegmentFile[]; newest: SegmentFile; end: SegmentScan; tornSegment: TornTail | null },
): Promise<Recovered> {
  const { newest, end } = found
  const fd = await files.openExisting(newest.path)
  try {
    if (end.tornBytes > 0) await files.truncate(fd, end.bytes)
    const again = end.lastFrame ?? { fileOffset: 0, bytes: encodeSegmentHeader({ ...end, firstSeq: newest.firstSeq }) }
    await writeWhole(files, fd, again.bytes, again.fileOffset)
    await files.datasync(fd)
    await files.syncDirectory(directory)
  } catch (error) {
    await files.close(fd)
    throw error
  }
  const active = { ...newest, bytes: end.bytes }
  const older = found.segments.slice(0, -1)
  const sized = await Promise.all(older.map(async (segment) => ({ ...segment, bytes: await sizeOf(segment, files) })))
  const cut = { file: newest.path, offset: end.bytes, cutBytes: end.tornBytes, nextSeq: end.nextSeq }
  const tail = end.tornBytes > 0 ? cut : found.tornSegment
  return { nextSeq: end.nextSeq, chain: end.chain, segments: [...sized, active], active, fd, tail }
}

function sizeOf(segment: SegmentFile, files: JournalFiles): Promise<number> {
  return withFile(files, segment.path, (fd) => files.size(fd))
}

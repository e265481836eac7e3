/** What the disk alone costs an answer: a server that takes no time itself still waits for its syncs. */
import { join } from 'node:path'
import { nodeFiles, writeWhole } from '../../persistence/journal/files.js'

/** Of a batch of scans. */
const BATCH_BYTES = 16 * 1024
/** Answers are asked for so often. */
const ARRIVALS_EVERY_MS = 0.1

export interface DiskFloor {
  readonly p50Ms: number
  readonly p99Ms: number
  readonly p999Ms: number
}

/**
 * Appends and syncs batches, one right after the other, and tells how long an answer would wait that comes at any moment:
 * for the sync under way, which does not cover it, and for the next.
 */
export async function measureDiskFloor(folder: string, ms: number): Promise<DiskFloor> {
  const path = join(folder, 'disk-floor')
  const fd = await nodeFiles.create(path)
  const ends: number[] = []
  try {
    const batch = Buffer.alloc(BATCH_BYTES, 7)
    const until = performance.now() + ms
    for (let at = 0; performance.now() < until; at += BATCH_BYTES) {
      await writeWhole(nodeFiles, fd, batch, at)
      await nodeFiles.datasync(fd)
      ends.push(performance.now())
    }
  } finally {
    await nodeFiles.close(fd)
    await nodeFiles.remove(path)
  }
  const waits = waitsOf(ends).sort((a, b) => a - b)
  const at = (share: number) => waits[Math.floor((waits.length - 1) * share)] ?? Number.NaN
  return { p50Ms: at(0.5), p99Ms: at(0.99), p999Ms: at(0.999) }
}

/** Milliseconds from each moment at which somebody might ask to the end of the sync that covers it. */
export function waitsOf(ends: readonly number[]): number[] {
  const waits: number[] = []
  let underWay = 0
  const last = ends.at(-2) ?? 0
  const first = ends[0] ?? 0
  for (let index = 0; first + index * ARRIVALS_EVERY_MS < last; index++) {
    const arrival = first + index * ARRIVALS_EVERY_MS
    while ((ends[underWay] ?? 0) <= arrival) underWay += 1
    waits.push((ends[underWay + 1] ?? 0) - arrival)
  }
  return waits
}

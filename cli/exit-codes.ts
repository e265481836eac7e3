/** How the process ends, for supervisors. 0 is a stop that was asked for. */
import { DiskShortError } from '../persistence/disk-guard.js'
import { isDiskFull, JournalFailedError } from '../persistence/journal/failure.js'

const FAILED = 1
/** The disk is full or fails (EX_IOERR of sysexits.h): starting again helps only once somebody has looked after it. */
const DISK_FAILED = 74

export function exitCodeOf(error: unknown): number {
  const isOfTheDisk = error instanceof JournalFailedError || error instanceof DiskShortError || isDiskFull(error)
  return isOfTheDisk ? DISK_FAILED : FAILED
}

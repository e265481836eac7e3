import { close, fdatasync, fsync, ftruncate, open, unlink, write, writeSync } from 'node:fs'

/** What the writer does to the disk: a port, so that tests can make any of it fail or wait. */
export interface JournalFiles {
  /** Creates a file that must not exist, readable by its owner only; returns its descriptor. */
  create(path: string): Promise<number>
  /** Opens an existing file for writing. */
  openExisting(path: string): Promise<number>
  /** Returns the number of bytes written, which may be short. */
  write(fd: number, bytes: Uint8Array, position: number): Promise<number>
  datasync(fd: number): Promise<void>
  truncate(fd: number, bytes: number): Promise<void>
  close(fd: number): Promise<void>
  remove(path: string): Promise<void>
  /** Makes the creation and removal of files in `path` durable. */
  syncDirectory(path: string): Promise<void>
}

const FILE_MODE = 0o600
/**
 * A write of so few bytes only copies them to the page cache, in microseconds. Doing it here saves a trip to another
 * thread and back, which on a busy event loop costs more than the sync itself.
 */
const WRITE_NOW_BYTES_MAX = 256 * 1024

/** Callbacks and plain descriptors, not fs/promises: a flush makes two of these calls, many times a second. */
export const nodeFiles: JournalFiles = {
  create: (path) => opened(path, 'wx'),
  openExisting: (path) => opened(path, 'r+'),
  write: async (fd, bytes, position) => {
    if (bytes.length <= WRITE_NOW_BYTES_MAX) return writeSync(fd, bytes, 0, bytes.length, position)
    return new Promise((resolve, reject) => {
      write(fd, bytes, 0, bytes.length, position, (error, written) => (error ? reject(error) : resolve(written)))
    })
  },
  datasync: (fd) => done((callback) => fdatasync(fd, callback)),
  truncate: (fd, bytes) => done((callback) => ftruncate(fd, bytes, callback)),
  close: (fd) => done((callback) => close(fd, callback)),
  remove: (path) => done((callback) => unlink(path, callback)),
  syncDirectory: async (path) => {
    const fd = await opened(path, 'r')
    try {
      await done((callback) => fsync(fd, callback))
    } finally {
      await done((callback) => close(fd, callback))
    }
  },
}

function opened(path: string, flags: string): Promise<number> {
  return new Promise((resolve, reject) => {
    open(path, flags, FILE_MODE, (error, fd) => (error ? reject(error) : resolve(fd)))
  })
}

function done(call: (callback: (error: Error | null) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => call((error) => (error ? reject(error) : resolve())))
}

/** Writes all of `bytes` at `position`; a short write is an error, never continued (J4). */
export async function writeWhole(files: JournalFiles, fd: number, bytes: Uint8Array, position: number): Promise<void> {
  const written = await files.write(fd, bytes, position)
  if (written !== bytes.length) {
    throw new Error(`Short write to the journal: ${written} of ${bytes.length} bytes; is the disk full?`)
  }
}

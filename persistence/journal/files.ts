import { close, fdatasync, fstat, fsync, ftruncate, open, read, unlink, write, writeSync } from 'node:fs'
import { chmod, mkdir, readdir } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { lockDirectory } from '../directory-lock.js'
import { JournalLockedError } from './errors.js'

/**
 * All that the journal does to a disk: a port, so that a simulated disk can make any of it fail, wait or be lost.
 * Files that are open stay readable after they were removed.
 */
export interface JournalFiles {
  /** Creates a directory, if need be with those above it, open to its owner only; durable when this returns. */
  makeDirectory(path: string): Promise<void>
  /** The names of the files in a directory, in no order. */
  list(directory: string): Promise<string[]>
  /** Takes the directory for one writer; returns what gives it back. Throws JournalLockedError. */
  lock(directory: string): Promise<() => Promise<void>>
  /** Creates a file that must not exist, readable by its owner only; returns its descriptor. */
  create(path: string): Promise<number>
  /** Opens an existing file for writing. */
  openExisting(path: string): Promise<number>
  openToRead(path: string): Promise<number>
  /** Fills `into` from `position` on; returns the number of bytes read, which may be short, and 0 only at the end. */
  read(fd: number, into: Uint8Array, position: number): Promise<number>
  /** Bytes in the file. */
  size(fd: number): Promise<number>
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
const DIRECTORY_MODE = 0o700
/**
 * A write of so few bytes only copies them to the page cache, in microseconds. Doing it here saves a trip to another
 * thread and back, which on a busy event loop costs more than the sync itself.
 */
const WRITE_NOW_BYTES_MAX = 256 * 1024

/** Callbacks and plain descriptors, not fs/promises: a flush makes two of these calls, many times a second. */
export const nodeFiles: JournalFiles = {
  makeDirectory,
  list: (directory) => readdir(directory),
  lock: (directory) =>
    lockDirectory(directory, {
      role: 'writer',
      held: (pid, lockFile) => new JournalLockedError(directory, pid, lockFile),
    }),
  create: (path) => opened(path, 'wx'),
  openExisting: (path) => opened(path, 'r+'),
  openToRead: (path) => opened(path, 'r'),
  read: (fd, into, position) =>
    new Promise((resolve, reject) => {
      read(fd, into, 0, into.length, position, (error, bytes) => (error ? reject(error) : resolve(bytes)))
    }),
  size: (fd) =>
    new Promise((resolve, reject) => {
      fstat(fd, (error, stats) => (error ? reject(error) : resolve(stats.size)))
    }),
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
  syncDirectory,
}

async function makeDirectory(directory: string): Promise<void> {
  let path = resolve(directory)
  const firstCreated = await mkdir(path, { recursive: true, mode: DIRECTORY_MODE })
  await chmod(path, DIRECTORY_MODE)
  if (firstCreated === undefined) return
  for (; path.length >= firstCreated.length; path = dirname(path)) await syncDirectory(dirname(path))
}

async function syncDirectory(path: string): Promise<void> {
  const fd = await opened(path, 'r')
  try {
    await done((callback) => fsync(fd, callback))
  } finally {
    await done((callback) => close(fd, callback))
  }
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

/** Up to `bytes` bytes from `position` on; fewer at the end of the file. */
export async function readUpTo(files: JournalFiles, fd: number, position: number, bytes: number): Promise<Buffer> {
  const buffer = Buffer.alloc(bytes)
  let filled = 0
  while (filled < bytes) {
    const bytesRead = await files.read(fd, buffer.subarray(filled), position + filled)
    if (bytesRead === 0) break
    filled += bytesRead
  }
  return buffer.subarray(0, filled)
}

/** Opens a file to read, hands its descriptor to `use`, and closes it again. */
export async function withFile<T>(files: JournalFiles, path: string, use: (fd: number) => Promise<T>): Promise<T> {
  const fd = await files.openToRead(path)
  try {
    return await use(fd)
  } finally {
    await files.close(fd)
  }
}

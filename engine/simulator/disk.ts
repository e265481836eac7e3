/**
 * A disk that forgets what was not synced.
 *
 * What is written is visible at once to every process (the page cache) and on the disk only after a sync. A power loss
 * keeps of the rest what it likes, sector by sector. After a failed sync the page cache still shows what the disk will
 * never get. Creating and removing files counts only once the directory is synced.
 */
import { JournalLockedError } from '../../persistence/journal/errors.js'
import type { JournalFiles } from '../../persistence/journal/files.js'
import { SECTOR_BYTES } from '../../persistence/journal/format.js'
import { assert } from '../assert.js'
import type { Faults } from './faults.js'
import { Random } from './random.js'
import type { Life, Scheduler } from './scheduler.js'
import type { Story } from './story.js'

const CALL_MICROS = [2, 60] as const
const SYNC_MICROS = [60, 2_000] as const
const SLOW_SYNC_MICROS = [5_000, 400_000] as const
const FULL_MICROS = [200_000, 5_000_000] as const

export class SimulatedFile {
  /** What processes see. */
  seen: Buffer = Buffer.alloc(0)
  /** What is on the disk. */
  kept: Buffer = Buffer.alloc(0)
  /** Ranges in which the two may differ, and a sync would carry over. */
  dirty: [number, number][] = []

  write(bytes: Uint8Array, position: number): void {
    const end = position + bytes.length
    if (end > this.seen.length) this.seen = resized(this.seen, end)
    this.seen.set(bytes, position)
    this.dirty.push([position, end])
  }

  truncate(bytes: number): void {
    this.dirty.push([Math.min(bytes, this.seen.length), Math.max(bytes, this.seen.length)])
    this.seen = resized(this.seen, bytes)
  }

  sync(): void {
    const before = this.kept
    this.kept = resized(before, this.seen.length)
    for (const [from, to] of this.dirty) this.kept.set(this.seen.subarray(from, to), from)
    this.dirty = []
  }

  /** The power is gone: some of what was not synced has reached the disk, some has not. */
  losePower(random: Random): void {
    const sizes = [this.kept.length, this.seen.length]
    const size = random.chance(0.6) ? random.pick(sizes) : random.int(Math.min(...sizes), Math.max(...sizes))
    const found = resized(this.kept, size)
    for (const [from, to] of this.dirty) {
      for (let at = from - (from % SECTOR_BYTES); at < Math.min(to, size); at += SECTOR_BYTES) {
        // What was cut off since has no bytes to keep.
        if (random.chance(0.5)) found.set(this.seen.subarray(at, Math.min(at + SECTOR_BYTES, size)), at)
      }
    }
    this.kept = found
    this.seen = Buffer.from(found)
    this.dirty = []
  }
}

function flip({ seen, kept }: SimulatedFile, position: number, mask: number): void {
  for (const bytes of [seen, kept]) {
    const byte = bytes[position]
    if (byte !== undefined) bytes[position] = byte ^ mask
  }
}

function resized(bytes: Buffer, length: number): Buffer {
  const next = Buffer.alloc(length)
  bytes.copy(next, 0, 0, Math.min(length, bytes.length))
  return next
}

const failure = (code: string, what: string) => Object.assign(new Error(`${code}: ${what}`), { code })

export class SimulatedDisk {
  /** By path, as processes see them and as the disk keeps them. */
  readonly files = new Map<string, SimulatedFile>()
  #kept = new Map<string, SimulatedFile>()
  readonly #open = new Map<number, SimulatedFile>()
  readonly #random: Random
  #nextDescriptor = 1
  #writer: Life | undefined
  #fullUntil = 0
  #flipped: { file: SimulatedFile; position: number; mask: number; flipped: number } | undefined
  /** Called when something has become durable. */
  onSync: () => void = () => {}

  constructor(
    seed: number,
    readonly scheduler: Scheduler,
    readonly faults: Faults,
    readonly story: Story,
  ) {
    this.#random = new Random(seed, 'disk')
  }

  /** The files on the disk, whatever processes see. */
  get keptFiles(): ReadonlyMap<string, SimulatedFile> {
    return this.#kept
  }

  /** Names that were not synced appear or not; so does what was written. */
  losePower(): void {
    const random = this.faults.random('power loss')
    const before = this.#kept
    const after = new Map<string, SimulatedFile>()
    for (const path of [...new Set([...before.keys(), ...this.files.keys()])].sort()) {
      const [kept, seen] = [before.get(path), this.files.get(path)]
      const survivor = kept === seen ? kept : random.pick([kept, seen])
      if (survivor !== undefined) after.set(path, survivor)
    }
    for (const file of after.values()) file.losePower(random)
    this.#kept = after
    this.files.clear()
    for (const [path, file] of after) this.files.set(path, file)
    this.#open.clear()
  }

  get isFlipped(): boolean {
    return this.#flipped !== undefined
  }

  /** Flips a bit of a file at rest, if that is to happen now. */
  flipByte(): void {
    const paths = [...this.files.keys()].sort()
    if (paths.length === 0 || !this.faults.strikes('flipped bit')) return
    const random = this.faults.random('flipped bit')
    const path = random.pick(paths)
    const file = this.#file(path)
    if (file.seen.length === 0) return
    const position = random.int(0, file.seen.length - 1)
    const mask = 1 << random.int(0, 7)
    flip(file, position, mask)
    this.#flipped = { file, position, mask, flipped: file.seen[position] as number }
    this.story.tell('disk', `a bit flips in ${path} at byte ${position}`)
  }

  /** The backup is brought back. */
  restoreByte(): void {
    if (this.#flipped === undefined) return
    const { file, position, mask, flipped } = this.#flipped
    this.#flipped = undefined
    if (file.seen[position] === flipped) flip(file, position, mask)
  }

  /** The port, as seen by one process: it goes silent when the process dies. */
  filesOf(life: Life): JournalFiles {
    const call = <Result>(act: () => Result, [min, max]: readonly [number, number] = CALL_MICROS) =>
      this.scheduler.act(this.#random.skewed(min, max), life, act)
    const isSlow = () => this.faults.strikes('slow disk')
    return {
      makeDirectory: () => call(() => {}),
      list: (directory) =>
        call(() => [...this.files.keys()].filter((path) => path.startsWith(`${directory}/`)).map(nameOf)),
      lock: (directory) => call(() => this.#lock(directory, life)),
      create: (path) => call(() => this.#create(path)),
      openExisting: (path) => call(() => this.#descriptor(this.#file(path))),
      openToRead: (path) => call(() => this.#descriptor(this.#file(path))),
      read: (fd, into, position) => call(() => this.#read(fd, into, position)),
      size: (fd) => call(() => this.#opened(fd).seen.length),
      write: (fd, bytes, position) => call(() => this.#write(fd, bytes, position)),
      datasync: (fd) => call(() => this.#sync(fd), isSlow() ? SLOW_SYNC_MICROS : SYNC_MICROS),
      truncate: (fd, bytes) => call(() => this.#opened(fd).truncate(bytes)),
      close: (fd) => call(() => void this.#open.delete(fd)),
      remove: (path) => call(() => void this.files.delete(path)),
      syncDirectory: () => call(() => this.#syncNames(), isSlow() ? SLOW_SYNC_MICROS : SYNC_MICROS),
    }
  }

  #lock(directory: string, life: Life): () => Promise<void> {
    if (this.#writer?.isAlive && this.#writer !== life) throw new JournalLockedError(directory, 1, 'writer.lock')
    this.#writer = life
    return async () => {
      this.#writer = undefined
    }
  }

  #create(path: string): number {
    if (this.files.has(path)) throw failure('EEXIST', path)
    if (this.#isFull()) throw failure('ENOSPC', path)
    const file = new SimulatedFile()
    this.files.set(path, file)
    return this.#descriptor(file)
  }

  #file(path: string): SimulatedFile {
    const file = this.files.get(path)
    if (file === undefined) throw failure('ENOENT', path)
    return file
  }

  #descriptor(file: SimulatedFile): number {
    this.#open.set(this.#nextDescriptor, file)
    return this.#nextDescriptor++
  }

  #opened(fd: number): SimulatedFile {
    const file = this.#open.get(fd)
    assert(file !== undefined, `descriptor ${fd} is not open`)
    return file
  }

  #read(fd: number, into: Uint8Array, position: number): number {
    const { seen } = this.#opened(fd)
    const available = Math.max(0, Math.min(into.length, seen.length - position))
    const isShort = available > 1 && this.faults.strikes('short read')
    const count = isShort ? this.faults.random('short read').int(1, available) : available
    into.set(seen.subarray(position, position + count))
    return count
  }

  #write(fd: number, bytes: Uint8Array, position: number): number {
    const file = this.#opened(fd)
    if (this.#isFull() && position + bytes.length > file.seen.length) {
      const fits = this.faults.random('disk full').int(0, bytes.length - 1)
      file.write(bytes.subarray(0, fits), position)
      if (fits === 0) throw failure('ENOSPC', 'no space left on device')
      return fits
    }
    if (this.faults.strikes('failed write')) throw failure('EIO', 'the write failed')
    const isShort = bytes.length > 1 && this.faults.strikes('short write')
    const count = isShort ? this.faults.random('short write').int(1, bytes.length - 1) : bytes.length
    file.write(bytes.subarray(0, count), position)
    return count
  }

  #sync(fd: number): void {
    const file = this.#opened(fd)
    if (this.faults.strikes('failed sync')) {
      // The kernel has given up on these pages: another sync succeeds and carries nothing over.
      if (this.faults.random('failed sync').chance(0.5)) file.dirty = []
      throw failure('EIO', 'the sync failed')
    }
    file.sync()
    this.onSync()
  }

  #syncNames(): void {
    this.#kept = new Map(this.files)
    this.onSync()
  }

  #isFull(): boolean {
    if (this.scheduler.now < this.#fullUntil && !this.faults.areOver) return true
    if (!this.faults.strikes('disk full')) return false
    const [min, max] = FULL_MICROS
    this.#fullUntil = this.scheduler.now + this.faults.random('disk full').int(min, max)
    this.story.tell('disk', 'is full')
    return true
  }
}

const nameOf = (path: string) => path.slice(path.lastIndexOf('/') + 1)

/**
 * Watches the space that is left where the journal and the embedded Postgres write.
 *
 * A disk that is really full ends the process (J4), and Postgres with it. So the guard speaks up while all that was
 * accepted still fits:
 * D1 Below `freeBytesMin` it is `short`: no new inputs. The reserve is for what was accepted before.
 * D2 Below half of that it is `critical`: an embedded Postgres is written to no more either. The other half stays for
 *    the journal, whose backlog is in nothing but memory.
 * D3 A level is left only when there is a quarter more than it takes to enter it, or it would flap.
 */
import { readFile, statfs } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Logger } from 'pino'
import { DomainError } from '../engine/errors.js'

export type DiskLevel = 'ample' | 'short' | 'critical'

/** A port, so that tests decide how full the disk is. */
export interface DiskSpace {
  /** What this process may still write to the file system of `path`, which exists, in bytes. */
  freeBytes(path: string): Promise<number>
}

export const realDisk: DiskSpace = {
  freeBytes: async (path) => {
    const { bavail, bsize } = await statfs(path)
    return bavail * bsize
  },
}

const CRITICAL_SHARE = 0.5
const LEAVE_FACTOR = 1.25
const RETRY_AFTER_MS = 10_000
const MiB = 1024 * 1024

const mebibytes = (bytes: number) => `${Math.floor(bytes / MiB).toLocaleString('en-US')} MiB`

export function diskFull(freeBytes: number, freeBytesMin: number): DomainError {
  const what = `Only ${mebibytes(freeBytes)} of disk space are left, at least ${mebibytes(freeBytesMin)} are needed.`
  const message = `${what} Nothing was lost; try again with the same idempotency key when the operator has made room.`
  return new DomainError('unavailable', 'disk_full', message, { retryAfterMs: RETRY_AFTER_MS })
}

/** There is too little space to start; nothing was touched. */
export class DiskShortError extends Error {
  override readonly name = 'DiskShortError'

  constructor(path: string, freeBytes: number, freeBytesMin: number) {
    super(
      `Too little disk space to start: ${path} has ${mebibytes(freeBytes)} left, and DISK_FREE_BYTES_MIN asks for ` +
        `${mebibytes(freeBytesMin)}. Nothing was touched and nothing is lost. Free at least ` +
        `${mebibytes(freeBytesMin - freeBytes + MiB - 1)} there, then start again.`,
    )
  }
}

/** The level that follows; D3. */
export function nextLevel(level: DiskLevel, freeBytes: number, freeBytesMin: number): DiskLevel {
  const isBelow = (bytes: number, isIn: boolean) => freeBytes < bytes * (isIn ? LEAVE_FACTOR : 1)
  if (isBelow(freeBytesMin * CRITICAL_SHARE, level === 'critical')) return 'critical'
  return isBelow(freeBytesMin, level !== 'ample') ? 'short' : 'ample'
}

/** What the server writes to. */
export interface DiskUse {
  readonly dataDirectory: string
  /** Whether the embedded Postgres is used; it may live elsewhere. */
  readonly embedsPostgres: boolean
}

async function placesOf({ dataDirectory, embedsPostgres }: DiskUse): Promise<string[]> {
  const elsewhere = await readFile(join(dataDirectory, 'postgres.location'), 'utf8').catch(() => '')
  return elsewhere === '' || !embedsPostgres ? [dataDirectory] : [dataDirectory, elsewhere.trim()]
}

/** Of the nearest folder above that exists. */
async function freeBytesNear(space: DiskSpace, path: string): Promise<number> {
  try {
    return await space.freeBytes(path)
  } catch (error) {
    const isMissing = error instanceof Error && 'code' in error && error.code === 'ENOENT'
    if (!isMissing || dirname(path) === path) throw error
    return freeBytesNear(space, dirname(path))
  }
}

/** Throws DiskShortError before a start that could not even finish what it recovers. */
export async function assertRoomToStart(use: DiskUse, freeBytesMin: number, space: DiskSpace): Promise<void> {
  for (const place of await placesOf(use)) {
    const freeBytes = await freeBytesNear(space, place)
    if (freeBytes < freeBytesMin) throw new DiskShortError(place, freeBytes, freeBytesMin)
  }
}

export interface DiskGuardOptions extends DiskUse {
  readonly freeBytesMin: number
  readonly checkIntervalMs: number
  readonly space: DiskSpace
  readonly log: Logger
  /** Called at each change. */
  onLevel(level: DiskLevel): void
}

export class DiskGuard {
  #level: DiskLevel = 'ample'
  #freeBytes = Number.NaN
  #places: readonly string[] = []
  #timer: NodeJS.Timeout | undefined
  #isBlind = false

  constructor(private readonly options: DiskGuardOptions) {}

  get level(): DiskLevel {
    return this.#level
  }

  /** In the place that has least; not a number before the first look. */
  get freeBytes(): number {
    return this.#freeBytes
  }

  /** The refusal of inputs while space is short. */
  refusal(): DomainError {
    return diskFull(this.#freeBytes, this.options.freeBytesMin)
  }

  /** Looks once, then every `checkIntervalMs` until it is stopped. */
  async start(): Promise<void> {
    this.#places = await placesOf(this.options)
    await this.#look()
    // One look at a time: a disk in trouble may take long to answer.
    const again = () => {
      this.#timer = setTimeout(() => this.#look().then(() => this.#timer !== undefined && again()), this.#intervalMs)
      this.#timer.unref()
    }
    again()
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  gauges(): Record<string, number> {
    const { freeBytesMin } = this.options
    return { free_bytes: this.#freeBytes, free_bytes_min: freeBytesMin, short: this.#level === 'ample' ? 0 : 1 }
  }

  get #intervalMs(): number {
    return this.options.checkIntervalMs
  }

  async #look(): Promise<void> {
    const { space, log, freeBytesMin, onLevel } = this.options
    try {
      const free = await Promise.all(this.#places.map((place) => space.freeBytes(place)))
      this.#freeBytes = Math.min(...free)
      this.#isBlind = false
    } catch (error) {
      if (!this.#isBlind) log.error({ err: error }, 'the disk does not say how much space is left')
      this.#isBlind = true
      return
    }
    const level = nextLevel(this.#level, this.#freeBytes, freeBytesMin)
    if (level === this.#level) return
    this.#level = level
    const numbers = { level, freeBytes: this.#freeBytes, freeBytesMin, places: this.#places }
    if (level === 'ample') log.info(numbers, 'there is disk space again: inputs are taken')
    else log.error(numbers, 'disk space is short: inputs are refused until there is room; free some there')
    onLevel(level)
  }
}

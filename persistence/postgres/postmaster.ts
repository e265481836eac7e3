import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { readFile, readlink, realpath, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import type { Logger } from 'pino'
import { DomainError } from '../../engine/errors.js'

const run = promisify(execFile)
const PID_FILE_SETTLES_MS = 200
const POLL_INTERVAL_MS = 10
const FAST_SHUTDOWN_MS = 10_000
const IMMEDIATE_SHUTDOWN_MS = 5_000

/** What the main process of a running Postgres writes into its data folder. */
export interface PidFile {
  readonly pid: number
  readonly port: number
  readonly ready: boolean
}

const pidFilePath = (dataFolder: string) => join(dataFolder, 'postmaster.pid')

export async function readPidFile(dataFolder: string): Promise<PidFile | undefined> {
  const text = await readFile(pidFilePath(dataFolder), 'utf8').catch(() => '')
  const lines = text.split('\n').map((line) => line.trim())
  const pid = Number(lines[0])
  if (!Number.isInteger(pid) || pid <= 0) return undefined
  return { pid, port: Number(lines[3]), ready: lines[7] === 'ready' }
}

/** Whether the process exists and is more than a zombie nobody has reaped. */
export function isAlive(pid: number): boolean {
  if (!exists(pid)) return false
  if (process.platform !== 'linux') return true
  try {
    const status = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return !/^[ZX]/.test(status.slice(status.lastIndexOf(')') + 2))
  } catch {
    return exists(pid)
  }
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/**
 * The pid of the Postgres that runs on this data folder. A pid file left behind by a dead one is made harmless:
 * after a reboot or in a new container its number often belongs to somebody else, and Postgres would not start.
 */
export async function findPostmaster(dataFolder: string): Promise<number | undefined> {
  const found = await readPidFile(dataFolder)
  if (!found) {
    await removeTornPidFile(dataFolder)
    return undefined
  }
  if (isAlive(found.pid) && (await worksIn(found.pid, dataFolder))) return found.pid
  if (exists(found.pid)) await disownPidFile(dataFolder, found.pid)
  return undefined
}

/** Postgres makes the data folder its working folder, which tells it from a process that was given its old number. */
async function worksIn(pid: number, dataFolder: string): Promise<boolean> {
  const real = await realpath(dataFolder)
  if (process.platform === 'linux') return (await readlink(`/proc/${pid}/cwd`).catch(() => '')) === real
  if (process.platform === 'win32') return true
  const { stdout } = await run('ps', ['-ww', '-o', 'command=', '-p', String(pid)]).catch(() => ({ stdout: '' }))
  return stdout.includes(real)
}

/**
 * Puts our own number into the pid file. Postgres takes its parent's number there for stale, yet still reads the
 * shared memory key below it and refuses to start while processes of the old server are alive.
 */
async function disownPidFile(dataFolder: string, stalePid: number): Promise<void> {
  const path = pidFilePath(dataFolder)
  const text = await readFile(path, 'utf8')
  if (text.startsWith(`${stalePid}\n`)) await writeFile(path, text.replace(String(stalePid), String(process.pid)))
}

/** Removes a pid file without a number, as a crash of the machine leaves it, unless it is just being written. */
async function removeTornPidFile(dataFolder: string): Promise<void> {
  const path = pidFilePath(dataFolder)
  if ((await readFile(path, 'utf8').catch(() => undefined)) === undefined) return
  await sleep(PID_FILE_SETTLES_MS)
  if (!(await readPidFile(dataFolder))) await rm(path, { force: true })
}

/** Stops the Postgres of this data folder, if one runs: fast first, then immediate (recovers at the next start). */
export async function terminatePostmaster(dataFolder: string, log: Logger): Promise<void> {
  const pid = await findPostmaster(dataFolder)
  if (pid === undefined) return
  signalIfAlive(pid, 'SIGINT')
  if (await goneWithin(pid, FAST_SHUTDOWN_MS)) return
  log.warn({ postgresPid: pid }, 'postgres did not shut down in time, stopping it without a checkpoint')
  signalIfAlive(pid, 'SIGQUIT')
  if (await goneWithin(pid, IMMEDIATE_SHUTDOWN_MS)) return
  throw new DomainError('unavailable', 'postgres_stuck', `Postgres (pid ${pid}) does not stop`)
}

export function signalIfAlive(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/** Waits until the process is gone; false when it is still there after `withinMs`. */
export async function goneWithin(pid: number, withinMs: number): Promise<boolean> {
  const deadline = performance.now() + withinMs
  while (isAlive(pid)) {
    if (performance.now() > deadline) return false
    await sleep(POLL_INTERVAL_MS)
  }
  return true
}

// One process per directory and role. It announces itself by a file whose name tells its process, then looks for
// others: of two that start together at least one sees the other, so there are never two. Files of processes
// that are gone are removed; a name belongs to one process for good, so never the file of a living one.
// Process ids mean nothing across machines and containers: the directory must be used from one of them.
import { open, readdir, readFile, unlink } from 'node:fs/promises'
import { join } from 'node:path'

const LOCK_NAME = /^([a-z]+)-(\d+)-([\w.]+)\.lock$/
const UNKNOWN_START = 'unknown'

export interface Lock {
  /** What its holder is: first word of the file's name, in lower case. */
  readonly role: string
  /** The error when process `pid` holds it by `lockFile`. */
  readonly held: (pid: number, lockFile: string) => Error
}

/** Takes the lock; returns the function that gives it back. Throws `lock.held`. */
export async function lockDirectory(directory: string, lock: Lock): Promise<() => Promise<void>> {
  const ownName = `${lock.role}-${process.pid}-${(await processStart(process.pid)) ?? UNKNOWN_START}.lock`
  const ownPath = join(directory, ownName)
  try {
    await (await open(ownPath, 'wx', 0o600)).close()
  } catch (error) {
    if (hasCode(error, 'EEXIST')) throw lock.held(process.pid, ownPath)
    throw error
  }
  try {
    for (const name of await readdir(directory)) {
      if (name !== ownName) await removeIfStale(directory, name, lock)
    }
  } catch (error) {
    await unlink(ownPath)
    throw error
  }
  return () => unlink(ownPath)
}

async function removeIfStale(directory: string, name: string, { role, held }: Lock): Promise<void> {
  const [, itsRole, pidText, start] = LOCK_NAME.exec(name) ?? []
  if (itsRole !== role || pidText === undefined || start === undefined) return
  const pid = Number(pidText)
  if (await isAlive(pid, start)) throw held(pid, join(directory, name))
  await unlink(join(directory, name)).catch((error: unknown) => {
    if (!hasCode(error, 'ENOENT')) throw error
  })
}

async function isAlive(pid: number, start: string): Promise<boolean> {
  try {
    process.kill(pid, 0)
  } catch (error) {
    if (hasCode(error, 'ESRCH')) return false
  }
  const startNow = await processStart(pid)
  // A living process whose start cannot be read, here or when it took the lock, counts as the holder.
  return startNow === null || start === UNKNOWN_START || startNow === start
}

/** What tells a process from a later one with the same id: boot and start time. Null if the system does not tell. */
async function processStart(pid: number): Promise<string | null> {
  try {
    const bootId = await readFile('/proc/sys/kernel/random/boot_id', 'utf8')
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
    const [state, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    const startTicks = fields[18]
    if (state === 'Z' || state === 'X') return 'ended'
    return startTicks === undefined ? null : `${bootId.slice(0, 8)}.${startTicks}`
  } catch {
    return null
  }
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}

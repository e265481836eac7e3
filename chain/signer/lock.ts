// One signer per folder (S4). A signer announces itself by a file whose name tells its process, then looks for others:
// of two that start together at least one sees the other. Files of processes that are gone are removed. It is the way
// the journal is locked, which this layer may not import. Process ids mean nothing across machines and containers: the
// folder must be used from one of them.
import { open, readdir, readFile, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { hasCode } from '../keys/durable-file.js'
import { SignerStartError } from './errors.js'

const LOCK_NAME = /^signer-(\d+)-([\w.]+)\.lock$/
const UNKNOWN_START = 'unknown'

/** Takes the folder; returns the function that gives it back. Throws `log_locked`. */
export async function lockSigner(directory: string): Promise<() => Promise<void>> {
  const ownName = `signer-${process.pid}-${(await processStart(process.pid)) ?? UNKNOWN_START}.lock`
  const ownPath = join(directory, ownName)
  try {
    await (await open(ownPath, 'wx', 0o600)).close()
  } catch (error) {
    if (hasCode(error, 'EEXIST')) throw locked(directory, process.pid, ownPath)
    throw error
  }
  try {
    for (const name of await readdir(directory)) {
      if (name !== ownName) await removeIfStale(directory, name)
    }
  } catch (error) {
    await unlink(ownPath)
    throw error
  }
  return () => unlink(ownPath)
}

function locked(directory: string, pid: number, lockFile: string): SignerStartError {
  return new SignerStartError(
    'log_locked',
    `Process ${pid} signs with ${directory} already, and two signers must never. Stop it first, or let the engine use ` +
      `it (SIGNER_SOCKET); if it is certainly no signer, delete ${lockFile}.`,
  )
}

async function removeIfStale(directory: string, name: string): Promise<void> {
  const [, pidText, start] = LOCK_NAME.exec(name) ?? []
  if (pidText === undefined || start === undefined) return
  const pid = Number(pidText)
  if (await isAlive(pid, start)) throw locked(directory, pid, join(directory, name))
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

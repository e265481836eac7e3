/** Folders that benchmarks work in, and all that they leave elsewhere. */
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Others may pass through: root's Postgres runs as somebody else, and would have its cluster elsewhere if it could not. */
const FOLDER_MODE = 0o711
const SIGNALS = ['SIGINT', 'SIGTERM'] as const

/** A temporary folder for the data of servers, gone with everything in it after `work`. */
export async function inTemporaryFolder<Result>(work: (folder: string) => Promise<Result>): Promise<Result> {
  const folder = await mkdtemp(join(tmpdir(), 'comptroller-bench-'))
  // A Postgres ends by itself when its folder is gone; the other processes end with this one.
  const interrupted = () => void removeDataFolder(folder).finally(() => process.exit(1))
  for (const signal of SIGNALS) process.once(signal, interrupted)
  try {
    await chmod(folder, FOLDER_MODE)
    return await work(folder)
  } finally {
    for (const signal of SIGNALS) process.off(signal, interrupted)
    await removeDataFolder(folder)
  }
}

/** Removes a data folder, and its cluster where that had to lie elsewhere. */
export async function removeDataFolder(folder: string): Promise<void> {
  const elsewhere = (await readFile(join(folder, 'postgres.location'), 'utf8').catch(() => '')).trim()
  if (elsewhere !== '') await rm(elsewhere, { recursive: true, force: true })
  await rm(folder, { recursive: true, force: true, maxRetries: 5 })
}

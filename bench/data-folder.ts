/** Folders that benchmarks work in, and all that they leave elsewhere. */
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Others may pass through: root's Postgres runs as somebody else, and would have its cluster elsewhere if it could not. */
const FOLDER_MODE = 0o711

/** A temporary folder for the data of servers, gone with everything in it after `work`. */
export async function inTemporaryFolder<Result>(work: (folder: string) => Promise<Result>): Promise<Result> {
  const folder = await mkdtemp(join(tmpdir(), 'comptroller-bench-'))
  try {
    await chmod(folder, FOLDER_MODE)
    return await work(folder)
  } finally {
    await removeDataFolder(folder)
  }
}

/** Removes a data folder, and its cluster where that had to lie elsewhere. */
export async function removeDataFolder(folder: string): Promise<void> {
  const elsewhere = (await readFile(join(folder, 'postgres.location'), 'utf8').catch(() => '')).trim()
  if (elsewhere !== '') await rm(elsewhere, { recursive: true, force: true })
  await rm(folder, { recursive: true, force: true, maxRetries: 5 })
}

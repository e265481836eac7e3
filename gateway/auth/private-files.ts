import { randomUUID } from 'node:crypto'
import { chmod, link, mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'

const DIRECTORY_MODE = 0o700
const FILE_MODE = 0o600

/** Makes `directory` (and its parents), readable by this user only, also where it stood open before. */
export async function makePrivateDirectory(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true, mode: DIRECTORY_MODE })
  await chmod(directory, DIRECTORY_MODE)
}

/** Replaces the file whole and durably: a crash leaves the old content or the new, never half of it. */
export async function writePrivateFile(path: string, content: string | Uint8Array): Promise<void> {
  await withTemporaryFile(path, content, (temporary) => rename(temporary, path))
}

/** Creates the file whole and durably; false, leaving it alone, when another process was first. */
export async function createPrivateFile(path: string, content: string | Uint8Array): Promise<boolean> {
  try {
    await withTemporaryFile(path, content, (temporary) => link(temporary, path))
    return true
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return false
    throw error
  }
}

/** The file's content, or undefined when there is none. Closes it to other users if it stood open. */
export async function readPrivateFile(path: string): Promise<Buffer | undefined> {
  try {
    await chmod(path, FILE_MODE)
    return await readFile(path)
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return undefined
    throw error
  }
}

async function withTemporaryFile(
  path: string,
  content: string | Uint8Array,
  publish: (temporary: string) => Promise<void>,
): Promise<void> {
  const temporary = `${path}.${randomUUID()}.tmp`
  try {
    const file = await open(temporary, 'wx', FILE_MODE)
    try {
      await file.writeFile(content)
      await file.sync()
    } finally {
      await file.close()
    }
    await publish(temporary)
  } finally {
    await rm(temporary, { force: true })
  }
  await syncDirectory(dirname(path))
}

async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}

/** Files that are whole or not there, and stay once they are. */
import { randomUUID } from 'node:crypto'
import { chmod, link, mkdir, open, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'

/** Makes a folder that only its owner enters, unless it is there. One that is there keeps its mode. */
export async function ensurePrivateFolder(path: string): Promise<void> {
  const first = await mkdir(path, { recursive: true, mode: 0o700 })
  if (first === undefined) return
  await chmod(path, 0o700)
  for (let made = path; made.length >= first.length; made = dirname(made)) await syncFolder(dirname(made))
}

/** Creates a file with mode 0600, durable when this returns. Throws EEXIST, and leaves alone what is there. */
export async function createDurably(path: string, content: string): Promise<void> {
  const temporary = `${path}.${randomUUID()}.tmp`
  const file = await open(temporary, 'wx', 0o600)
  try {
    await file.writeFile(content)
    await file.sync()
    await link(temporary, path)
  } finally {
    await file.close()
    await unlink(temporary)
  }
  await syncFolder(dirname(path))
}

/** Makes what was created or removed in a folder durable. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

export function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}

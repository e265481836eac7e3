/** A file whose presence stops a signer, at once and until it is removed. It works without the signer's help. */
import { statSync } from 'node:fs'
import { unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { createDurably, ensurePrivateFolder, hasCode } from '../keys/durable-file.js'

const FILE_NAME = 'STOPPED'

export const stopFilePath = (directory: string) => join(directory, FILE_NAME)

/** Whether the switch is pulled. When that cannot be seen, it counts as pulled. */
export function isStopped(directory: string): boolean {
  try {
    return statSync(stopFilePath(directory), { throwIfNoEntry: false }) !== undefined
  } catch {
    return true
  }
}

/** Returns false when it was pulled already. */
export async function pullStopSwitch(directory: string, reason: string): Promise<boolean> {
  await ensurePrivateFolder(directory)
  try {
    await createDurably(stopFilePath(directory), `${new Date().toISOString()} ${reason}\n`)
    return true
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return false
    throw error
  }
}

/** Returns false when it was not pulled. */
export async function releaseStopSwitch(directory: string): Promise<boolean> {
  try {
    await unlink(stopFilePath(directory))
    return true
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return false
    throw error
  }
}

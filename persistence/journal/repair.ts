// Cutting off a torn tail by hand, as a start would do it. Nothing else is ever changed: damage anywhere is thrown (J2, J5).
import { readMark } from './durable-mark.js'
import { type JournalFiles, nodeFiles } from './files.js'
import { checkJournal } from './inspect.js'
import { recover, type TornTail } from './recover.js'

/**
 * Checks a whole journal while nobody writes to it and, if `cut` is set, cuts off its torn tail. Returns that tail, null
 * if there is none. Throws JournalDamagedError or JournalLockedError, with nothing changed.
 */
export async function repairJournal(
  directory: string,
  cut: boolean,
  files: JournalFiles = nodeFiles,
): Promise<TornTail | null> {
  const unlock = await files.lock(directory)
  try {
    const tail = await checkJournal(directory, files)
    if (tail === null || !cut) return tail
    const { fd } = await recover(directory, files, await readMark(directory, files))
    await files.close(fd)
    return tail
  } finally {
    await unlock()
  }
}

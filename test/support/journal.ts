// Journals in temporary directories, and what stands in them.
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { JournalEntry } from '../../engine/journal.js'
import { encodeSlot, MARK_NAME } from '../../persistence/journal/durable-mark.js'
import { JournalDamagedError } from '../../persistence/journal/errors.js'
import { type FileJournalOptions, openFileJournal } from '../../persistence/journal/file-journal.js'

const root = await mkdtemp(join(tmpdir(), 'comptroller-journal-'))
t.teardown(() => rm(root, { recursive: true, force: true }))
let directories = 0
export const freshDirectory = () => join(root, String(++directories))

/** A body that tells its record, `bytes` long and without zeros. */
export function bodyOf(seq: number, bytes = 40): Buffer {
  return Buffer.from(`record ${seq} `.padEnd(bytes, String.fromCharCode(97 + (seq % 26))))
}

export async function openAt(directory: string, options: Partial<FileJournalOptions> = {}) {
  const announced: number[] = []
  const failures: Error[] = []
  const waiting: { seq: number; resolve: () => void }[] = []
  let failed: (error: Error) => void = () => {}
  const failure = new Promise<Error>((resolve) => (failed = resolve))
  const listener = {
    onDurable(seq: number) {
      announced.push(seq)
      for (const waiter of waiting) if (waiter.seq <= seq) waiter.resolve()
    },
    onFailure(error: Error) {
      failures.push(error)
      failed(error)
    },
  }
  const { journal, tail } = await openFileJournal({ directory, ...options, listener })
  const durable = (seq: number) => new Promise<void>((resolve) => waiting.push({ seq, resolve }))
  /** Appends the next records as one batch and waits until they are durable. */
  const write = async (...bodies: Uint8Array[]) => {
    for (const body of bodies) journal.append(journal.lastSeq + 1, body)
    await durable(journal.lastSeq)
  }
  return { journal, tail, announced, failures, failure, durable, write }
}

/** A closed journal of `batches` frames of three records; `shift` gives it other bodies of the same sizes. */
export async function journalOf(batches: number, options: Partial<FileJournalOptions> = {}, bodyBytes = 40, shift = 0) {
  const directory = freshDirectory()
  const { journal, write } = await openAt(directory, options)
  for (let batch = 0; batch < batches; batch += 1) {
    const next = journal.lastSeq + 1
    await write(...[next, next + 1, next + 2].map((seq) => bodyOf(seq + shift, bodyBytes)))
  }
  await journal.close()
  return directory
}

export async function collect(read: AsyncIterable<readonly JournalEntry[]>): Promise<string[]> {
  const found: string[] = []
  for await (const entries of read) {
    for (const { seq, body } of entries) found.push(`${seq}:${Buffer.from(body).toString('latin1')}`)
  }
  return found
}

export const expected = (from: number, through: number, bytes = 40) =>
  Array.from({ length: through - from + 1 }, (_, index) => `${from + index}:${bodyOf(from + index, bytes)}`)

/** What a start finds: the entries, or the damage that stopped it. */
export async function contents(directory: string): Promise<string[] | JournalDamagedError> {
  try {
    const { journal } = await openAt(directory)
    try {
      return await collect(journal.read(1))
    } finally {
      await journal.close()
    }
  } catch (error) {
    if (error instanceof JournalDamagedError) return error
    throw error
  }
}

/** Leaves the journal as if it had crashed when `seq` was the last record it had told anybody of. */
export const crashedAfter = (directory: string, seq: number) => writeFile(join(directory, MARK_NAME), encodeSlot(seq))

export const segmentsOf = async (directory: string) =>
  (await readdir(directory)).filter((name) => name.endsWith('.journal')).sort()

/** `comptroller journal inspect|verify`: reads the files directly, so it works with the server running or not. */
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { unpackRecord } from '../engine/record.js'
import { describeSegments, type VerifyResult, verifyJournal } from '../persistence/journal/inspect.js'
import { JournalReader } from '../persistence/journal/reader.js'
import { CliError } from './api.js'
import { withProgress } from './progress.js'

const READ_BYTES_MAX = 1024 * 1024
const directoryOf = (dataDirectory: string) => join(dataDirectory, 'journal')

export async function inspectJournal(dataDirectory: string, { from, limit }: { from?: number; limit: number }) {
  if (from !== undefined) return printRecords(dataDirectory, from, limit)
  for await (const segment of describeSegments(directoryOf(dataDirectory))) print(segment)
}

/** Prints what is whole; fails when damage keeps it from printing all that was asked for. */
async function printRecords(dataDirectory: string, from: number, limit: number): Promise<void> {
  const { lastSeq, problem } = await verifyJournal(directoryOf(dataDirectory))
  const reader = new JournalReader({ directory: directoryOf(dataDirectory), fromSeq: from })
  const lastWhole = problem === undefined ? lastSeq : problem.seq - 1
  const through = Math.min(lastWhole, from + limit - 1)
  for (let seq = from; seq <= through; ) {
    for (const entry of await reader.next(through, READ_BYTES_MAX)) {
      print(unpackRecord(entry.body))
      seq = entry.seq + 1
    }
  }
  if (problem !== undefined && through < from + limit - 1) throw damaged(problem)
  if (through < from) throw new CliError(`There is no record ${from}: the journal ends at ${lastSeq}.`)
}

export async function verifyJournalOf(dataDirectory: string): Promise<void> {
  const directory = directoryOf(dataDirectory)
  const files = (await readdir(directory)).filter((name) => name.endsWith('.journal'))
  const sizes = await Promise.all(files.map(async (name) => (await stat(join(directory, name))).size))
  const total = sizes.reduce((sum, size) => sum + size, 0)
  const result = await withProgress('Verifying bytes', total, (to) =>
    verifyJournal(directory, ({ bytes }) => to(bytes)),
  )
  print(result)
  if (result.problem !== undefined) throw damaged(result.problem)
}

function damaged({ file, offset, seq, what }: NonNullable<VerifyResult['problem']>): CliError {
  return new CliError(`The journal is damaged in ${file} at byte ${offset}, where record ${seq} is due: ${what}.`)
}

/** One JSON line; amounts and bytes as text. */
function print(value: unknown): void {
  const text = JSON.stringify(value, (_, item: unknown) => {
    if (typeof item === 'bigint') return item.toString()
    if (item instanceof Uint8Array) return `${item.byteLength} bytes`
    return item
  })
  process.stdout.write(`${text}\n`)
}

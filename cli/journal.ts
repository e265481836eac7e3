/** `comptroller journal …`: reads the files directly. `inspect` and `verify` work with the server running or not. */
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { unpackRecord } from '../engine/record.js'
import { JournalDamagedError } from '../persistence/journal/errors.js'
import { describeSegments, type VerifyResult, verifyJournal } from '../persistence/journal/inspect.js'
import { JournalReader } from '../persistence/journal/reader.js'
import { repairJournal } from '../persistence/journal/repair.js'
import { CliError } from './api.js'
import { withProgress } from './progress.js'

const READ_BYTES_MAX = 1024 * 1024

async function directoryOf(dataDirectory: string): Promise<string> {
  const directory = join(dataDirectory, 'journal')
  const found = await stat(directory).catch(() => undefined)
  if (found?.isDirectory() !== true)
    throw new CliError(`There is no journal in ${dataDirectory}. Is DATA_DIR set right?`)
  return directory
}

export async function inspectJournal(dataDirectory: string, { from, limit }: { from?: number; limit: number }) {
  if (from !== undefined) return printRecords(dataDirectory, from, limit)
  for await (const segment of describeSegments(await directoryOf(dataDirectory))) print(segment)
}

/** Prints what is whole; fails when damage keeps it from printing all that was asked for. */
async function printRecords(dataDirectory: string, from: number, limit: number): Promise<void> {
  const directory = await directoryOf(dataDirectory)
  const { lastSeq, problem } = await verifyJournal(directory)
  const reader = new JournalReader({ directory, fromSeq: from })
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
  const directory = await directoryOf(dataDirectory)
  const files = (await readdir(directory)).filter((name) => name.endsWith('.journal'))
  const sizes = await Promise.all(files.map(async (name) => (await stat(join(directory, name))).size))
  const total = sizes.reduce((sum, size) => sum + size, 0)
  const result = await withProgress('Verifying bytes', total, (to) =>
    verifyJournal(directory, ({ bytes }) => to(bytes)),
  )
  print(result)
  if (result.problem !== undefined) throw damaged(result.problem)
}

/** Cuts off a torn tail if `yes` is given, else tells what it would do. Anything else it leaves as it is. */
export async function repairJournalOf(dataDirectory: string, { yes = false }: { yes?: boolean }): Promise<void> {
  const directory = await directoryOf(dataDirectory)
  const tail = await repairJournal(directory, yes).catch((error: unknown) => {
    if (!(error instanceof JournalDamagedError)) throw error
    throw new CliError(`${error.message} This is no torn tail, and nothing else can be repaired: nothing was changed.`)
  })
  if (tail === null) {
    process.stdout.write('The journal is whole: there is nothing to repair.\n')
    return
  }
  const { file, offset, cutBytes, nextSeq } = tail
  const where = `${cutBytes} bytes from byte ${offset} on in ${file}`
  if (!yes) {
    throw new CliError(
      `The last batch was not written to its end: ${where}. Its first record would have been ${nextSeq}. ` +
        'Nobody was told of it: a record is answered only when its batch is whole on the disk. ' +
        'A start cuts it off by itself; to do it now, run this again with --yes. Nothing was changed.',
    )
  }
  process.stdout.write(`Cut off: ${where}. The next record will be ${nextSeq}; all before it are there.\n`)
}

function damaged({ file, offset, seq, what }: NonNullable<VerifyResult['problem']>): CliError {
  const due = seq === 0 ? '' : `, where record ${seq} is due`
  return new CliError(`The journal is damaged in ${file} at byte ${offset}${due}: ${what}.`)
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

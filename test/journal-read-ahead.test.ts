// A long journal is read by a worker. Hunts: records it gives otherwise than a plain reader does, damage it swallows or
// reports otherwise (J2), and threads left behind.
import { open as openFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { JournalDamagedError } from '../persistence/journal/errors.js'
import { openFileJournal } from '../persistence/journal/file-journal.js'
import { CHUNK_BYTES, readAhead } from '../persistence/journal/read-ahead.js'
import { JournalReader } from '../persistence/journal/reader.js'
import { temporaryFolder } from './support/postgres.js'

const RECORDS = 30_000

/** Bodies of 1 to 700 bytes, and one larger than a chunk. */
const bodyOf = (seq: number) => Buffer.alloc(seq === 12_345 ? CHUNK_BYTES + 77 : 1 + (seq % 700), `record ${seq} `)

async function longJournal(test: Test) {
  const directory = await temporaryFolder(test)
  const listener = { onDurable: () => {}, onFailure: (error: Error) => test.fail(error.message) }
  const { journal } = await openFileJournal({ directory, listener, segmentBytes: 2 * CHUNK_BYTES })
  for (let seq = 1; seq <= RECORDS; seq++) journal.append(seq, bodyOf(seq))
  await journal.close()
  return { directory, listener }
}

async function readPlainly(directory: string, fromSeq: number): Promise<unknown> {
  const reader = new JournalReader({ directory, fromSeq })
  try {
    while (reader.nextSeq <= RECORDS) await reader.next(RECORDS)
    return undefined
  } catch (error) {
    return error
  } finally {
    await reader.close()
  }
}

t.test('every record comes once, in order, as it was written', async (t) => {
  const { directory, listener } = await longJournal(t)
  const { journal } = await openFileJournal({ directory, listener })
  t.teardown(() => journal.close())
  for (const fromSeq of [1, 7_001]) {
    let nextSeq = fromSeq
    for await (const entries of journal.read(fromSeq)) {
      for (const { seq, body } of entries) {
        if (seq !== nextSeq || !bodyOf(seq).equals(body)) t.fail(`record ${nextSeq} was read as ${seq}`)
        nextSeq += 1
      }
    }
    t.equal(nextSeq, RECORDS + 1)
  }
})

t.test('damage is reported as a plain reader reports it, and nothing behind it is given (J2)', async (t) => {
  const { directory } = await longJournal(t)
  const segments = (await readdir(directory)).filter((name) => /\d/.test(name)).sort()
  const file = await openFile(join(directory, segments[2] ?? ''), 'r+')
  await file.write(Buffer.from([0xff, 0x00, 0xff]), 0, 3, CHUNK_BYTES)
  await file.close()
  const expected = await readPlainly(directory, 1)
  t.type(expected, JournalDamagedError)
  let nextSeq = 1
  const found = await (async () => {
    for await (const entries of readAhead({ directory, fromSeq: 1, throughSeq: RECORDS })) {
      for (const { seq } of entries) {
        if (seq !== nextSeq) t.fail(`record ${nextSeq} was read as ${seq}`)
        nextSeq += 1
      }
    }
    return undefined
  })().catch((error: unknown) => error)
  t.same(String(found), String(expected))
  const { expectedSeq } = expected as JournalDamagedError
  t.ok(nextSeq > 1 && nextSeq <= expectedSeq, 'nothing behind the damage was given')
})

t.test('who stops reading leaves no thread behind', async (t) => {
  const { directory } = await longJournal(t)
  for await (const [first] of readAhead({ directory, fromSeq: 1, throughSeq: RECORDS })) if (first?.seq === 1) break
  const threads = () => process.getActiveResourcesInfo().filter((name) => name === 'MessagePort' || name === 'Worker')
  t.same(threads(), [])
})

// Hunts what goes wrong around whole segments: a crash while rotating, files swapped or missing, a reader ahead of
// the writer or fed half-written bytes, truncation of what is still needed, two writers in one directory.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFile, cp, mkdir, readdir, readFile, rename, stat, truncate, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import type { JournalEntry } from '../engine/journal.js'
import { MARK_NAME } from '../persistence/journal/durable-mark.js'
import { JournalDamagedError, JournalLockedError } from '../persistence/journal/errors.js'
import { type JournalFiles, nodeFiles } from '../persistence/journal/files.js'
import { SEGMENT_HEADER_BYTES, segmentName } from '../persistence/journal/format.js'
import { describeFrames, describeSegments, verifyJournal } from '../persistence/journal/inspect.js'
import { JournalReader } from '../persistence/journal/reader.js'
import {
  bodyOf,
  collect,
  contents,
  crashedAfter,
  expected,
  freshDirectory,
  journalOf,
  openAt,
  segmentsOf,
} from './support/journal.js'

/** Copies a journal, lets `change` damage the copy; returns the copy. */
async function damaged(directory: string, change: (path: (firstSeq: number) => string) => Promise<unknown>) {
  const copy = freshDirectory()
  await cp(directory, copy, { recursive: true })
  await change((firstSeq) => join(copy, segmentName(firstSeq)))
  return copy
}

async function reads(directory: string, fromSeq: number, throughSeq: number, bytesMax?: number): Promise<string[]> {
  const reader = new JournalReader({ directory, fromSeq })
  const found: string[] = []
  try {
    while (reader.nextSeq <= throughSeq) {
      for (const { seq, body } of await reader.next(throughSeq, bytesMax)) found.push(`${seq}:${body}`)
    }
    return found
  } finally {
    await reader.close()
  }
}

t.test('a crash while a segment is created leaves a file that is dropped, and only that', async (t) => {
  const directory = await journalOf(3, { segmentBytes: 1 })
  const whole = await readFile(join(directory, segmentName(7)))
  const header = whole.subarray(0, SEGMENT_HEADER_BYTES)
  for (let length = 0; length <= header.length; length += 1) {
    for (const start of [header.subarray(0, length), Buffer.alloc(length)]) {
      const copy = await damaged(directory, (path) => writeFile(path(7), start))
      await crashedAfter(copy, 6)
      const { journal, tail, write } = await openAt(copy)
      t.equal(tail?.cutBytes, start === header || start.equals(header) ? undefined : length)
      await write(bodyOf(7))
      await journal.close()
      t.same(await contents(copy), expected(1, 7))
    }
  }
  const hopeless: [string, (path: (firstSeq: number) => string) => Promise<unknown>][] = [
    ['zeros where frames were', (path) => writeFile(path(7), Buffer.alloc(whole.length))],
    ['a header that is not the one due', (path) => writeFile(path(7), Buffer.from('COMPJRNX'))],
    ['an empty file of the wrong name', (path) => rename(path(7), path(9)).then(() => truncate(path(9)))],
    ['a torn segment before it', (path) => truncate(path(4), 150).then(() => truncate(path(7)))],
  ]
  for (const [name, change] of hopeless) {
    t.ok((await contents(await damaged(directory, change))) instanceof JournalDamagedError, name)
  }
  const fresh = freshDirectory()
  await (await openAt(fresh)).journal.close()
  await truncate(join(fresh, segmentName(1)), 10)
  t.same(await contents(fresh), [], 'the very first segment')
})

t.test('J2: swapped, renamed, foreign, missing and cut segments are found wherever they are', async (t) => {
  const directory = await journalOf(4, { segmentBytes: 1 })
  const other = await journalOf(4, { segmentBytes: 1 }, 41)
  const foreign = (firstSeq: number) => (path: (firstSeq: number) => string) =>
    cp(join(other, segmentName(firstSeq)), path(firstSeq))
  const swapped = async (path: (firstSeq: number) => string) => {
    await rename(path(4), path(99))
    await rename(path(7), path(4))
    await rename(path(99), path(7))
  }
  const cases: [string, number, (path: (firstSeq: number) => string) => Promise<unknown>][] = [
    ['swapped', 4, swapped],
    ['foreign in the middle', 7, foreign(4)],
    ['foreign at the start', 4, foreign(1)],
    ['foreign at the end', 10, foreign(10)],
    ['missing', 4, (path) => unlink(path(4))],
    ['longer than its frames', 7, (path) => appendFile(path(4), 'JF')],
    ['cut in the middle', 6, (path) => truncate(path(4), 240)],
    ['cut to its header', 4, (path) => truncate(path(4), SEGMENT_HEADER_BYTES)],
  ]
  for (const [name, seq, change] of cases) {
    const copy = await damaged(directory, change)
    const { problem } = await verifyJournal(copy)
    t.ok(problem !== undefined && problem.seq <= seq, `${name}: verify`)
    await t.rejects(reads(copy, 1, 12), JournalDamagedError, `${name}: reader`)
    t.ok((await contents(copy)) instanceof JournalDamagedError, `${name}: start or read`)
  }
  t.same((await verifyJournal(directory)).problem, undefined)
})

t.test('records known to be durable are missed before anything is cut', async (t) => {
  const directory = await journalOf(3)
  const file = join(directory, segmentName(1))
  await truncate(file, (await stat(file)).size - 1)
  await crashedAfter(directory, 5)
  const { size } = await stat(file)
  await t.rejects(openAt(directory, { knownDurableSeq: 9 }), { name: 'JournalDamagedError', expectedSeq: 7, file })
  t.equal((await stat(file)).size, size)
  await t.rejects(openAt(freshDirectory(), { knownDurableSeq: 1 }), JournalDamagedError, 'a journal that is gone')
  const { journal } = await openAt(directory, { knownDurableSeq: 6 })
  await journal.close()
})

t.test('a tailing reader sees every record once, in order, and none that is not announced', async (t) => {
  const turn = fc.record({
    append: fc.nat(6),
    size: fc.constantFrom(0, 30, 3_000),
    ask: fc.nat(40),
    bytesMax: fc.nat(9_000),
  })
  const property = fc.asyncProperty(
    fc.array(turn, { maxLength: 25 }),
    fc.integer({ min: 1, max: 20 }),
    async (turns, from) => {
      const directory = freshDirectory()
      const { journal, write } = await openAt(directory, { segmentBytes: 4_000, batchBytesMax: 5_000 })
      const reader = new JournalReader({ directory, fromSeq: from })
      const seen: JournalEntry[] = []
      const written: string[] = []
      for (const { append, size, ask, bytesMax } of turns) {
        const bodies = Array.from({ length: append }, (_, index) => bodyOf(journal.lastSeq + 1 + index, size))
        written.push(...bodies.map((body, index) => `${journal.lastSeq + 1 + index}:${body}`))
        if (append > 0) await write(...bodies)
        const through = Math.min(ask, journal.durableSeq)
        const entries = await reader.next(through, bytesMax)
        if (entries.some(({ seq }) => seq > through)) t.fail('passed what was announced')
        seen.push(...entries)
      }
      while (reader.nextSeq <= journal.durableSeq) {
        seen.push(...(await reader.next(journal.durableSeq)))
      }
      await reader.close()
      await journal.close()
      // Only now, so that a body overwritten by a later read would show.
      t.strictSame(
        seen.map(({ seq, body }) => `${seq}:${body}`),
        written.slice(from - 1),
      )
    },
  )
  await fc.assert(property, { numRuns: 40 })
})

t.test('entries stay as they were read while the reader goes on', async (t) => {
  const directory = await journalOf(12, {}, 100_000)
  const reader = new JournalReader({ directory, fromSeq: 1 })
  const held: JournalEntry[] = []
  while (reader.nextSeq <= 36) held.push(...(await reader.next(36, 250_000)))
  await reader.close()
  t.ok(held.every(({ seq, body }) => bodyOf(seq, 100_000).equals(body)))
})

t.test('a reader does not trust bytes it read while they were being written', async (t) => {
  const directory = freshDirectory()
  let half: (() => void) | null = null
  let finish = () => {}
  const files = { ...nodeFiles }
  files.write = async (fd, bytes, at) => {
    if (half === null) return nodeFiles.write(fd, bytes, at)
    // Like a page cache caught in the act: the frame's size is there, half of its bytes are not.
    await nodeFiles.write(fd, Buffer.alloc(bytes.length, 'x'), at)
    await nodeFiles.write(fd, bytes.subarray(0, bytes.length / 2), at)
    half()
    half = null
    await new Promise<void>((resolve) => (finish = resolve))
    return nodeFiles.write(fd, bytes, at)
  }
  const { journal, write } = await openAt(directory, { files })
  await write(bodyOf(1), bodyOf(2))
  const halfWritten = new Promise<void>((resolve) => (half = resolve))
  const writing = write(bodyOf(3), bodyOf(4))
  await halfWritten
  const reader = new JournalReader({ directory, fromSeq: 1 })
  const first = await reader.next(2)
  t.same(await reader.next(2), [])
  finish()
  await writing
  const then = await reader.next(4)
  t.same(
    [...first, ...then].map(({ seq, body }) => `${seq}:${body}`),
    expected(1, 4),
  )
  await reader.close()
  await journal.close()
})

t.test('every way to the disk and every moment goes through the ports', async (t) => {
  const real = freshDirectory()
  const elsewhere = (path: string) => join(real, path)
  const files: JournalFiles = {
    ...nodeFiles,
    makeDirectory: (path) => nodeFiles.makeDirectory(elsewhere(path)),
    list: (path) => nodeFiles.list(elsewhere(path)),
    lock: (path) => nodeFiles.lock(elsewhere(path)),
    create: (path) => nodeFiles.create(elsewhere(path)),
    openExisting: (path) => nodeFiles.openExisting(elsewhere(path)),
    openToRead: (path) => nodeFiles.openToRead(elsewhere(path)),
    remove: (path) => nodeFiles.remove(elsewhere(path)),
    syncDirectory: (path) => nodeFiles.syncDirectory(elsewhere(path)),
  }
  const putOff: (() => void)[] = []
  const scheduler = { soon: (task: () => void) => void putOff.push(task), nowMs: () => 7 }
  const options = { files, scheduler, segmentBytes: 300 }
  const directory = '/no/such/place'
  const { journal, announced, durable } = await openAt(directory, options)
  for (let seq = 1; seq <= 6; seq += 1) {
    journal.append(seq, bodyOf(seq))
    t.equal(putOff.length, 1, 'a flush is put off once')
    if (seq % 2 === 1) continue
    for (let turn = 0; turn < 5; turn += 1) await stat(real)
    t.notOk(announced.includes(seq), 'and does not begin by itself')
    const flushed = durable(seq)
    putOff.pop()?.()
    await flushed
  }
  t.equal(journal.stats.lastFlushMicros, 0, 'measured by the clock it was given')
  await journal.truncate(2)
  await journal.close()
  const again = await openAt(directory, options)
  t.same(await collect(again.journal.read(3)), expected(3, 6))
  await again.journal.close()
  t.equal((await verifyJournal(directory, undefined, files)).records, 4)
  const reader = new JournalReader({ directory, files, fromSeq: 5 })
  t.equal((await reader.next(6)).length, 2)
  await reader.close()
})

t.test('truncate drops whole old segments only, and never where the sequence goes on', async (t) => {
  const directory = await journalOf(5, { segmentBytes: 1 })
  const sizes = await Promise.all(
    (await segmentsOf(directory)).map(async (name) => (await stat(join(directory, name))).size),
  )
  const retainBytes = (sizes[4] ?? 0) + (sizes[3] ?? 0)
  const left = async () => (await segmentsOf(directory)).map((name) => Number.parseInt(name, 10))
  const files = { ...nodeFiles, remove: () => Promise.reject(new Error('EBUSY')) }
  const failing = await openAt(directory, { files })
  await t.rejects(failing.journal.truncate(15), /EBUSY/)
  await failing.journal.close()
  const keeping = await openAt(directory, { retainBytes })
  await keeping.journal.truncate(5)
  t.same(await left(), [4, 7, 10, 13], 'records 4 to 6 are needed from 6 on')
  await keeping.journal.truncate(15)
  t.same(await left(), [10, 13], 'retainBytes')
  t.throws(() => keeping.journal.truncate(16), /durable is 15/)
  await keeping.journal.close()
  await keeping.journal.truncate(15)
  t.same(await left(), [10, 13], 'what write-behind still reports after a stop drops nothing and fails nobody')
  const { journal } = await openAt(directory)
  await Promise.all([journal.truncate(12), journal.truncate(15)])
  t.same(await left(), [13])
  t.same([journal.lastSeq, journal.stats.segments, journal.stats.diskBytes], [15, 1, sizes[4]])
  t.same(await collect(journal.read(14)), expected(14, 15))
  await t.rejects(collect(journal.read(12)), /oldest segment begins at 13/)
  await journal.close()
  const { firstSeq, lastSeq, records } = await verifyJournal(directory)
  t.same([firstSeq, lastSeq, records], [13, 15, 3])
})

t.test('one writer: a second is refused, a killed one is replaced', async (t) => {
  const directory = await journalOf(1)
  const { journal } = await openAt(directory)
  await t.rejects(openAt(directory), JournalLockedError)
  await journal.close()
  const module = new URL('../persistence/journal/file-journal.js', import.meta.url)
  const script = `const { openFileJournal } = await import(${JSON.stringify(module.href)})
    await openFileJournal({ directory: ${JSON.stringify(directory)}, listener: {} })
    process.stdout.write('open'); process.stdin.resume()`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['pipe', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  await once(child.stdout, 'data')
  await t.rejects(openAt(directory), { code: 'journal_locked', pid: child.pid })
  child.kill('SIGKILL')
  await once(child, 'exit')
  await writeFile(join(directory, `writer-${process.pid}-00000000.1.lock`), '')
  t.same(await contents(directory), expected(1, 3), 'also past a lock of an earlier process with our id')
  t.same((await readdir(directory)).sort(), [...(await segmentsOf(directory)), MARK_NAME])
})

t.test('verify and inspect tell where the journal stands', async (t) => {
  const directory = await journalOf(3, { segmentBytes: 500 })
  const file = (firstSeq: number) => join(directory, segmentName(firstSeq))
  await truncate(file(7), (await stat(file(7))).size - 5)
  await crashedAfter(directory, 6)
  const progress: number[] = []
  const frameBytes = 64 + 3 * 44
  const verified = await verifyJournal(directory, ({ records }) => progress.push(records))
  t.same(verified, {
    segments: 2,
    records: 6,
    bytes: 2 * 64 + 2 * frameBytes,
    firstSeq: 1,
    lastSeq: 6,
    cutBytes: frameBytes - 5,
  })
  t.same(progress, [6, 6])
  const frames = []
  for await (const frame of describeFrames({ path: file(1), firstSeq: 1 })) frames.push(frame)
  t.match(frames, [
    { offset: 64, bytes: frameBytes, firstSeq: 1, lastSeq: 3, records: 3, chain: /^[0-9a-f]{64}$/ },
    { offset: 64 + frameBytes, bytes: frameBytes, firstSeq: 4, lastSeq: 6, records: 3, chain: /^[0-9a-f]{64}$/ },
  ])
  const segments = []
  for await (const segment of describeSegments(directory)) segments.push(segment)
  const chain = frames[1]?.chain
  t.same(segments, [
    { file: file(1), firstSeq: 1, lastSeq: 6, frames: 2, records: 6, bytes: 64 + 2 * frameBytes, cutBytes: 0, chain },
    { file: file(7), firstSeq: 7, lastSeq: 6, frames: 0, records: 0, bytes: 64, cutBytes: frameBytes - 5, chain },
  ])
  const empty = freshDirectory()
  await mkdir(empty)
  t.same(await verifyJournal(empty), { segments: 0, records: 0, bytes: 0, firstSeq: 0, lastSeq: 0 })
})

// Hunts what would lose or invent records: announcing before the disk has them (J1), taking damage for a torn
// tail or the reverse (J2), going on after a failed flush (J4).
import { readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { encodeSlot, MARK_NAME, readMark } from '../persistence/journal/durable-mark.js'
import { JournalDamagedError } from '../persistence/journal/errors.js'
import { type JournalFiles, nodeFiles } from '../persistence/journal/files.js'
import { segmentName } from '../persistence/journal/format.js'
import { describeFrames, verifyJournal } from '../persistence/journal/inspect.js'
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

t.test('records survive rotation, close and reopen, whatever their size', async (t) => {
  const directory = freshDirectory()
  const sizes = [0, 1, 700, 5000, 100_000, 3, 64 * 1024, 2_000, 0]
  const options = { segmentBytes: 8_000, batchBytesMax: 4_000 }
  for (let round = 0; round < 3; round += 1) {
    const { journal, write, tail } = await openAt(directory, options)
    t.equal(tail, null)
    t.equal(journal.lastSeq, round * sizes.length)
    t.equal(journal.durableSeq, journal.lastSeq)
    await write(...sizes.map((bytes) => Buffer.alloc(bytes, round + 1)))
    await journal.close()
  }
  const { journal } = await openAt(directory, options)
  const found: Buffer[] = []
  for await (const entries of journal.read(1)) found.push(...entries.map(({ body }) => Buffer.from(body)))
  t.same(
    found,
    [1, 2, 3].flatMap((fill) => sizes.map((bytes) => Buffer.alloc(bytes, fill))),
  )
  t.equal((await collect(journal.read(20))).length, 8)
  await journal.close()
  t.equal((await stat(directory)).mode & 0o777, 0o700)
  for (const name of await segmentsOf(directory)) t.equal((await stat(join(directory, name))).mode & 0o777, 0o600)
  t.same((await readdir(directory)).sort(), [...(await segmentsOf(directory)), MARK_NAME], 'the lock is gone')
})

t.test('J1: nothing is announced before its sync returns; one flush in flight; order kept', async (t) => {
  const held: (() => void)[] = []
  let arrived = () => {}
  let inFlight = 0
  let holding = false
  const files: JournalFiles = {
    ...nodeFiles,
    async datasync(fd) {
      if (holding) {
        inFlight += 1
        const released = new Promise<void>((resolve) => held.push(resolve))
        arrived()
        await released
        inFlight -= 1
      }
      await nodeFiles.datasync(fd)
    },
  }
  const syncing = () => new Promise<void>((resolve) => (arrived = resolve))
  const directory = freshDirectory()
  const { journal, announced, durable } = await openAt(directory, { files, batchBytesMax: 100 })
  holding = true
  const scratch = Buffer.alloc(40)
  let reached = syncing()
  for (let seq = 1; seq <= 2; seq += 1) {
    bodyOf(seq).copy(scratch)
    journal.append(seq, scratch) // the caller's buffer is reused at once
  }
  await reached
  for (let seq = 3; seq <= 7; seq += 1) journal.append(seq, bodyOf(seq))
  for (const through of [2, 4, 6]) {
    for (let turn = 0; turn < 10; turn += 1) await stat(directory) // time for what does not wait to show
    t.equal(inFlight, 1, 'one flush in flight')
    t.equal(journal.durableSeq, through - 2)
    t.same(
      announced,
      [2, 4].filter((seq) => seq < through),
    )
    reached = syncing()
    held.shift()?.()
    await reached
  }
  t.equal(journal.stats.backlogRecords, 1)
  const last = durable(7)
  held.shift()?.()
  await last
  t.same(announced, [2, 4, 6, 7], 'a backlog beyond batchBytesMax is split over several frames')
  t.equal(journal.stats.backlogBytes, 0)
  t.same(await collect(journal.read(1)), expected(1, 7))
  holding = false
  await journal.close()
})

t.test('J4: the first failed flush ends the journal, is told once and never tried again', async (t) => {
  const broken = () => Promise.reject(new Error('EIO: the disk is broken'))
  const faults: Record<string, Partial<JournalFiles>> = {
    'failed sync': { datasync: broken },
    'failed write': { write: broken },
    'short write': { write: (fd, bytes, at) => nodeFiles.write(fd, bytes.subarray(0, bytes.length - 1), at) },
    'failed rotation': { create: broken },
    'failed directory sync': { syncDirectory: broken },
  }
  for (const [name, fault] of Object.entries(faults)) {
    const directory = await journalOf(2)
    const calls: string[] = []
    const files = { ...nodeFiles }
    const { journal, announced, failures, failure } = await openAt(directory, { files, segmentBytes: 1 })
    const arm =
      (call: string, make: (...args: never[]) => Promise<unknown>) =>
      (...args: never[]) => {
        calls.push(call)
        return make(...args)
      }
    Object.assign(files, Object.fromEntries(Object.entries(fault).map(([call, make]) => [call, arm(call, make)])))
    journal.append(7, bodyOf(7))
    journal.append(8, bodyOf(8))
    t.match(await failure, /broken|Short write/, name)
    t.throws(() => journal.append(9, bodyOf(9)), { code: 'journal_failed' })
    await journal.close()
    t.equal(failures.length, 1, `${name}: told once`)
    t.equal(calls.length, 1, `${name}: not tried again`)
    t.same(announced, [], `${name}: nothing announced`)
    const found = await contents(directory)
    t.ok(Array.isArray(found) && [6, 8].includes(found.length), `${name}: the records before are there`)
  }
})

t.test('a close that could not flush says so', async (t) => {
  const files = { ...nodeFiles }
  const { journal, failures } = await openAt(freshDirectory(), { files })
  files.write = () => Promise.reject(new Error('ENOSPC'))
  journal.append(1, bodyOf(1))
  await t.rejects(journal.close(), /ENOSPC/)
  t.equal(failures.length, 1)
})

t.test('a start that cannot write and sync again what it read does not call it durable', async (t) => {
  const directory = await journalOf(2)
  for (const call of ['write', 'datasync', 'syncDirectory'] as const) {
    const files = { ...nodeFiles, [call]: () => Promise.reject(new Error('EIO')) }
    await t.rejects(openAt(directory, { files }), /EIO/)
    t.same(await contents(directory), expected(1, 6), 'and it gave the lock back')
  }
})

t.test('appends that break the order, the size or the backlog limit change nothing', async (t) => {
  const { journal, write } = await openAt(freshDirectory(), { backlogBytesMax: 1_000 })
  t.throws(() => journal.append(2, bodyOf(2)), /record 2 appended after 0/)
  t.throws(() => journal.append(1, Buffer.alloc(16 * 1024 * 1024)), /larger than/)
  await write(bodyOf(1))
  await write(Buffer.alloc(900))
  t.equal(journal.lastSeq, 2)
  journal.append(3, Buffer.alloc(1_001))
  t.throws(() => journal.append(4, bodyOf(4)), { code: 'journal_backlog' })
  t.equal(journal.lastSeq, 3, 'alone, a record larger than the limit is taken: no later try would find more room')
  await journal.close()
  t.throws(() => journal.append(4, bodyOf(4)), /closed/)
})

t.test('J2: a tail torn at any byte is cut and what was before it stays', async (t) => {
  const directory = await journalOf(3)
  const file = join(directory, segmentName(1))
  const whole = await readFile(file)
  const frames = []
  for await (const frame of describeFrames({ path: file, firstSeq: 1 })) frames.push(frame)
  const start = frames[2]?.offset ?? 0
  for (let length = start; length < whole.length; length += 1) {
    await writeFile(file, whole.subarray(0, length))
    await crashedAfter(directory, 6)
    const { journal, tail } = await openAt(directory)
    const found = await collect(journal.read(1))
    await journal.close()
    const cut = length === start ? null : { file, offset: start, cutBytes: length - start, nextSeq: 7 }
    if (JSON.stringify(tail) !== JSON.stringify(cut)) t.same(tail, cut)
    if (found.join() !== expected(1, 6).join()) t.same(found, expected(1, 6))
  }
  const { journal, write } = await openAt(directory)
  await write(bodyOf(7))
  await journal.close()
  t.same(await contents(directory), expected(1, 7), 'and the journal goes on from there')
})

t.test('J5: an end that was durable and is gone is missed, whatever it looks like', async (t) => {
  const directory = await journalOf(3, { segmentBytes: 500 })
  const [first = '', last = ''] = (await segmentsOf(directory)).map((name) => join(directory, name))
  const whole = await readFile(last)
  for (let length = 0; length < whole.length; length += 1) {
    await writeFile(last, whole.subarray(0, length))
    const found = await contents(directory)
    if (!(found instanceof JournalDamagedError)) throw new Error(`cut to ${length}: ${found}`)
    t.equal(found.file, last)
    const { problem } = await verifyJournal(directory)
    if (problem?.file !== last || problem.offset > length) t.same(problem, { file: last, offset: length })
  }
  await rm(last)
  t.match(await contents(directory), { name: 'JournalDamagedError', file: first, expectedSeq: 7 }, 'a whole segment')
  await writeFile(last, whole)
  t.same(await contents(directory), expected(1, 9), 'and nothing was changed meanwhile')
})

t.test('J5: a byte that was alone in its sector and turned zero is damage, no sector that never arrived', async (t) => {
  for (const [sectors, at] of [
    [2, 1024],
    [4, 1500],
  ] as const) {
    const directory = freshDirectory()
    const { journal, write } = await openAt(directory)
    const body = Buffer.alloc(sectors * 512 - 64 - 64 - 4 + 1)
    body[at - 64 - 64 - 4] = 7
    await write(body)
    await journal.close()
    const file = join(directory, segmentName(1))
    const bytes = await readFile(file)
    t.equal(bytes[at], 7)
    bytes[at] = 0
    await writeFile(file, bytes)
    t.match(await contents(directory), { name: 'JournalDamagedError', file, offset: 64 })
    t.strictSame(await readFile(file), bytes, 'and nothing is cut')
  }
})

t.test('J5: the mark is never ahead of the disk, and there before anybody is told', async (t) => {
  const directory = freshDirectory()
  const marks: number[] = []
  const mark = () => readMark(directory, nodeFiles).then((seq) => marks.push(seq))
  const files: JournalFiles = { ...nodeFiles, datasync: (fd) => mark().then(() => nodeFiles.datasync(fd)) }
  const { journal, write } = await openAt(directory, { files })
  marks.length = 0
  for (let seq = 1; seq <= 4; seq += 1) {
    await write(bodyOf(seq))
    t.equal(await readMark(directory, nodeFiles), seq)
  }
  t.same(marks, [0, 1, 2, 3], 'while the next is being synced')
  await journal.close()
  await rm(join(directory, MARK_NAME))
  t.same(await contents(directory), expected(1, 4), 'a journal from before there were marks')
  for (const bytes of [Buffer.alloc(0), Buffer.alloc(32), Buffer.from('COMPMARK')]) {
    await writeFile(join(directory, MARK_NAME), bytes)
    t.same(await contents(directory), expected(1, 4), 'a mark whose creation was interrupted')
    t.equal(await readMark(directory, nodeFiles), 4)
  }
  const whole = await readFile(join(directory, MARK_NAME))
  for (const slotAt of [0, 512]) {
    const half = Buffer.from(whole).fill(9, slotAt + 20, slotAt + 32)
    await writeFile(join(directory, MARK_NAME), half)
    t.equal(await readMark(directory, nodeFiles), 4, 'a slot that was half written leaves the other')
  }
  await writeFile(join(directory, MARK_NAME), Buffer.concat([encodeSlot(0), Buffer.alloc(512, 9)]))
  t.equal(await readMark(directory, nodeFiles), 0, 'also if that is the mark of an empty journal')
  await writeFile(join(directory, MARK_NAME), Buffer.alloc(1024, 1))
  t.match(await contents(directory), { name: 'JournalDamagedError', message: /delete this file/ })
  t.match((await verifyJournal(directory)).problem, { file: join(directory, MARK_NAME), offset: 0 })
})

t.test(
  'J2: whatever a crash keeps of the flush in flight, nothing acknowledged goes and nothing false comes',
  async (t) => {
    const body = fc.oneof(
      fc.uint8Array({ maxLength: 900 }),
      fc.nat(3000).map((bytes) => new Uint8Array(bytes)),
    )
    const batch = fc.array(body, { minLength: 1, maxLength: 3 })
    const property = fc.asyncProperty(
      fc.array(batch, { minLength: 1, maxLength: 4 }),
      batch,
      fc.option(fc.double({ min: 0, max: 1, noNaN: true }), { nil: null, freq: 1 }),
      fc.infiniteStream(fc.boolean()),
      async (acknowledged, unacknowledged, keptShare, sectorsKept) => {
        const directory = freshDirectory()
        const first = await openAt(directory)
        for (const bodies of acknowledged) await first.write(...bodies)
        const count = first.journal.lastSeq
        const file = join(directory, segmentName(1))
        const before = (await stat(file)).size
        await first.write(...unacknowledged)
        await first.journal.close()
        const disk = await readFile(file)
        for (let at = before; at < disk.length; ) {
          const end = Math.min(disk.length, at + 512 - (at % 512))
          if (!sectorsKept.next().value) disk.fill(0, at, end)
          at = end
        }
        await writeFile(file, disk.subarray(0, before + Math.floor((disk.length - before) * (keptShare ?? 1))))
        await crashedAfter(directory, count)
        const { journal } = await openAt(directory)
        const bodies: Uint8Array[] = []
        for await (const entries of journal.read(1)) bodies.push(...entries.map(({ body }) => Buffer.from(body)))
        await journal.close()
        const all = [...acknowledged.flat(), ...unacknowledged].map((each) => Buffer.from(each))
        t.ok(bodies.length === count || bodies.length === all.length)
        t.strictSame(bodies, all.slice(0, bodies.length))
        await rm(directory, { recursive: true })
      },
    )
    await fc.assert(property, { numRuns: 60 })
  },
)

t.test('J2: sectors lost before the last frame stop the start, though they read as zeros', async (t) => {
  const directory = await journalOf(12, {}, 200)
  const file = join(directory, segmentName(1))
  const whole = await readFile(file)
  const starts: number[] = []
  for await (const frame of describeFrames({ path: file, firstSeq: 1 })) starts.push(frame.offset)
  const last = starts.pop() ?? 0
  const sectors = Array.from({ length: Math.floor(last / 512) }, (_, index) => 512 * (index + 1))
  for (const from of [...starts, ...sectors]) {
    const lost = Buffer.from(whole)
    await writeFile(file, lost.fill(0, from, Math.min(last, Math.ceil((from + 1) / 512) * 512)))
    const offset = starts.findLast((start) => start <= from)
    t.match(await contents(directory), { name: 'JournalDamagedError', file, offset }, `zeros at ${from}`)
    t.strictSame(await readFile(file), lost, 'and nothing is cut')
  }
})

t.test('J2: a whole frame of another journal, at its place and with its checksums, is detected', async (t) => {
  const [own, other] = [await journalOf(4), await journalOf(4, {}, 40, 1)]
  const [ownFile, otherFile] = [own, other].map((directory) => join(directory, segmentName(1)))
  const frames = []
  for await (const frame of describeFrames({ path: String(ownFile), firstSeq: 1 })) frames.push(frame)
  const bytes = await readFile(String(ownFile))
  const foreign = await readFile(String(otherFile))
  for (const { offset, bytes: length, firstSeq } of frames) {
    const mixed = Buffer.from(bytes)
    foreign.copy(mixed, offset, offset, offset + length)
    await writeFile(String(ownFile), mixed)
    const due = { name: 'JournalDamagedError', what: /hash chain/ }
    t.match(await contents(own), due, `frame of record ${firstSeq}`)
  }
})

t.test('J2: a flipped byte anywhere is detected, and nothing is cut for it', async (t) => {
  const directory = await journalOf(12, { segmentBytes: 1_000 })
  const { journal, write } = await openAt(directory)
  await write(bodyOf(37), Buffer.alloc(1_500), bodyOf(39)) // zeros by right in the last frame
  await journal.close()
  const files = await Promise.all(
    (await segmentsOf(directory)).map(async (name) => ({ name, bytes: await readFile(join(directory, name)) })),
  )
  const positions = files.flatMap(({ name, bytes }) => Array.from(bytes, (_, at) => ({ name, bytes, at })))
  t.ok(files.length >= 3)
  const property = fc.asyncProperty(
    fc.constantFrom(...positions),
    fc.integer({ min: 1, max: 255 }),
    async ({ name, bytes, at }, mask) => {
      const flipped = Buffer.from(bytes)
      flipped.writeUInt8(bytes.readUInt8(at) ^ mask, at)
      await writeFile(join(directory, name), flipped)
      const { problem } = await verifyJournal(directory)
      const found = await contents(directory)
      const kept = await readFile(join(directory, name))
      await writeFile(join(directory, name), bytes)
      return problem !== undefined && !Array.isArray(found) && kept.equals(flipped)
    },
  )
  await fc.assert(property, { numRuns: 300 })
  t.same((await verifyJournal(directory)).records, 39)
})

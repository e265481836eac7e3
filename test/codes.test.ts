// Hunts: keys lost or doubled while the index grows, statuses and counts drifting apart, a restored table differing
// from the original, a mistyped code passing the check, a name given to two members.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import {
  CHUNK_CODES_MAX,
  CodeBook,
  type CodeDelta,
  type CodeStatus,
  codeStatuses,
  deviceFingerprint,
  runsOf,
} from '../actors/codes/code-book.js'
import { checkHolds, codesFromRandom, formatCode, parseCode, withCheck } from '../actors/codes/code-text.js'
import { Directory, type DirectoryDelta, keyOf, type NameKind, suggestUsername } from '../actors/members/directory.js'
import { KeyIndex } from '../actors/shared/key-index.js'
import { pack, unpack } from '../engine/record.js'

const alphabet = 'ABCDEFGHJKLMNPQRSTUVWXYZ23456789'
const AssertionError = { name: 'AssertionError' }
const uint32 = fc.integer({ min: 0, max: 0xffffffff })
const half = fc.integer({ min: 0, max: 2 ** 30 - 1 })

/** Reproducible bytes that look random. */
const bytesOf = (seed: string, count: number) => createHash('shake256', { outputLength: count }).update(seed).digest()
/** A delta as recovery sees it. */
const journaled = <Delta>(delta: Delta): Delta => unpack<Delta>(pack(delta))

t.test('key index agrees with a Map, whatever the keys', async (t) => {
  const few = fc.constantFrom(0, 1, 2, 0x3fffffff, 0x7fffffff, 0x80000000, 0xffffffff)
  const key = fc.oneof(fc.tuple(few, few), fc.tuple(uint32, uint32))
  fc.assert(
    fc.property(fc.array(key, { maxLength: 300 }), fc.nat({ max: 20_000 }), (keys, reserved) => {
      const index = new KeyIndex()
      const model = new Map<string, number>()
      for (const [at, [hi, lo]] of keys.entries()) {
        if (at === 100) index.reserve(reserved)
        const known = model.get(`${hi}/${lo}`)
        if (index.find(hi, lo) !== (known ?? -1)) return false
        if (known === undefined) model.set(`${hi}/${lo}`, index.add(hi, lo))
      }
      return [...model].every(([text, row], at) => row === at && text === `${index.hi(row)}/${index.lo(row)}`)
    }),
  )
  t.pass()
})

t.test('key index keeps every key through growth and stays small for keys that are far from random', async (t) => {
  const count = 2 ** 18
  const families: Record<string, (at: number) => [number, number]> = {
    counting: (at) => [0, at],
    'counting above': (at) => [at, 0],
    equal: (at) => [at, at],
    'multiples of a page': (at) => [7, Math.imul(at, 0x10000 + 1) >>> 0],
    'high bits only': (at) => [(at << 14) >>> 0, 0],
    'both ways': (at) => [at, 0xffffffff - at],
  }
  for (const [name, keyAt] of Object.entries(families)) {
    const index = new KeyIndex()
    for (let at = 0; at < count; at++) index.add(...keyAt(at))
    let lost = 0
    for (let at = 0; at < count; at++) if (index.find(...keyAt(at)) !== at) lost++
    t.equal(lost, 0, name)
    t.equal(index.find(12345, 0xdeadbeef), -1)
    t.ok(index.bytes / count < 15, `${name}: ${index.bytes / count} bytes a key`)
  }
})

t.test('key index refuses a key twice and rows it does not have', async (t) => {
  const index = new KeyIndex()
  index.add(1, 2)
  for (const wrong of [() => index.add(1, 2), () => index.hi(1), () => index.lo(-1)]) t.throws(wrong, AssertionError)
  t.equal(index.size, 1)
})

t.test('a code survives being written and typed back (BJ-QR-01)', async (t) => {
  fc.assert(
    fc.property(half, half, (hi, lo) => {
      const text = formatCode(hi, lo)
      assert.match(text, /^[A-HJ-NP-Z2-9]{4}(-[A-HJ-NP-Z2-9]{4}){2}$/)
      for (const typed of [text, text.toLowerCase(), text.replaceAll('-', ''), `  ${text}\n`, text.replace('-', '')]) {
        assert.deepEqual(parseCode(typed), { hi, lo })
      }
    }),
  )
  t.equal([...alphabet].map((_, value) => formatCode(value, 0)[6]).join(''), alphabet)
  t.equal(formatCode(2 ** 30 - 1, 0), '9999-99AA-AAAA')
  t.equal(formatCode(1, 1 << 25), 'AAAA-ABBA-AAAA')
})

t.test('text that is no code is refused', async (t) => {
  const shapes = 'ABCD-EFGH-JKL ABCD-EFGH-JKLMN AB-CDEFGHJK-LM ABCD--EFGHJKLM -ABCDEFGHJKLM ABCD-EFGH-JKLM- ---'.split(
    ' ',
  )
  const symbols = [...'0O1Iio Ä€_', 'Ａ'].map((symbol) => `${symbol}BCD-EFGH-JKLM`)
  for (const text of [...shapes, ...symbols, '', 'ABCD EFGH JKLM', 'A'.repeat(100_000)]) {
    t.equal(parseCode(text), null, text.slice(0, 20))
  }
})

t.test('the check shows every single wrong symbol and every two swapped neighbours (BJ-QR-03)', async (t) => {
  const holds = (symbols: readonly string[]) => {
    const { hi, lo } = parseCode(symbols.join('')) ?? assert.fail('no code')
    return checkHolds(hi, lo)
  }
  fc.assert(
    fc.property(half, half, (hi, lo) => {
      const symbols = [...formatCode(hi, withCheck(hi, lo)).replaceAll('-', '')]
      for (const [at, symbol] of symbols.entries()) {
        for (const other of alphabet) assert.equal(holds(symbols.with(at, other)), other === symbol)
        const next = symbols[at + 1]
        if (next !== undefined) assert.equal(holds(symbols.with(at, next).with(at + 1, symbol)), next === symbol)
      }
    }),
    { numRuns: 200 },
  )
  t.pass()
})

t.test('random codes use all 60 bits, or 55 and a check', async (t) => {
  const bytes = bytesOf('codes', 8_000)
  const checked = codesFromRandom(bytes, true)
  const everyBit = 2 ** 30 - 1
  let [set, clear] = [0, 0]
  let wrong = 0
  for (const [at, half] of codesFromRandom(bytes, false).entries()) {
    const withIt = checked[at] ?? 0
    if (half > everyBit || (at % 2 ? half >>> 5 !== withIt >>> 5 : half !== withIt)) wrong++
    if (at % 2 && !checkHolds(checked[at - 1] ?? 0, withIt)) wrong++
    set |= half
    clear |= ~half
  }
  t.equal(wrong, 0)
  t.same([set, clear & everyBit], [everyBit, everyBit], 'every bit is 0 and 1 somewhere')
  t.throws(() => codesFromRandom(new Uint8Array(7), false), AssertionError)
})

interface ModelCode {
  readonly hi: number
  readonly lo: number
  readonly batch: number
  status: CodeStatus
  device: number
}

const legal = /^(generated>(manu|inv)|manufactured>(scanned|inv|gen)|invalidated>gen)/

const operations = fc.array(
  fc.record({
    op: fc.constantFrom('append' as const, ...codeStatuses),
    batch: fc.nat({ max: 3 }),
    picks: fc.array(half, { minLength: 2, maxLength: 16 }),
    device: fc.nat({ max: 63 }),
  }),
  { maxLength: 40 },
)
type Operation = typeof operations extends fc.Arbitrary<(infer One)[]> ? One : never

const rowsOfRuns = (runs: readonly number[]) =>
  runs.flatMap((first, at) => (at % 2 ? [] : Array.from({ length: runs[at + 1] ?? 0 }, (_, next) => first + next)))

/** The delta of an operation, null if it has nothing to do. */
function deltaOf({ op, batch, picks, device }: Operation, book: CodeBook): CodeDelta | null {
  if (op === 'append') {
    const codes = book.fresh(Uint32Array.from(picks.slice(picks.length % 2)))
    return codes.length === 0 ? null : { op, batch, codes }
  }
  if (book.size === 0) return null
  const [row = 0, ...more] = picks.map((pick) => pick % book.size)
  return op === 'scanned' ? { op, row, device } : { op: 'status', runs: runsOf([row, ...more]), status: op }
}

/** Does the same to the model. False, and nothing done, if the delta is illegal. */
function applyToModel(model: ModelCode[], delta: CodeDelta): boolean {
  if (delta.op === 'append') {
    const codes = Buffer.from(delta.codes)
    for (let at = 0; at < codes.length; at += 8) {
      const [hi, lo] = [codes.readUInt32BE(at), codes.readUInt32BE(at + 4)]
      model.push({ hi, lo, batch: delta.batch, status: 'generated', device: 0 })
    }
    return true
  }
  const change: Pick<ModelCode, 'status' | 'device'> =
    delta.op === 'scanned' ? { status: 'scanned', device: delta.device } : { status: delta.status, device: 0 }
  const rows = delta.op === 'scanned' ? [delta.row] : rowsOfRuns(delta.runs)
  const codes = rows.flatMap((row) => model[row] ?? [])
  const isLegal = codes.every(({ status }) => legal.test(`${status}>${change.status}`))
  if (isLegal) for (const code of codes) Object.assign(code, change)
  return isLegal
}

/** What the book must look like, and what it does look like. */
const expected = (model: readonly ModelCode[]) => ({
  codes: model.map(({ hi, lo, ...rest }, row) => ({ row, text: formatCode(hi, lo), ...rest })),
  batches: [0, 1, 2, 3].map((batch) => {
    const rows = [...model.keys()].filter((row) => model[row]?.batch === batch)
    const count = (status: CodeStatus) => rows.filter((row) => model[row]?.status === status).length
    return { rows, counts: Object.fromEntries(codeStatuses.map((status) => [status, count(status)])) }
  }),
})
const actual = (book: CodeBook, model: readonly ModelCode[]) => ({
  codes: model.map(({ hi, lo }) => {
    const row = book.find(hi, lo)
    const [batch, status, device] = [book.batchOf(row), book.status(row), book.device(row)]
    return { row, text: book.code(row), batch, status, device }
  }),
  batches: [0, 1, 2, 3].map((batch) => ({ rows: [...book.rowsOf(batch)], counts: book.batchCounts(batch) })),
})

function restored(book: CodeBook): CodeBook {
  const copy = new CodeBook()
  copy.reserve(book.size)
  for (let chunk = 0; chunk < book.chunkCount; chunk++) {
    copy.restoreChunk(book.chunk(chunk).batch, book.chunkCodes(chunk), book.chunkStatuses(chunk))
  }
  return copy
}

t.test('code book agrees with a plain model; illegal deltas change nothing; a restored book is the same', async (t) => {
  let refused = 0
  fc.assert(
    fc.property(operations, (steps) => {
      const book = new CodeBook()
      const model: ModelCode[] = []
      for (const step of steps) {
        const delta = deltaOf(step, book)
        if (delta === null) continue
        if (applyToModel(model, delta)) {
          book.apply(journaled(delta))
        } else {
          assert.throws(() => book.apply(journaled(delta)), AssertionError)
          refused++
        }
      }
      assert.deepEqual(actual(book, model), expected(model))
      assert.deepEqual(actual(restored(book), model), expected(model))
      assert.equal(book.size, model.length)
    }),
    { numRuns: 150 },
  )
  t.ok(refused > 50, 'illegal transitions were tried')
})

t.test('a code is never in the book twice (BJ-QR-02)', async (t) => {
  const book = new CodeBook()
  const first = book.fresh(Uint32Array.of(1, 2, 3, 4, 1, 2))
  t.equal(first.length, 16, 'a repeat inside one draw is dropped')
  book.apply({ op: 'append', batch: 1, codes: first })
  t.same([...book.fresh(Uint32Array.of(3, 4, 5, 6))], [0, 0, 0, 5, 0, 0, 0, 6], 'and one already in the book')
  t.throws(() => book.apply({ op: 'append', batch: 2, codes: first }), AssertionError)
})

t.test('deltas no turn should make are refused', async (t) => {
  const book = new CodeBook()
  book.apply({ op: 'append', batch: 1, codes: book.fresh(codesFromRandom(bytesOf('refused', 80), false)) })
  book.apply({ op: 'status', runs: [0, 10], status: 'manufactured' })
  book.apply({ op: 'scanned', row: 4, device: deviceFingerprint('phone') })
  const before = book.chunkStatuses(0)
  const wrong: CodeDelta[] = [
    { op: 'scanned', row: 4, device: 1 },
    { op: 'scanned', row: 10, device: 1 },
    { op: 'scanned', row: 5, device: 64 },
  ]
  for (const runs of [[0, 10], [5, 2, 6, 1], [6, 1, 5, 1], [8, 3], [0], [0.5, 1]]) {
    wrong.push({ op: 'status', runs, status: 'invalidated' })
  }
  for (const length of [0, 12, (CHUNK_CODES_MAX + 1) * 8]) {
    wrong.push({ op: 'append', batch: 1, codes: new Uint8Array(length) })
  }
  for (const delta of wrong) t.throws(() => book.apply(delta), AssertionError)
  t.same(book.chunkStatuses(0), before)
  t.same(book.batchCounts(1), { generated: 0, manufactured: 9, scanned: 1, invalidated: 0 })
  t.throws(() => book.restoreChunk(2, new Uint8Array(8), Uint8Array.of(0b101)), AssertionError)
  t.throws(() => book.restoreChunk(2, new Uint8Array(8), new Uint8Array(2)), AssertionError)
})

t.test('a book of many chunks and batches, past a page edge, comes back as it was', async (t) => {
  const book = new CodeBook()
  for (let chunk = 0; chunk < 8; chunk++) {
    const codes = book.fresh(codesFromRandom(bytesOf(`chunk ${chunk}`, CHUNK_CODES_MAX * 8), true))
    book.apply({ op: 'append', batch: chunk % 3, codes })
  }
  book.apply({ op: 'status', runs: [9_990, 20, 65_530, 10], status: 'manufactured' })
  for (const row of [9_999, 10_000, 65_535, 65_536]) book.apply({ op: 'scanned', row, device: row % 64 })
  book.apply({ op: 'status', runs: [65_537, 2], status: 'invalidated' })
  const copy = restored(book)
  t.equal(copy.size, 80_000)
  for (const batch of [0, 1, 2]) t.same(copy.batchCounts(batch), book.batchCounts(batch))
  const rows = [0, 9_999, 10_000, 65_535, 65_536, 65_537, 79_999]
  const statuses = 'generated,scanned,scanned,scanned,scanned,invalidated,generated'
  for (const table of [book, copy]) {
    t.equal(rows.map((row) => table.status(row)).join(), statuses)
    t.equal(rows.map((row) => table.device(row)).join(), '0,15,16,63,0,0,0')
    t.equal(rows.map((row) => table.batchOf(row)).join(), '0,0,1,0,0,0,1')
  }
  for (let chunk = 0; chunk < 8; chunk++) {
    t.equal(Buffer.compare(copy.chunkCodes(chunk), book.chunkCodes(chunk)), 0)
    t.equal(Buffer.compare(copy.chunkStatuses(chunk), book.chunkStatuses(chunk)), 0)
  }
})

t.test('device fingerprints are 1 to 63 and tell most devices apart (BJ-FRD-03)', async (t) => {
  const prints = Array.from({ length: 6_300 }, (_, at) => deviceFingerprint(`device-${at}`))
  t.same([Math.min(...prints), Math.max(...prints), new Set(prints).size], [1, 63, 63])
})

t.test('runs cover exactly the rows they are made of', async (t) => {
  t.same(runsOf([3, 1, 2, 9, 2, 0, 70_000, 69_999]), [0, 4, 9, 1, 69_999, 2])
  t.same(runsOf([]), [])
})

const userId = (number: number) => `00000000-0000-4000-8000-${String(number).padStart(12, '0')}`

function directoryOf(members: number, usernames: readonly string[] = []): Directory {
  const directory = new Directory()
  for (let number = 1; number <= members; number++) directory.apply({ op: 'member', number, userId: userId(number) })
  for (const username of usernames) directory.apply({ op: 'claim', kind: 'username', ...keyOf(username), member: 1 })
  return directory
}

t.test('directory agrees with a Map through claims and releases, live and restored', async (t) => {
  const names = ['Ann@x.io', 'ann@X.io', 'bob@x.io', 'ﬁn@x.io', 'fin@x.io', 'Émile', 'E\u0301mile', '', 'bob']
  const kinds: readonly NameKind[] = ['email', 'username']
  const everyName = kinds.flatMap((kind) => names.map((name) => ({ kind, name })))
  const canonical = (name: string) => name.normalize('NFKC').toLowerCase()
  const step = fc.tuple(fc.constantFrom(...everyName), fc.integer({ min: 1, max: 5 }))
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const directory = directoryOf(5)
      const model = { email: new Map<string, number>(), username: new Map<string, number>() }
      for (const [{ kind, name }, member] of steps) {
        const isTaken = model[kind].delete(canonical(name))
        if (!isTaken) model[kind].set(canonical(name), member)
        const key = { kind, ...keyOf(name) }
        directory.apply(
          journaled<DirectoryDelta>(isTaken ? { op: 'release', ...key } : { op: 'claim', ...key, member }),
        )
      }
      const copy = new Directory()
      copy.restoreMembers(Buffer.from([1, 2, 3, 4, 5].map((n) => userId(n).replaceAll('-', '')).join(''), 'hex'))
      for (const kind of kinds) {
        const keys = [...model[kind].keys()].map(keyOf).flatMap(({ hi, lo }) => [hi, lo])
        copy.restoreNames(kind, Uint32Array.from(keys), Uint32Array.from(model[kind].values()))
      }
      for (const { kind, name } of everyName) {
        const owner = model[kind].get(canonical(name)) ?? null
        for (const where of [directory, copy]) {
          assert.equal(kind === 'email' ? where.memberByEmail(name) : where.memberByUsername(name), owner)
        }
      }
    }),
    { numRuns: 60 },
  )
  t.pass()
})

t.test('no name goes to two members and no member number is given twice', async (t) => {
  const directory = directoryOf(2)
  const key = keyOf('ann@x.io')
  directory.apply({ op: 'claim', kind: 'email', ...key, member: 1 })
  const wrong: DirectoryDelta[] = [
    { op: 'claim', kind: 'email', ...key, member: 2 },
    { op: 'claim', kind: 'username', ...key, member: 3 },
    { op: 'release', kind: 'username', ...key },
    { op: 'member', number: 2, userId: userId(2) },
    { op: 'member', number: 4, userId: userId(4) },
    { op: 'member', number: 3, userId: 'not-a-uuid' },
  ]
  for (const delta of wrong) t.throws(() => directory.apply(delta), AssertionError)
  t.equal(directory.memberByEmail('ANN@x.io'), 1)
  t.equal(directory.memberCount, 2)
  t.throws(() => directory.restoreMembers(new Uint8Array(16)), AssertionError)
  t.throws(() => directory.restoreNames('email', Uint32Array.of(1, 2), Uint32Array.of(9)), AssertionError)
})

t.test('user ids come back by member number, past a page edge', async (t) => {
  const directory = directoryOf(5_000)
  const numbers = [1, 4_095, 4_096, 4_097, 5_000]
  for (const number of numbers) t.equal(directory.userIdOf(number), userId(number))
  t.equal(directory.userIdOf(0), null)
  t.equal(directory.userIdOf(5_001), null)
  t.equal(directory.nextMemberNumber, 5_001)
  directory.apply({ op: 'member', number: 5_001, userId: 'ABCDEF01-2345-6789-ABCD-EF0123456789' })
  t.equal(directory.userIdOf(5_001), 'abcdef01-2345-6789-abcd-ef0123456789')
})

t.test('a suggested username is free, plain and the same every time (BJ-AUTH-10)', async (t) => {
  t.equal(suggestUsername('Jane Doe', directoryOf(1)), 'janedoe')
  t.equal(suggestUsername('Jane Doe', directoryOf(1, ['JaneDoe'])), 'janedoe2')
  t.equal(suggestUsername('Jane Doe', directoryOf(1, ['janedoe', 'janedoe2', 'janedoe4'])), 'janedoe3')
  t.equal(suggestUsername('Élodie  D’Arc-Núñez', directoryOf(1)), 'elodiedarcnunez')
  t.equal(suggestUsername('张伟', directoryOf(1)), 'member')
  t.equal(suggestUsername('x'.repeat(500), directoryOf(1)).length, 40)
  const numbered = Array.from({ length: 50 }, (_, at) => (at === 0 ? 'jane' : `jane${at + 1}`))
  t.equal(suggestUsername('Jane', directoryOf(70, numbered)), 'jane71', 'the number of the member to come')
  t.equal(suggestUsername('Jane', directoryOf(70, [...numbered, 'jane71', 'jane72'])), 'jane73')
})

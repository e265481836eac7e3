// Hunts damage at rest that a start would take for the truth (a reduced `npm run chaos` campaign), and a repair that
// takes away more than what a crash left half-written.
import { appendFile, cp, mkdir, readdir, readFile, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { JournalDamagedError, JournalLockedError } from '../persistence/journal/errors.js'
import { segmentName } from '../persistence/journal/format.js'
import { verifyJournal } from '../persistence/journal/inspect.js'
import { repairJournal } from '../persistence/journal/repair.js'
import { damageCampaign } from './chaos/journal-damage.js'
import { contents, crashedAfter, expected, journalOf, openAt } from './support/journal.js'
import { Deployment } from './support/server.js'

t.test('J2, J5: bytes flipped and files cut at rest are detected or do no harm, never a wrong state', async (t) => {
  const seed = 20_262
  const { failures, flips, truncations, regions, knownByPostgresOnly } = await damageCampaign({
    flips: 400,
    truncations: 200,
    seed,
  })
  t.same(failures, [])
  t.equal(flips.WRONG + truncations.WRONG, 0)
  t.equal(flips['lost above every mark'], 0)
  const hit = Object.keys(regions)
  for (const where of ['segment header', 'frame', 'last acknowledged frame', 'unacknowledged frame', 'mark', 'cut']) {
    t.ok(hit.filter((region) => region.startsWith(`${where}: `)).length >= 3, `${where}: ${hit.length} kinds in all`)
  }
  t.ok(flips.detected > 200 && truncations.detected > 30 && truncations['cut, told to nobody'] > 0)
  t.ok(truncations['lost above every mark'] > 0 && knownByPostgresOnly > 0, 'the hard cases were among them')
})

const sizes = async (directory: string) =>
  Object.fromEntries(
    await Promise.all((await readdir(directory)).map(async (name) => [name, (await stat(join(directory, name))).size])),
  )

/** A journal whose process died while it wrote records 7 to 9. */
async function tornJournal() {
  const directory = await journalOf(3, { segmentBytes: 500 })
  const newest = join(directory, segmentName(7))
  await truncate(newest, (await stat(newest)).size - 5)
  await crashedAfter(directory, 6)
  return { directory, newest, tail: { file: newest, offset: 64, cutBytes: 191, nextSeq: 7 } }
}

t.test('repair cuts a torn tail, only when told to, and the journal goes on', async (t) => {
  const { directory, newest, tail } = await tornJournal()
  const before = await sizes(directory)
  t.same(await repairJournal(directory, false), tail)
  t.same(await sizes(directory), before)
  t.same(await repairJournal(directory, true), tail)
  t.same(await sizes(directory), { ...before, [segmentName(7)]: 64 })
  t.equal(await repairJournal(directory, true), null, 'a second time there is nothing')
  t.same((await verifyJournal(directory)).cutBytes, undefined)
  const { journal, write, tail: atStart } = await openAt(directory)
  t.equal(atStart, null)
  await write(Buffer.from('seven'))
  await journal.close()
  t.same(await contents(directory), [...expected(1, 6), '7:seven'])
  await writeFile(newest, (await readFile(newest)).subarray(0, 10))
  await crashedAfter(directory, 6)
  t.match(await repairJournal(directory, true), { file: newest, offset: 0, cutBytes: 10 }, 'a segment half made')
  t.same(await contents(directory), expected(1, 6))
})

t.test('repair refuses damage anywhere else, also beside a torn tail, and changes nothing', async (t) => {
  const flip = async (file: string, at: number) => {
    const bytes = await readFile(file)
    await writeFile(file, bytes.fill((bytes[at] ?? 0) ^ 1, at, at + 1))
  }
  const first = (directory: string) => join(directory, segmentName(1))
  const harms: [string, (directory: string) => Promise<unknown>][] = [
    ['a byte of an older segment', (directory) => flip(first(directory), 200)],
    ['an older segment cut short', (directory) => truncate(first(directory), 300)],
    ['bytes after a whole segment', (directory) => appendFile(first(directory), 'more')],
    ['a torn frame that was acknowledged', (directory) => crashedAfter(directory, 9)],
    ['a mark that is none', (directory) => writeFile(join(directory, 'durable.mark'), Buffer.alloc(544, 1))],
  ]
  for (const [name, harm] of harms) {
    const { directory } = await tornJournal()
    await harm(directory)
    const before = await sizes(directory)
    await t.rejects(repairJournal(directory, true), JournalDamagedError, name)
    t.same(await sizes(directory), before, `${name}: as it was`)
  }
  const { directory } = await tornJournal()
  const { journal } = await openAt(directory)
  await t.rejects(repairJournal(directory, false), JournalLockedError, 'while a server writes to it')
  await journal.close()
})

t.test('comptroller journal repair says what it would cut, what it cut, and why not', async (t) => {
  const site = await Deployment.create(t)
  const repair = (...args: string[]) => site.run(['journal', 'repair', ...args])
  t.match(await repair(), { code: 1, stderr: /There is no journal in / })
  const { directory } = await tornJournal()
  const journal = join(site.dataDirectory, 'journal')
  await mkdir(site.dataDirectory)
  await cp(directory, journal, { recursive: true })
  const newest = join(journal, segmentName(7))
  const told = await repair()
  t.match(told, { code: 1, stdout: '' })
  t.match(told.stderr, `191 bytes from byte 64 on in ${newest}. Its first record would have been 7. Nobody was told`)
  t.match(told.stderr, /run this again with --yes. Nothing was changed/)
  const done = await repair('--yes')
  t.match(done, { code: 0, stderr: '' })
  t.match(done.stdout, `Cut off: 191 bytes from byte 64 on in ${newest}. The next record will be 7`)
  t.match(await repair('--yes'), { code: 0, stdout: /nothing to repair/ })
  const { journal: running } = await openAt(journal)
  t.match(await repair('--yes'), { code: 1, stderr: new RegExp(`in use by process ${process.pid}. Stop that process`) })
  await running.close()
  await truncate(join(journal, segmentName(1)), 300)
  const refused = await repair('--yes')
  t.match(refused, { code: 1, stdout: '' })
  t.match(refused.stderr, /at byte 260, where record 4 is due.*restore this file from a backup.*nothing was changed/s)
  t.notMatch(refused.stderr, / {4}at /, 'no stack')
})

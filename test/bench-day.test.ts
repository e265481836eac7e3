// A benchmark of a day says that nothing was lost, and one of growth that it measured what a server would have made: these
// tests hunt checks that find nothing, mixes that are none, curves that flatter, and rows that no server would have written.
import t from 'tap'
import { inTemporaryFolder } from '../bench/data-folder.js'
import { check } from '../bench/day/checks.js'
import { busyness, deckOf, HOURS, kinds, mix, scansOf } from '../bench/day/profile.js'
import { Recorder } from '../bench/day/recorder.js'
import { missedOf, pageOf, plotsOf } from '../bench/day/report.js'
import { runDay } from '../bench/day/run.js'
import { curveOf, type Point } from '../bench/growth/curves.js'
import { CodeDraw } from '../bench/growth/scans.js'
import { CODES_PER_CHUNK, growCodes, growMembers, seedPatterns } from '../bench/growth/stock.js'
import { onPostgres } from '../bench/recovery/postgres.js'
import { ServerProcess } from '../bench/scan/server-process.js'
import { mintTokens, someMembers } from '../bench/scan/stock.js'

t.setTimeout(120_000)

t.test('a mix that bunches its kinds or leaves one out', (t) => {
  const deck = deckOf(mix)
  for (const kind of kinds) t.equal(deck.filter((each) => each === kind).length, mix[kind], kind)
  const scans = deck.flatMap((kind, place) => (kind === 'scan' ? [place] : []))
  const gaps = scans.slice(1).map((place, index) => place - (scans[index] ?? 0))
  t.ok(Math.max(...gaps) <= 4, 'scans come evenly')
  t.equal(HOURS, 24)
  t.equal(Math.max(...busyness), 1)
  t.ok(scansOf(100, 1_000) > 100 * 0.4 && scansOf(100, 1_000) < 100 * 24 * 0.4)
  t.end()
})

t.test('times of one part of the day that leak into the next', (t) => {
  const recorder = new Recorder()
  recorder.time('scan', 10)
  t.equal(Math.round(recorder.takePart().scan?.p50Ms ?? 0), 10)
  t.equal(recorder.takePart().scan, undefined)
  recorder.time('scan', 20)
  t.equal(recorder.day.scan?.count, 2)
  t.end()
})

t.test('curves that flatter: what grows is not called constant, and noise is not called growth', (t) => {
  const sizes = [10_000, 100_000, 1_000_000]
  const points = (of: (size: number) => number) => sizes.map((size): Point => [size, of(size)])
  const linear = curveOf(points((size) => 50 + size / 1_000))
  t.equal(linear.shape, 'linear')
  t.ok(Math.abs(linear.base + linear.slope * 1e8 - 100_050) < 1)
  const logarithmic = curveOf(points((size) => 20 * Math.log10(size) - 70))
  t.equal(logarithmic.shape, 'logarithmic')
  t.ok(Math.abs(logarithmic.base + logarithmic.slope * 8 - 90) < 0.001)
  t.match(curveOf(points((size) => (size === 100_000 ? 104 : 98))), { shape: 'constant' })
  t.match(curveOf(points((size) => 1e7 / size + 5)), { shape: 'constant' }, 'nothing becomes cheaper as it grows')
  t.match(curveOf([[1, 1] as const, [2, 8] as const]), { shape: 'constant' }, 'two points are no curve')
  t.end()
})

t.test('members and codes made in bulk are such as the server makes', async (t) => {
  await inTemporaryFolder(async (folder) => {
    await seedPatterns(folder)
    const { members, codes } = await onPostgres(folder, async ({ sql }) => {
      await growMembers(sql, 300)
      await growCodes(sql, 5 * CODES_PER_CHUNK)
      return { members: await someMembers(sql, 301), codes: await new CodeDraw().draw(sql, 4 * CODES_PER_CHUNK) }
    })
    t.equal(members.length, 300)
    t.equal(new Set(codes).size, codes.length)
    const server = await ServerProcess.start(folder, [])
    try {
      const [token] = await mintTokens(folder, members.slice(-1))
      const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
      const ask = async (path: string, body?: object) => {
        const sent = body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }
        const response = await fetch(new URL(path, server.url), { headers, ...sent })
        return { status: response.status, body: await response.json() }
      }
      const me = await ask('/v1/users/me')
      const text = JSON.stringify(me.body)
      t.equal(me.status, 200)
      t.match(text, /m00000\d{3}@example\.com/)
      const scan = await ask('/v1/scans/submit', { code: codes[0] })
      t.match(scan, { status: 200, body: { scan: { ordinal: 1 } } })
      t.match(await ask('/v1/scans/submit', { code: codes[0] }), { status: 409 }, 'once')
      const taken = {
        email: 'm00000150@example.com',
        password: 'Member!2026',
        full_name: 'X',
        date_of_birth: '1990-05-17',
      }
      t.match(await ask('/v1/auth/signup', { ...taken, username: 'newcomer' }), { body: { code: 'email_taken' } })
    } finally {
      await server.stop()
    }
  })
})

t.test('a short day: everything happens, everything is found again, and what is missing is told', async (t) => {
  await inTemporaryFolder(async (folder) => {
    const plan = { minutes: 0.1, peak: 60, talkers: 4, watchers: 4, members: 4, dashboards: 4 }
    const day = await runDay(folder, plan)
    t.strictSame(missedOf(day), [])
    for (const kind of [...kinds, 'message, to each', 'live event', 'dashboard counter', 'own stream']) {
      t.ok((day.times[kind]?.count ?? 0) > 0, kind)
    }
    t.equal(day.samples.length, 48)
    t.match(pageOf(day), /accepted scans in Postgres/)
    t.equal(plotsOf(day).length, 8)
    const lost = await onPostgres(folder, ({ sql }) => {
      const scans = new Set(['00000000-0000-4000-8000-000000000000'])
      return check(sql, { scans, unknownScans: 0, messages: ['nobody said it'] })
    })
    const wrong = lost.filter(({ ok }) => !ok).map(({ name }) => name)
    t.strictSame(wrong, ['accepted scans in Postgres', 'scans nobody was told of', 'acknowledged messages in Postgres'])
  })
})

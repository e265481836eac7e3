/** The emotes of 7TV, against a local server that speaks its API: what is kept while it is down or talks nonsense. */
import t, { type Test } from 'tap'
import { type Emote, SevenTvEmotes, type SevenTvEmotesOptions } from '../gateway/drivers/emotes.js'
import { type Fault, recordingLog, sevenTvEmote, startSevenTv, TestTime } from './support/third-party.js'

const HOUR_MS = 3_600_000

async function sevenTv(t: Test, emotes: unknown[], faults: Fault[] = [], options: Partial<SevenTvEmotesOptions> = {}) {
  const sets: Record<string, unknown[]> = { global: emotes }
  const service = await startSevenTv(t, sets, ...faults)
  const time = new TestTime()
  const { log, lines } = recordingLog()
  const refreshed: (readonly Emote[])[] = []
  const seven = new SevenTvEmotes({
    baseUrl: service.baseUrl,
    environment: time,
    log,
    onRefreshed: (emotes) => refreshed.push(emotes),
    ...options,
  })
  t.teardown(() => seven.stop())
  const codes = () => seven.emotes.map(({ code }) => code)
  /** Lets the next load begin and waits for its end, which is when the one after it is planned. */
  const reload = async () => {
    const waitMs = await time.ring()
    await time.planned()
    return waitMs
  }
  return { sets, service, time, lines, refreshed, seven, codes, reload }
}

t.test('the global set is loaded once and cached, each emote with what clients need', async (t) => {
  const still = sevenTvEmote('Clap', { host: 'https://cdn.7tv.app', data: { animated: false } })
  const { service, time, seven, refreshed } = await sevenTv(t, [sevenTvEmote('KEKW', { id: '01GB' }), still])
  t.strictSame([seven.emotes, seven.refreshedAt], [[], null])
  await seven.start()
  t.strictSame(seven.emotes, [
    { code: 'KEKW', id: '01GB', url: 'https://cdn.7tv.app/emote/01GB/2x.webp', animated: true },
    { code: 'Clap', id: '01Clap', url: 'https://cdn.7tv.app/emote/01Clap/2x.webp', animated: false },
  ])
  t.equal(seven.refreshedAt, time.now())
  t.strictSame(refreshed, [seven.emotes])
  t.match(service.received, [{ target: 'GET /emote-sets/global', headers: { accept: 'application/json' } }])
  t.equal(service.received.length, 1, 'reading asks nobody')
})

t.test('the set is refreshed every hour, and emotes come and go with it', async (t) => {
  const { sets, seven, codes, reload, refreshed, time } = await sevenTv(t, [sevenTvEmote('KEKW')])
  await seven.start()
  sets.global = [sevenTvEmote('PETPET'), sevenTvEmote('Stare')]
  t.equal(await reload(), HOUR_MS)
  t.strictSame(codes(), ['PETPET', 'Stare'])
  t.equal(seven.refreshedAt, time.now())
  sets.global = []
  t.equal(await reload(), HOUR_MS)
  t.strictSame(codes(), [], 'a set that was emptied')
  t.equal(refreshed.length, 3)
})

t.test('the last good set is kept through every failure, and asked for ever later', async (t) => {
  const emote = sevenTvEmote('KEKW')
  const { service, lines, refreshed, seven, codes, reload } = await sevenTv(t, [emote])
  await seven.start()
  const loadedAt = seven.refreshedAt
  const unusable = { ...emote, data: null }
  const faults: Fault[] = [
    { status: 500 },
    'hang up',
    'half an answer',
    { raw: '<html>Just a moment…</html>' },
    { status: 200, body: {} },
    { status: 200, body: { id: '01GLOBAL', emotes: [unusable, 7, null] } },
    { status: 200, body: { id: '01GLOBAL', emote_count: 40 } },
    { status: 404, body: { error: 'Unknown Emote Set' } },
    { status: 302, headers: { location: 'http://127.0.0.1:1/' } },
  ]
  service.faults.push(...faults)
  t.equal(await reload(), HOUR_MS)
  const waits: number[] = []
  for (const _ of faults.slice(1)) waits.push(await reload())
  t.strictSame(waits, [10_000, 20_000, 40_000, 80_000, 160_000, 320_000, 640_000, 1_280_000])
  t.strictSame([codes(), seven.refreshedAt, refreshed.length], [['KEKW'], loadedAt, 1])
  t.match(seven.gauges(), { emotes: 1, failed_loads_in_a_row: faults.length, age_seconds: Number })
  t.equal(lines.filter(({ msg }) => msg === 'emotes of 7TV were not loaded').length, faults.length)
  t.match(lines.at(-2), { err: { message: '7TV answered 404: Unknown Emote Set' } })
  await reload()
  t.not(seven.refreshedAt, loadedAt)
  t.match(seven.gauges(), { failed_loads_in_a_row: 0, age_seconds: 0 })
  t.equal(await reload(), HOUR_MS, 'the pace of before')
})

t.test('a 7TV that does not answer keeps nobody waiting for ever, from the first load on', async (t) => {
  const faults: Fault[] = ['silence', 'half an answer, then silence', ...Array<Fault>(10).fill('silence')]
  const { seven, lines, reload } = await sevenTv(t, [sevenTvEmote('KEKW')], faults, { timeoutMs: 20 })
  await seven.start()
  const waits: number[] = []
  for (const _ of faults.slice(1)) waits.push(await reload())
  t.strictSame(waits.slice(-4), [1_280_000, 2_560_000, HOUR_MS, HOUR_MS])
  t.match(lines, Array(faults.length).fill({ err: { message: /^7TV was not reached: .*timeout/ } }))
  t.strictSame([seven.emotes, seven.refreshedAt], [[], null])
})

t.test('7TV is left alone for as long as it asks, though not for ever', async (t) => {
  const busy = (seconds: number) => ({ status: 429, headers: { 'retry-after': String(seconds) } })
  const { seven, codes, reload } = await sevenTv(t, [sevenTvEmote('KEKW')], [busy(90), busy(86_400)])
  await seven.start()
  t.strictSame([await reload(), await reload(), codes()], [90_000, HOUR_MS, ['KEKW']])
})

t.test('an emote that cannot be written or shown keeps out only itself', async (t) => {
  const emote = (name: string, data: object) => sevenTvEmote(name, { data })
  const { seven, codes } = await sevenTv(t, [
    sevenTvEmote('Good'),
    sevenTvEmote('D:'),
    sevenTvEmote('(7TV)'),
    sevenTvEmote('two words'),
    sevenTvEmote('x'.repeat(65)),
    sevenTvEmote('Script', { host: 'javascript:alert(1)' }),
    sevenTvEmote('Plain', { host: 'http://cdn.7tv.app' }),
    emote('Deleted', { lifecycle: -1 }),
    emote('NoPicture', { host: { url: '//cdn.7tv.app/emote/1', files: [{ name: '1x.avif' }] } }),
    { ...sevenTvEmote('NoData'), data: null },
    'nonsense',
    sevenTvEmote('Good', { id: '01SECOND' }),
    sevenTvEmote('Also_Good-2'),
  ])
  await seven.start()
  t.strictSame(codes(), ['Good', 'Also_Good-2'])
  t.equal(seven.emotes[0]?.id, '01Good', 'the first of a name')
})

t.test('a set of one’s own can be named, and is no way to other addresses', async (t) => {
  const own = await sevenTv(t, [], [], { emoteSetId: '01OWN' })
  own.sets['01OWN'] = [sevenTvEmote('Ours')]
  await own.seven.start()
  t.strictSame(own.codes(), ['Ours'])
  const odd = await sevenTv(t, [], [], { emoteSetId: '../users/1' })
  await odd.seven.start()
  t.match(odd.service.received, [{ target: 'GET /emote-sets/..%2Fusers%2F1' }])
})

t.test('more emotes than are kept are cut', async (t) => {
  const many = Array.from({ length: 5_100 }, (_, i) => sevenTvEmote(`emote${i}`))
  const { seven } = await sevenTv(t, many)
  await seven.start()
  t.match(seven.gauges(), { emotes: 5_000, emotes_max: 5_000 })
})

t.test('after a stop nothing is loaded any more, also not what was under way', async (t) => {
  const idle = await sevenTv(t, [sevenTvEmote('KEKW')])
  await idle.seven.start()
  idle.seven.stop()
  t.equal(idle.time.timers, 0)
  const loading = await sevenTv(t, [sevenTvEmote('KEKW')], ['silence'])
  const started = loading.seven.start()
  await loading.service.asked()
  loading.seven.stop()
  await started
  t.strictSame([loading.time.timers, loading.lines, loading.codes()], [0, [], []])
})

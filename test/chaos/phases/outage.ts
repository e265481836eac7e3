/**
 * P2: Postgres is away for a minute under load, once gone and once frozen. Scans go on, memory and journal stay bounded,
 * and it has caught up within ten seconds of its return.
 */
import type { LoadResult } from '../../../bench/load/result.js'
import { pause } from '../../support/campaign.js'
import { OwnPostgres } from '../own-postgres.js'
import type { Phase, Report } from '../phase.js'
import { pressOn, pressureSettings } from '../pressure.js'
import { World } from '../world.js'

const AWAY_MS = 60_000
const FROZEN_MS = 20_000
const CATCH_UP_MS_MAX = 10_000
const PRESSURE_PER_SECOND = 400
const CLOSING_PER_SECOND = 1_000
const SAMPLE_EVERY_MS = 1_000
const SCANS_PER_ROUND = 9_000
const shape = { http: 6, sockets: 0, pauseMs: 60, errands: true }

const MiB = 2 ** 20
const SEGMENT_BYTES = 2 * MiB
const RETAIN_BYTES = 4 * MiB
/** Applied journal goes once so many records are applied (core.ts): what is kept beyond the setting is theirs. */
const TRUNCATE_EVERY_RECORDS = 50_000
/**
 * What the server may grow by while it is cut off: a heap that is collected later than it could be, and for each record
 * that waits, what memory keeps until it is in Postgres (its outcome, its newest scans), measured: about half a KiB.
 */
const GROWTH_BYTES_MAX = 128 * MiB
const BYTES_PER_WAITING_RECORD_MAX = 2_048

export const outage: Phase = {
  name: 'outage',
  what: `Postgres gone for ${AWAY_MS / 1_000} s, then frozen for ${FROZEN_MS / 1_000} s`,
  cycles: 2,
  run: async ({ cycles, random, scope, keep, report }) => {
    const postgres = await OwnPostgres.started(scope)
    const env = {
      ...pressureSettings,
      JOURNAL_SEGMENT_BYTES: String(SEGMENT_BYTES),
      JOURNAL_RETAIN_BYTES: String(RETAIN_BYTES),
    }
    const scans = cycles * SCANS_PER_ROUND
    const world = await World.create(scope, { scans, random, keep, env, databaseUrl: postgres.url })
    report.follow(world)
    for (let cycle = 1; cycle <= cycles; cycle++) {
      const isGone = cycle % 2 === 1
      await goThrough(world, postgres, isGone, report)
      report.found(`round ${cycle}`, await world.settle({ whole: true }))
    }
    await checkBounded(world, report)
  },
}

/** Enough records for the journal to be cut; what it keeps then is what it is told to keep. */
async function checkBounded(world: World, report: Report): Promise<void> {
  const { shard_last_seq: before = 0 } = await world.gauges()
  const missing = TRUNCATE_EVERY_RECORDS * 1.2 - before
  if (missing > 0) await pressOn(world, CLOSING_PER_SECOND, (missing / CLOSING_PER_SECOND) * 1_000)
  await world.caughtUp()
  const { journal_diskBytes: bytes = 0, shard_last_seq: records = 1 } = await world.gauges()
  const perRecord = Number(report.figures['journal bytes a record'])
  const most = RETAIN_BYTES + 2 * SEGMENT_BYTES + TRUNCATE_EVERY_RECORDS * perRecord
  report.figures[`journal at the end, MiB`] = Math.round(bytes / MiB)
  report.figures[`records at the end`] = records
  report.check('at the end', [
    ...(bytes <= most ? [] : [`the journal has ${bytes} bytes`]),
    ...(bytes < records * perRecord * 0.7 ? [] : [`the journal was never cut: ${bytes} bytes of ${records} records`]),
  ])
}

async function goThrough(world: World, postgres: OwnPostgres, isGone: boolean, report: Report): Promise<void> {
  const { campaign } = world
  const when = isGone ? 'gone' : 'frozen'
  const awayMs = isGone ? AWAY_MS : FROZEN_MS
  const load = world.load(shape)
  await world.scansGoOn(50, 500)
  const answeredBefore = campaign.answered
  const memoryBefore = await world.memory()
  const before = await world.gauges()
  await (isGone ? postgres.stop() : postgres.freeze())
  report.fault()
  const pressure = pressOn(world, PRESSURE_PER_SECOND, awayMs + 2_000)
  await watch(world, awayMs, memoryBefore, when, report)
  const { journal_diskBytes: bytes = 0, shard_last_seq: seq = 0 } = await world.gauges()
  const grown = bytes - Number(before.journal_diskBytes)
  report.figures['journal bytes a record'] = Math.round(grown / (seq - Number(before.shard_last_seq)))
  report.figures[`${when}: scans answered meanwhile`] = campaign.answered - answeredBefore
  await (isGone ? postgres.start() : postgres.thaw())
  const catchUpMs = await world.caughtUp(CATCH_UP_MS_MAX)
  report.figures[`${when}: caught up after its return, ms`] = Math.round(catchUpMs)
  report.worstCatchUpMs = Math.max(report.worstCatchUpMs, catchUpMs)
  tellPressure(await pressure, when, report)
  await load.stop()
  const refused = Object.entries(campaign.refusals).map(([how, count]) => `${count} scans were refused: ${how}`)
  report.check(when, refused)
}

/** Looks every second: scans go on being answered, and nothing grows past what is due to the records that wait. */
async function watch(world: World, awayMs: number, memoryBefore: number, when: string, report: Report): Promise<void> {
  const until = performance.now() + awayMs
  while (performance.now() < until) {
    const answeredBefore = world.campaign.answered
    await pause(SAMPLE_EVERY_MS)
    const gauges = await world.gauges()
    const memory = await world.memory()
    const lag = gauges.shard_lag_records ?? 0
    const most = memoryBefore + GROWTH_BYTES_MAX + lag * BYTES_PER_WAITING_RECORD_MAX
    report.highest(`${when}: most records waiting`, lag)
    report.highest(`${when}: memory of the server at most, MiB`, memory / MiB)
    report.highest(`${when}: journal at most, MiB`, (gauges.journal_diskBytes ?? 0) / MiB)
    report.highest(`${when}: journal not yet written at most, KiB`, (gauges.journal_backlogBytes ?? 0) / 1_024)
    report.check(when, [
      ...(world.campaign.answered > answeredBefore ? [] : ['nothing was answered for a second']),
      ...(memory <= most ? [] : [`memory went from ${memoryBefore} to ${memory} bytes with ${lag} records waiting`]),
      ...['shard_lag_records', 'shard_held_outputs', 'shard_loading_inputs', 'shard_idempotency_entries']
        .filter((name) => (gauges[name] ?? 0) > (gauges[`${name}_max`] ?? 0))
        .map((name) => `${name} is above its limit: ${gauges[name]}`),
    ])
  }
  report.figures[`${when}: memory of the server before, MiB`] = Math.round(memoryBefore / MiB)
}

function tellPressure({ byStatus, unknown, requests, p99 }: LoadResult, when: string, report: Report): void {
  report.figures[`${when}: other requests answered`] = requests - unknown
  report.figures[`${when}: their p99, ms`] = Math.round(p99 / 1_000)
  const others = Object.entries(byStatus).filter(([status]) => status !== '404')
  report.expect(when, unknown === 0 && others.length === 0, `other requests: ${JSON.stringify({ byStatus, unknown })}`)
}

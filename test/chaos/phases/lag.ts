/** P2: past `LAG_RECORDS_MAX` inputs are refused with 503 and a time to come back, and taken again by themselves. */
import { until, within } from '../../support/server.js'
import { OwnPostgres } from '../own-postgres.js'
import type { Phase } from '../phase.js'
import { pressOn, pressureSettings } from '../pressure.js'
import { World } from '../world.js'

const LAG_RECORDS_MAX = 2_000
const SCANS_PER_CYCLE = 600
const PRESSURE_PER_SECOND = 1_000
const PRESSURE_MS = 3_000
const TAKEN_AGAIN_MS_MAX = 10_000
const shape = { http: 6, sockets: 2, pauseMs: 50, errands: true }

export const lag: Phase = {
  name: 'lag',
  what: `Postgres gone until more than ${LAG_RECORDS_MAX} records wait`,
  cycles: 5,
  run: async ({ cycles, random, scope, keep, report }) => {
    const postgres = await OwnPostgres.started(scope)
    const env = { ...pressureSettings, LAG_RECORDS_MAX: String(LAG_RECORDS_MAX) }
    const scans = cycles * SCANS_PER_CYCLE
    const world = await World.create(scope, { scans, random, keep, env, databaseUrl: postgres.url })
    report.follow(world)
    const { campaign, site } = world
    for (let cycle = 1; cycle <= cycles; cycle++) {
      const when = `cycle ${cycle}`
      const load = world.load(shape)
      await world.scansGoOn(20, random.int(0, 200))
      await postgres.stop()
      report.fault()
      const pressure = await pressOn(world, PRESSURE_PER_SECOND, PRESSURE_MS)
      await within('every client is refused', load.ended)
      const refused = campaign.unanswered
      const kinds = new Set(refused.map(({ refusal }) => refusal))
      const isSaid = [...kinds].every((how) => how === '503 write_behind_lag' || how === 'socket write_behind_lag')
      report.expect(when, refused.length > 0 && isSaid, `refused with ${[...kinds].join(', ')}`)
      const overHttp = refused.filter(({ refusal }) => refusal?.startsWith('503'))
      const withoutTime = overHttp.filter(({ retryAfter }) => !(Number(retryAfter) > 0))
      report.expect(when, withoutTime.length === 0, `${withoutTime.length} refusals without Retry-After`)
      report.expect(
        when,
        (pressure.byStatus[503] ?? 0) > 0 && pressure.unknown === 0,
        'other requests were not refused',
      )
      const ready = await fetch(`${site.url}/readyz`)
      report.expect(when, ready.status === 503, `ready with ${ready.status} while nothing is taken`)
      const { shard_lag_records: waiting = 0 } = await world.gauges()
      report.highest('most records waiting', waiting)
      report.figures['refused with 503'] =
        Number(report.figures['refused with 503'] ?? 0) + (pressure.byStatus[503] ?? 0)
      // Alarms and messages of the core go on, and one turn may tell several: hence a little more than the limit.
      report.expect(when, waiting <= LAG_RECORDS_MAX * 1.1, `${waiting} records wait`)

      await postgres.start()
      const backAt = performance.now()
      const isReady = async () => (await fetch(`${site.url}/readyz`)).status === 200
      await until('it takes inputs again', isReady, TAKEN_AGAIN_MS_MAX)
      report.highest('taken again after the return, ms', performance.now() - backAt)
      report.found(when, await world.settle({ whole: cycle === cycles }))
    }
  },
}

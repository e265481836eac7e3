/** P3: rows that Postgres refuses are parked and told of, the rest flows, and a command writes them after all. */
import { within } from '../../support/server.js'
import type { Phase, PhaseRun } from '../phase.js'
import { World } from '../world.js'

const SCANS_PER_CYCLE = 450
const shape = { http: 8, sockets: 2, pauseMs: 30, errands: true }
/** Which rows are refused: of the scans one in ten, of the sales every one. */
const poisons = [
  { table: 'scans', condition: 'ordinal % 10 = 3' },
  { table: 'tins_sold', condition: 'tins > 0' },
]

export const poison: Phase = {
  name: 'poison',
  what: 'rows that Postgres refuses',
  cycles: 5,
  run: async (run) => {
    const { cycles, random, scope, keep, report } = run
    const world = await World.create(scope, { scans: 500 + cycles * SCANS_PER_CYCLE, random, keep })
    report.follow(world)
    for (let cycle = 1; cycle <= cycles; cycle++) {
      const when = `cycle ${cycle}`
      await park(world, run, when)
      const { projector_parked_rows: parked = 0 } = await world.gauges()
      report.figures['rows parked and written after all'] =
        Number(report.figures['rows parked and written after all'] ?? 0) + parked
      if (random.chance(0.5)) {
        await world.site.kill()
        await world.start()
        const { projector_parked_rows: known = 0 } = await world.gauges()
        report.expect(when, known === parked, `${parked} rows are parked, ${known} after a kill`)
      }
      const early = await world.site.run(['parked', 'retry', '--all'])
      report.expect(when, early.code === 1, 'a retry of what is still refused says that all is well')
      for (const { table } of poisons) {
        await world.database((sql) => sql.unsafe(`alter table ${table} drop constraint poison`))
      }
      const retried = await world.site.run(['parked', 'retry', '--all'])
      report.expect(when, retried.code === 0, `parked retry: ${retried.stdout} ${retried.stderr}`)
      await world.errands.logIn() // the command line has logged in as the same administrator
      report.found(when, await world.settle({ whole: cycle === cycles }))
    }
  },
}

/** Scans and sells while rows are refused, and looks at what is in Postgres then. */
async function park(world: World, { random, report }: PhaseRun, when: string): Promise<void> {
  const { campaign, site } = world
  for (const { table, condition } of poisons) {
    await world.database((sql) =>
      sql.unsafe(`alter table ${table} add constraint poison check (not (${condition})) not valid`),
    )
  }
  const before = campaign.answered
  const load = world.load(shape)
  await world.scansGoOn(60, random.int(200, 600))
  await load.stop()
  await within('the load ends', load.ended)
  report.fault()
  await world.caughtUp()
  const answered = campaign.answeredBy().map((line) => Number(line.split(' ')[0]))
  const refused = answered.filter((ordinal) => ordinal > before && ordinal % 10 === 3)
  const { projector_parked_rows: gauge = 0 } = await world.gauges()
  const parked = await world.database(
    (sql) => sql`select (row ->> 'ordinal')::int as ordinal from dead_letters
      where resolved_at is null and table_name = 'scans' order by 1`,
  )
  const stored = await world.database((sql) => sql`select count(*)::int as n from scans`)
  const ready = await (await fetch(`${site.url}/readyz`)).text()
  report.check(when, [
    ...(Object.keys(campaign.refusals).length === 0 ? [] : [`refused: ${JSON.stringify(campaign.refusals)}`]),
    ...(parked.map(({ ordinal }) => ordinal).join() === refused.join()
      ? []
      : [`parked are ${parked.length}, not ${refused.length}`]),
    ...(stored[0]?.n === answered.length - refused.length ? [] : [`${stored[0]?.n} of ${answered.length} are stored`]),
    ...(gauge >= refused.length ? [] : [`the gauge says ${gauge}`]),
    ...(/"level":50[^\n]*Postgres refused rows/.test(site.output) ? [] : ['the log says nothing']),
    ...(/parked/.test(ready) ? [] : ['/readyz says nothing']),
  ])
}

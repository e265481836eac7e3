/** P2, E2: kill -9 of Postgres under load. Nobody is refused, and what was written behind catches up. */
import { isAlive } from '../../../persistence/postgres/postmaster.js'
import { until } from '../../support/server.js'
import type { Phase } from '../phase.js'
import { World } from '../world.js'

const SCANS_PER_CYCLE = 250
const WHOLE_CHECK_EVERY = 10
/** Generous, because Postgres runs at low priority, and whoever else uses the machine comes first. */
const BACK_MS_MAX = 60_000
const CATCH_UP_MS_MAX = 30_000
const shape = { http: 6, sockets: 2, pauseMs: 100, errands: true, scansMax: 230 }

export const postgres: Phase = {
  name: 'postgres',
  what: 'kill -9 of Postgres',
  cycles: 50,
  run: async ({ cycles, random, scope, keep, report }) => {
    const world = await World.create(scope, { scans: 1_000 + cycles * SCANS_PER_CYCLE, random, keep })
    report.follow(world)
    const { site, campaign } = world
    report.highest('memory of the server at the start, MiB', (await world.memory()) / 2 ** 20)
    for (let cycle = 1; cycle <= cycles; cycle++) {
      const load = world.load(shape)
      await world.scansGoOn(random.int(1, 40), random.int(0, 200))
      const { pid } = await site.postgres()
      const answeredBefore = campaign.answered
      process.kill(pid, 'SIGKILL')
      report.fault()
      await until('Postgres is gone', () => !isAlive(pid))
      await until('another Postgres answers', () => answers(world, pid), BACK_MS_MAX)
      const catchUpMs = await world.caughtUp(CATCH_UP_MS_MAX)
      await load.stop()
      report.figures['answered while Postgres was away, on average'] = Math.round(
        (Number(report.figures['answered while Postgres was away, on average'] ?? 0) * (cycle - 1) +
          campaign.answered -
          answeredBefore) /
          cycle,
      )
      report.expect(`cycle ${cycle}`, campaign.answered > answeredBefore, 'nothing was answered while it was away')
      const refused = Object.entries(campaign.refusals).map(([how, count]) => `${count} scans were refused: ${how}`)
      report.check(`cycle ${cycle}`, refused)
      const found = await world.settle({ whole: cycle % WHOLE_CHECK_EVERY === 0 || cycle === cycles })
      report.found(`cycle ${cycle}`, { ...found, catchUpMs: Math.max(found.catchUpMs, catchUpMs) })
    }
    report.highest('memory of the server at the end, MiB', (await world.memory()) / 2 ** 20)
  },
}

/** Another Postgres than the one that was killed answers a query. */
async function answers(world: World, killed: number): Promise<boolean> {
  const found = await world.site.postgres().catch(() => undefined)
  if (found === undefined || found.pid === killed) return false
  return world.database((sql) =>
    sql`select 1`.then(
      () => true,
      () => false,
    ),
  )
}

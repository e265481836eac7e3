/** E1: Postgres, or the server, dies while the server starts. A start ends in time: listening, or with a clear word. */
import { signalIfAlive } from '../../../persistence/postgres/postmaster.js'
import { pause } from '../../support/campaign.js'
import { until, within } from '../../support/server.js'
import type { Phase } from '../phase.js'
import { World } from '../world.js'

const SCANS_PER_CYCLE = 130
const MOMENT_MS_MAX = 1_800
const START_MS_MAX = 75_000
const shape = { http: 8, sockets: 2, pauseMs: 15, errands: true }

export const startup: Phase = {
  name: 'startup',
  what: 'kill -9 of Postgres while the server starts',
  cycles: 20,
  run: async ({ cycles, random, scope, keep, report }) => {
    const world = await World.create(scope, { scans: 500 + cycles * SCANS_PER_CYCLE, random, keep })
    report.follow(world)
    const { site } = world
    let failed = 0
    for (let cycle = 1; cycle <= cycles; cycle++) {
      const load = world.load(shape)
      await world.scansGoOn(random.int(1, 30), random.int(0, 100))
      await site.kill()
      await within('the clients notice', load.ended)
      let isStarting = true
      const starting = world.start().then(
        () => undefined,
        (error: Error) => error.message,
      )
      const started = within('the start ends', starting, START_MS_MAX).finally(() => {
        isStarting = false
      })
      for (let kills = random.int(1, 3); kills > 0 && isStarting; kills--) {
        await pause(random.int(0, MOMENT_MS_MAX))
        const running = await site.postgres().catch(() => undefined)
        if (running === undefined || !isStarting) continue
        signalIfAlive(running.pid, 'SIGKILL')
        report.figures['kills of Postgres'] = Number(report.figures['kills of Postgres'] ?? 0) + 1
      }
      report.fault()
      const failure = await started
      if (failure !== undefined) {
        failed += 1
        report.expect(`cycle ${cycle}`, isClear(failure), `an unclear end of a start: ${failure}`)
        await world.start()
      }
      // The last kill may have come at the very end of the start: Postgres is on its way back then.
      await until(
        'reads are answered',
        async () => (await world.campaign.members[0]?.get('/v1/scans/recent'))?.status === 200,
      )
      report.found(`cycle ${cycle}`, await world.settle({ whole: cycle === cycles }))
    }
    report.figures['starts that ended with a clear error'] = failed
    report.figures['starts that came up all the same'] = cycles - failed
  },
}

/** Named in a sentence, not by a stack. */
const isClear = (said: string) =>
  /ended with 1 /.test(said) && /Postgres/.test(said) && !/\n\s+at |"stack"/.test(said.split('"level":60')[1] ?? said)

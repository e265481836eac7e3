/** J1, G1, G3: kill -9 of the server at random moments under load, now and then once more while it starts. */
import { pause } from '../../support/campaign.js'
import { within } from '../../support/server.js'
import type { Phase } from '../phase.js'
import { World } from '../world.js'

const SCANS_PER_CYCLE = 130
const WHOLE_CHECK_EVERY = 25
const KILLED_AGAIN_ONE_IN = 8
const START_MS_MAX = 1_500
const shape = { http: 12, sockets: 4, pauseMs: 15, errands: true }

export const kill: Phase = {
  name: 'kill',
  what: 'kill -9 of the server',
  cycles: 200,
  run: async ({ cycles, random, scope, keep, report }) => {
    const world = await World.create(scope, { scans: 500 + cycles * SCANS_PER_CYCLE, random, keep })
    report.follow(world)
    const { site, campaign } = world
    for (let cycle = 1; cycle <= cycles; cycle++) {
      const load = world.load(shape)
      await world.scansGoOn(random.int(1, 30), random.int(0, 200))
      await site.kill()
      await within('the clients notice', load.ended)
      report.fault()
      if (random.chance(1 / KILLED_AGAIN_ONE_IN)) {
        const starting = world.start().catch(() => 'killed')
        await pause(random.int(0, START_MS_MAX))
        await site.kill()
        await starting
        report.figures['killed while starting'] = Number(report.figures['killed while starting'] ?? 0) + 1
      }
      const startedAt = performance.now()
      await world.start()
      report.highest('slowest start, ms', performance.now() - startedAt)
      const whole = cycle % WHOLE_CHECK_EVERY === 0 || cycle === cycles
      report.found(`cycle ${cycle}`, await world.settle({ whole }))
      report.figures['without an answer at a kill, on average'] = (report.retried / cycle).toFixed(1)
    }
    const verified = await site.run(['journal', 'verify'])
    report.expect('at the end', verified.code === 0, `comptroller journal verify: ${verified.stderr}`)
    report.figures['milestones reached'] = Math.floor(campaign.answered / 500)
  },
}

/** J1, E1: kill -9 of the server and of Postgres, within 50 ms of each other, in either order. */
import { signalIfAlive } from '../../../persistence/postgres/postmaster.js'
import { pause } from '../../support/campaign.js'
import { within } from '../../support/server.js'
import type { Phase } from '../phase.js'
import { World } from '../world.js'

const SCANS_PER_CYCLE = 130
const WHOLE_CHECK_EVERY = 10
const APART_MS_MAX = 50
const shape = { http: 12, sockets: 4, pauseMs: 15, errands: true }

export const both: Phase = {
  name: 'both',
  what: 'kill -9 of the server and Postgres',
  cycles: 50,
  run: async ({ cycles, random, scope, keep, report }) => {
    const world = await World.create(scope, { scans: 500 + cycles * SCANS_PER_CYCLE, random, keep })
    report.follow(world)
    const { site } = world
    for (let cycle = 1; cycle <= cycles; cycle++) {
      const load = world.load(shape)
      await world.scansGoOn(random.int(1, 30), random.int(0, 200))
      const { pid } = await site.postgres()
      const kills = [async () => signalIfAlive(pid, 'SIGKILL'), () => site.kill()]
      if (random.chance(1 / 2)) kills.reverse()
      for (const each of kills) {
        await each()
        await pause(random.int(0, APART_MS_MAX))
      }
      report.fault()
      await within('the clients notice', load.ended)
      const startedAt = performance.now()
      await world.start()
      report.highest('slowest start, ms', performance.now() - startedAt)
      report.found(`cycle ${cycle}`, await world.settle({ whole: cycle % WHOLE_CHECK_EVERY === 0 || cycle === cycles }))
    }
  },
}

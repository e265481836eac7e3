/** SIGTERM under load: every request is answered or refused, and the process ends with 0 within five seconds. */
import { until, within } from '../../support/server.js'
import type { Phase, PhaseRun } from '../phase.js'
import { World } from '../world.js'

const SCANS_PER_CYCLE = 160
const STOP_MS_MAX = 5_000
const shape = { http: 12, sockets: 4, pauseMs: 10, errands: true }
const kinds = ['under load', 'twice', 'while starting'] as const
/** How a request may end that was not answered: told so, or not let in. */
const refusals = ['503 stopping', 'ECONNREFUSED', 'socket stopping', 'socket closed']

export const sigterm: Phase = {
  name: 'sigterm',
  what: 'SIGTERM under load, twice, and while starting',
  cycles: 15,
  run: async (run) => {
    const { cycles, random, scope, keep, report } = run
    const world = await World.create(scope, { scans: 500 + cycles * SCANS_PER_CYCLE, random, keep })
    report.follow(world)
    for (let cycle = 1; cycle <= cycles; cycle++) {
      const kind = kinds[(cycle - 1) % kinds.length] ?? 'under load'
      const when = `cycle ${cycle}, ${kind}`
      if (kind === 'while starting') await stopWhileStarting(world, run, when)
      else await stopUnderLoad(world, run, when, kind === 'twice')
      await world.start()
      report.check(when, await world.checkTables())
      report.found(when, await world.settle({ whole: cycle === cycles }))
    }
  },
}

async function stopUnderLoad(world: World, { random, report }: PhaseRun, when: string, twice: boolean): Promise<void> {
  const { site, campaign } = world
  const load = world.load(shape)
  await world.scansGoOn(random.int(20, 60), random.int(0, 100))
  const [ending] = await Promise.all([site.stop(), ...(twice ? [site.stop()] : [])])
  report.fault()
  await within('the clients notice', load.ended)
  report.highest('slowest stop, ms', ending.tookMs)
  const unsaid = campaign.unanswered.filter(({ refusal = '' }) => !refusals.includes(refusal))
  report.check(when, [
    ...(ending.code === 0 ? [] : [`it ended with ${ending.code ?? ending.signal}: ${ending.stderr}`]),
    ...(ending.tookMs < STOP_MS_MAX ? [] : [`it took ${Math.round(ending.tookMs)} ms`]),
    ...(/"level":(50|60)/.test(ending.stdout) ? ['there are errors in the log'] : []),
    ...unsaid.map(({ refusal }) => `a request was neither answered nor refused: ${refusal}`),
  ])
}

/** The errand under way may have been refused as well; it is sent again later, like everything. */
async function stopWhileStarting(world: World, { random, report }: PhaseRun, when: string): Promise<void> {
  const { site } = world
  await site.stop()
  const starting = world.start().catch(() => undefined)
  const step = random.pick(['postgres is ready', '"recovered"', 'listening'])
  await until(step, () => site.output.includes(step))
  const ending = await site.stop()
  report.fault()
  await starting
  report.highest('slowest stop while starting, ms', ending.tookMs)
  report.check(when, [
    ...(ending.code === 0 ? [] : [`at ${step} it ended with ${ending.code ?? ending.signal}: ${ending.stderr}`]),
    ...(ending.tookMs < STOP_MS_MAX ? [] : [`at ${step} it took ${Math.round(ending.tookMs)} ms`]),
  ])
}

// Hunts everything at once: whatever crashes, disks, databases, networks and clocks can do to the whole server, drawn
// from seeds. And hunts checks that cannot fail: known bugs are put in, and each must be caught by name.
import t from 'tap'
import { missedMarks, survivingFailedChecks } from '../engine/simulator/campaign.js'
import { plants } from '../engine/simulator/plants.js'
import { type RunResult, STEPS, simulate } from '../engine/simulator/run.js'
import { commandFor, shrink } from '../engine/simulator/shrink.js'
import { runOnThreads } from '../engine/simulator/threads.js'

const SEEDS = 500
const THREADS = 2
/** A planted bug shows within so many. */
const SEEDS_PER_BUG = 60

survivingFailedChecks()
t.setTimeout(600_000)

t.test(`${SEEDS} seeds: nothing told is lost, nothing happens twice, and every fault strikes`, async (t) => {
  const campaign = await runOnThreads({ first: 1, count: SEEDS }, THREADS)
  t.equal(campaign.runs, SEEDS)
  for (const { seed, what } of campaign.failures) t.fail(`npm run simulate -- --seed ${seed}: ${what}`)
  t.same(missedMarks(campaign), [], 'every fault strikes and every way back is taken')
})

t.test('a seed tells the same story every time, to the last event', async (t) => {
  for (const seed of [1, 2, 3, 64]) {
    const [once, again] = [await simulate({ seed }), await simulate({ seed, trace: true })]
    t.equal(again.digest, once.digest, `seed ${seed}`)
    t.equal(again.events, once.events)
    t.ok(again.lines.length > STEPS)
  }
})

for (const [name, { bug, caughtBy, plant }] of Object.entries(plants)) {
  t.test(`a check catches it when ${bug}`, async (t) => {
    const takeOut = plant()
    let result: RunResult | undefined
    try {
      for (let seed = 1; seed <= SEEDS_PER_BUG && result?.failure === undefined; seed++) {
        result = await simulate({ seed })
      }
    } finally {
      takeOut()
    }
    const failure = result?.failure
    t.ok(failure !== undefined && caughtBy.includes(failure.check), `${name}: ${failure?.what ?? 'not caught'}`)
  })
}

t.test('a failure is shrunk to a shorter story that fails alike, and can be told again by its command', async (t) => {
  const takeOut = plants['posting-dropped']?.plant()
  const failed = await simulate({ seed: 1 })
  const shortest = await shrink({ seed: 1 }, failed)
  const again = await simulate({ ...shortest, trace: true })
  takeOut?.()
  t.equal(again.failure?.check, failed.failure?.check)
  t.ok(again.events < failed.events, `${again.events} of ${failed.events} events`)
  t.match(commandFor(shortest), /^npm run simulate -- --seed 1 --trace --steps \d+ --without "/)
})

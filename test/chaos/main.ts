/** `npm run chaos`: real processes, real Postgres, real files, hurt at random moments under load; then everything is checked. */
import { join } from 'node:path'
import { Command, InvalidArgumentError } from 'commander'
import { count } from '../../cli/options.js'
import { withProgress } from '../../cli/progress.js'
import { Random } from '../../engine/simulator/random.js'
import { root } from '../support/server.js'
import { type Phase, PhaseFailed, Report } from './phase.js'
import { both } from './phases/both.js'
import { disk } from './phases/disk.js'
import { journal } from './phases/journal.js'
import { kill } from './phases/kill.js'
import { lag } from './phases/lag.js'
import { outage } from './phases/outage.js'
import { poison } from './phases/poison.js'
import { postgres } from './phases/postgres.js'
import { sigterm } from './phases/sigterm.js'
import { startup } from './phases/startup.js'
import { type PhaseResult, resultOf, summaryOf, tableOf, write } from './report.js'
import { Scope } from './scope.js'

const phases: readonly Phase[] = [kill, postgres, both, startup, sigterm, outage, lag, poison, disk, journal]

interface Options {
  readonly only?: readonly Phase[]
  readonly cycles?: number
  readonly seed: number
  readonly keep?: boolean
  readonly write?: string
}

function phasesNamed(text: string): readonly Phase[] {
  return text.split(',').map((name) => {
    const phase = phases.find((each) => each.name === name.trim())
    if (phase === undefined) throw new InvalidArgumentError(`There is no phase ${name}.`)
    return phase
  })
}

const listed = phases.map(({ name, what, cycles }) => `  ${name.padEnd(10)} ${what} (${cycles})`).join('\n')

const options = new Command('chaos')
  .description(
    'Hurts the whole server at random moments under load, and checks after every fault that nothing is lost.',
  )
  .option('--only <phases>', 'comma-separated; without it all of them, about half an hour', phasesNamed)
  .option('--cycles <n>', 'faults of each phase, instead of its own number', count)
  .option('--seed <n>', 'repeats what a run did when', count, Math.floor(Date.now() / 1_000))
  .option('--keep', 'keep every data folder, not only that of a failed phase')
  .option(
    '--write <folder>',
    'where chaos.md and chaos.json go, other phases in them stay (a whole run: docs/measured; else nowhere)',
  )
  .addHelpText('after', `\nPhases (faults):\n${listed}\n\nEnds with 1 when anything is wrong; the data is kept then.`)
  .parse()
  .opts<Options>()

const open = new Set<Scope>()
process.once('SIGINT', () => void leave(130))
process.once('SIGTERM', () => void leave(143))
process.once('uncaughtException', (error) => {
  process.stderr.write(`${error.stack}\n`)
  void leave(1)
})

/** Leaves no process behind. */
async function leave(code: number): Promise<void> {
  for (const scope of open) await scope.close()
  process.exit(code)
}

async function runPhase(phase: Phase, seed: number): Promise<PhaseResult> {
  const scope = new Scope()
  open.add(scope)
  const startedAt = performance.now()
  const cycles = options.cycles ?? phase.cycles
  let report = new Report(() => {})
  const keep = () => options.keep === true || report.failures.length > 0
  try {
    await withProgress(`${phase.name.padEnd(10)} ${phase.what}`, cycles, async (to) => {
      report = new Report(to)
      await phase.run({ cycles, seed, random: new Random(seed, phase.name), scope, keep, report })
    })
  } catch (error) {
    if (!(error instanceof PhaseFailed))
      report.failures.push(error instanceof Error ? String(error.stack) : String(error))
  }
  if (report.failures.length > 0) process.stderr.write(`${report.serverErrors}\n`)
  await scope.close()
  open.delete(scope)
  for (const failure of report.failures) process.stderr.write(`FAILED ${phase.name}: ${failure}\n`)
  if (keep() && report.folder !== '') process.stderr.write(`The data is kept in ${report.folder}\n`)
  return resultOf(phase.name, phase.what, seed, report, (performance.now() - startedAt) / 1_000)
}

const { seed, only = phases } = options
const results: PhaseResult[] = []
for (const phase of only) results.push(await runPhase(phase, seed))
const summary = summaryOf(results)
process.stdout.write(`\n${tableOf(summary)}\n\nSeed ${seed}, ${results[0]?.commit}, ${summary.machine}\n`)
const isWhole = options.only === undefined && options.cycles === undefined
const folder = options.write ?? (isWhole ? join(root, 'docs', 'measured') : undefined)
if (folder !== undefined) await write(summary, folder)
process.exit(results.some(({ failures }) => failures.length > 0) ? 1 : 0)

/** `npm run chaos`: real processes, real Postgres, real files, hurt at random moments under load; then everything is checked. */
import { join } from 'node:path'
import { Command, InvalidArgumentError } from 'commander'
import { count } from '../../cli/options.js'
import { root } from '../support/server.js'
import type { Phase } from './phase.js'
import { both } from './phases/both.js'
import { disk } from './phases/disk.js'
import { journal } from './phases/journal.js'
import { kill } from './phases/kill.js'
import { lag } from './phases/lag.js'
import { outage } from './phases/outage.js'
import { payouts } from './phases/payouts.js'
import { poison } from './phases/poison.js'
import { postgres } from './phases/postgres.js'
import { sigterm } from './phases/sigterm.js'
import { startup } from './phases/startup.js'
import { wallets } from './phases/wallets.js'
import { type PhaseResult, summaryOf, tableOf, write } from './report.js'
import { leaveNothingBehind, runPhase } from './run-phase.js'

const phases: readonly Phase[] = [
  kill,
  postgres,
  both,
  startup,
  sigterm,
  outage,
  lag,
  poison,
  disk,
  journal,
  payouts,
  wallets(),
]

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

leaveNothingBehind()
const { seed, only = phases } = options
const results: PhaseResult[] = []
for (const phase of only) {
  const { cycles = phase.cycles, keep = false } = options
  results.push(await runPhase(phase, { seed, cycles, keepsAll: keep }))
}
const summary = summaryOf(results)
process.stdout.write(`\n${tableOf(summary)}\n\nSeed ${seed}, ${results[0]?.commit}, ${summary.machine}\n`)
const isWhole = options.only === undefined && options.cycles === undefined
const folder = options.write ?? (isWhole ? join(root, 'docs', 'measured') : undefined)
if (folder !== undefined) await write(summary, folder)
process.exit(results.some(({ failures }) => failures.length > 0) ? 1 : 0)

// Runs one phase, and leaves nothing behind however it ends.
import { withProgress } from '../../cli/progress.js'
import { Random } from '../../engine/simulator/random.js'
import { type Phase, PhaseFailed, Report } from './phase.js'
import { type PhaseResult, resultOf } from './report.js'
import { Scope } from './scope.js'

export interface RunOptions {
  readonly seed: number
  readonly cycles: number
  /** Keeps the data also of what went well. */
  readonly keepsAll: boolean
}

const open = new Set<Scope>()

/** Ends every process of ours also when this one is told to end, or fails. */
export function leaveNothingBehind(): void {
  process.once('SIGINT', () => void leave(130))
  process.once('SIGTERM', () => void leave(143))
  process.once('uncaughtException', (error) => {
    process.stderr.write(`${error.stack}\n`)
    void leave(1)
  })
}

async function leave(code: number): Promise<void> {
  for (const scope of open) await scope.close()
  process.exit(code)
}

export async function runPhase(phase: Phase, { seed, cycles, keepsAll }: RunOptions): Promise<PhaseResult> {
  const scope = new Scope()
  open.add(scope)
  const startedAt = performance.now()
  let report = new Report(() => {})
  const keep = () => keepsAll || report.failures.length > 0
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

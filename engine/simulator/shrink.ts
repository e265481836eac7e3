/** Makes a failing run shorter: fewer faults, fewer steps, still the same check that fails. */
import { type Fault, faults } from './faults.js'
import { type RunOptions, type RunResult, STEPS, simulate } from './run.js'

const RUNS_MAX = 150

/** `onRun` is called after each attempt. Resolves with the options of the shortest run found. */
export async function shrink(
  options: RunOptions,
  failed: RunResult,
  onRun: () => void = () => {},
): Promise<RunOptions> {
  let best = options
  let runs = 0
  const stillFails = async (candidate: RunOptions): Promise<boolean> => {
    if (runs >= RUNS_MAX) return false
    runs += 1
    const { failure } = await simulate({ ...candidate, trace: false })
    onRun()
    if (failure?.check !== failed.failure?.check) return false
    best = candidate
    return true
  }
  for (let steps = best.steps ?? STEPS; steps > 0; steps >>= 1) {
    while ((best.steps ?? STEPS) > steps && (await stillFails({ ...best, steps: (best.steps ?? STEPS) - steps }))) {}
  }
  for (const fault of faults) {
    const without = new Set<Fault>([...(best.without ?? []), fault])
    await stillFails({ ...best, without })
  }
  const steps = best.steps ?? STEPS
  for (let size = steps >> 1; size >= 1; size >>= 1) {
    for (let from = 0; from < steps; from += size) {
      const skip = new Set(best.skip)
      for (let at = from; at < Math.min(from + size, steps); at++) skip.add(at)
      if (skip.size > (best.skip?.size ?? 0)) await stillFails({ ...best, skip })
    }
  }
  return best
}

/** The command line that repeats the run. */
export function commandFor({ seed, steps, without, skip }: RunOptions): string {
  const parts = [`npm run simulate -- --seed ${seed} --trace`]
  if (steps !== undefined) parts.push(`--steps ${steps}`)
  if (without !== undefined && without.size > 0) parts.push(`--without "${[...without].join(',')}"`)
  if (skip !== undefined && skip.size > 0) parts.push(`--skip ${[...skip].sort((a, b) => a - b).join(',')}`)
  return parts.join(' ')
}

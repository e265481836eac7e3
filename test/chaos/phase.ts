// What a phase of the campaign is, and what it brings back.
import type { Random } from '../../engine/simulator/random.js'
import type { Scope } from './scope.js'
import type { Found, World } from './world.js'

export interface PhaseRun {
  readonly cycles: number
  readonly random: Random
  readonly seed: number
  readonly scope: Scope
  /** Keeps the data at the end. */
  readonly keep: () => boolean
  readonly report: Report
}

export interface Phase {
  readonly name: string
  /** What is done to the server, in a few words. */
  readonly what: string
  /** How often, unless another number is asked for. */
  readonly cycles: number
  run(run: PhaseRun): Promise<void>
}

/** Ends a phase whose state is not to be trusted any more. */
export class PhaseFailed extends Error {
  override readonly name = 'PhaseFailed'
}

const SERVER_ERRORS_TOLD = 10

/** What a phase did and found so far. */
export class Report {
  readonly failures: string[] = []
  /** Figures worth telling, by name. */
  readonly figures: Record<string, string | number> = {}
  faults = 0
  retried = 0
  worstCatchUpMs = 0
  /** Why nothing was done, if so. */
  notRun = ''
  /** Where the data of the phase is. */
  folder = ''
  #worlds: World[] = []

  constructor(readonly onFault: (faults: number) => void) {}

  get answered(): number {
    return this.#worlds.reduce((sum, { campaign }) => sum + campaign.answered, 0)
  }

  get sentTwice(): number {
    return this.#worlds.reduce((sum, { campaign }) => sum + campaign.sentTwice, 0)
  }

  get told(): number {
    return this.#worlds.reduce((sum, { campaign }) => sum + campaign.told.length, 0)
  }

  get errands(): number {
    return this.#worlds.reduce((sum, { errands }) => sum + errands.all.length, 0)
  }

  /** What the server of the last world has complained of last. */
  get serverErrors(): string {
    const lines = this.#worlds.at(-1)?.site.output.split('\n') ?? []
    return lines
      .filter((line) => /"level":(50|60)/.test(line))
      .slice(-SERVER_ERRORS_TOLD)
      .join('\n')
  }

  follow(world: World): void {
    this.#worlds.push(world)
    this.folder = world.site.folder
  }

  fault(): void {
    this.faults += 1
    this.onFault(this.faults)
  }

  /** Takes in what was found; throws when something is wrong, because what comes after would prove nothing. */
  found(when: string, { problems, retried, catchUpMs }: Found): void {
    this.retried += retried
    this.worstCatchUpMs = Math.max(this.worstCatchUpMs, catchUpMs)
    this.check(when, problems)
  }

  check(when: string, problems: readonly string[]): void {
    if (problems.length === 0) return
    this.failures.push(...problems.map((problem) => `${when}: ${problem}`))
    throw new PhaseFailed()
  }

  expect(when: string, isSo: boolean, what: string): void {
    this.check(when, isSo ? [] : [what])
  }

  highest(figure: string, value: number): void {
    this.figures[figure] = Math.max(Number(this.figures[figure] ?? 0), Math.round(value))
  }
}

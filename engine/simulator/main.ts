/** `npm run simulate`: the whole server under faults drawn from seeds. */
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { Presets, SingleBar } from 'cli-progress'
import { Command, InvalidArgumentError, Option } from 'commander'
import { wholeNumber } from '../../cli/options.js'
import { type Campaign, missedMarks, requiredMarks, survivingFailedChecks } from './campaign.js'
import { type Fault, faults } from './faults.js'
import { plants } from './plants.js'
import { pageOf, summaryLine } from './report.js'
import { type RunOptions, type RunResult, STEPS, simulate } from './run.js'
import { commandFor, shrink } from './shrink.js'
import { runOnThreads } from './threads.js'

/** From so many seeds on, every fault must have struck and every path been taken. */
const SEEDS_FOR_ALL_MARKS = 500

interface Options {
  readonly seed?: number
  readonly seeds: number
  readonly first: number
  readonly threads: number
  readonly write?: string
  readonly trace?: boolean
  readonly steps: number
  readonly without: ReadonlySet<Fault>
  readonly skip: ReadonlySet<number>
  readonly plant?: string
}

function faultsNamed(text: string): ReadonlySet<Fault> {
  const names = text.split(',').map((name) => name.trim())
  const unknown = names.find((name) => !faults.includes(name as Fault))
  if (unknown !== undefined)
    throw new InvalidArgumentError(`There is no fault "${unknown}". Known: ${faults.join(', ')}.`)
  return new Set(names as Fault[])
}

function plantNamed(text: string): string {
  if (text in plants) return text
  throw new InvalidArgumentError(`There is no such bug to plant. Known: ${Object.keys(plants).join(', ')}.`)
}

function setOption(flags: string, what: string, parse: (text: string) => ReadonlySet<unknown>): Option {
  return new Option(flags, `with --seed: ${what}, separated by commas`).argParser(parse).default(new Set(), 'none')
}

const options = new Command('simulate')
  .description('Runs the whole server on a simulated disk, database, clock and network, under faults drawn from seeds.')
  .option('--seeds <n>', 'how many seeds to run', wholeNumber, 1_000)
  .option('--first <n>', 'the first of them', wholeNumber, 1)
  .option('--threads <n>', 'how many at once', wholeNumber, availableParallelism())
  .option('--write <file>', 'where to write a summary as Markdown')
  .option('--seed <n>', 'only this one, and shrink it to a short story if it fails', wholeNumber)
  .option('--trace', 'with --seed: tell everything that happens')
  .option('--steps <n>', 'with --seed: how many things clients ask for', wholeNumber, STEPS)
  .addOption(setOption('--without <faults>', 'faults to leave out', faultsNamed))
  .addOption(setOption('--skip <places>', 'steps to leave out', places))
  .option('--plant <bug>', 'with --seed: put a known bug in first, to see it caught', plantNamed)
  .parse()
  .opts<Options>()

function places(text: string): ReadonlySet<number> {
  return new Set(text.split(',').map(wholeNumber))
}

function print(line = ''): void {
  process.stdout.write(`${line}\n`)
}

const commit = () => {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
  } catch {
    return 'unknown'
  }
}

async function runOne(seed: number): Promise<boolean> {
  const { steps, without, skip, trace = false, plant } = options
  if (plant !== undefined) plants[plant]?.plant()
  const whole: RunOptions = { seed, steps, without, skip, trace }
  const result = await simulate(whole)
  for (const line of result.lines) print(line)
  const { records, events, digest } = result
  print(`seed ${seed}: ${records} records, ${events} events, digest ${digest.slice(0, 16)}, commit ${commit().trim()}`)
  if (result.failure === undefined) return true
  print(`\nFAILED ${result.failure.what}`)
  if (!trace) await tellShortly(whole, result)
  return false
}

async function tellShortly(options: RunOptions, failed: RunResult): Promise<void> {
  print('\nLooking for a shorter story …')
  const shortest = await shrink(options, failed)
  const { lines, failure } = await simulate({ ...shortest, trace: true })
  print(lines.join('\n'))
  print(`\n${failure?.what}\n\nAgain: ${commandFor(shortest)}`)
}

async function runMany(): Promise<boolean> {
  const { seeds: count, first, threads } = options
  const bar = new SingleBar(
    {
      format: 'simulating {bar} {value}/{total} seeds | failed: {failed} | {eta_formatted} left',
      noTTYOutput: true,
      notTTYSchedule: 10_000,
    },
    Presets.shades_classic,
  )
  const startedAt = performance.now()
  bar.start(count, 0, { failed: 'none' })
  const campaign = await runOnThreads({ first, count }, threads, (runs, failed) =>
    bar.update(runs, { failed: failed.join(', ') || 'none' }),
  )
  bar.stop()
  const seconds = (performance.now() - startedAt) / 1_000
  printMarks(campaign)
  const circumstances = { first, threads, seconds, commit: commit().trim() }
  const { runs, failures } = campaign
  print(`\n${summaryLine(campaign, circumstances)}`)
  if (options.write !== undefined) writeFileSync(options.write, pageOf(campaign, circumstances))
  const missed = runs >= SEEDS_FOR_ALL_MARKS ? missedMarks(campaign) : []
  for (const mark of missed) print(`NOT REACHED ${mark}`)
  for (const { seed, what } of failures) print(`FAILED seed ${seed}: ${what.split('\n')[0]?.slice(0, 300)}`)
  const [worst] = failures
  if (worst !== undefined) {
    const repeat = { seed: worst.seed }
    await tellShortly(repeat, await simulate(repeat))
  }
  print(failures.length === 0 && missed.length === 0 ? 'every check held, every path was taken' : 'FAILED')
  return failures.length === 0 && missed.length === 0
}

function printMarks({ marks }: Campaign): void {
  const names = [...new Set([...requiredMarks, ...marks.keys()])].sort()
  const width = Math.max(...names.map(({ length }) => length))
  print()
  for (const name of names) print(`${name.padEnd(width)} ${String(marks.get(name) ?? 0).padStart(10)}`)
}

survivingFailedChecks()
process.exitCode = (await (options.seed === undefined ? runMany() : runOne(options.seed))) ? 0 : 1

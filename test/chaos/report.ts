// What a campaign did and found: a table for people, JSON for programs.
import { execFileSync } from 'node:child_process'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { loadavg } from 'node:os'
import { join } from 'node:path'
import { machine } from '../../bench/scan/machine.js'
import { root } from '../support/server.js'
import type { Report } from './phase.js'

export interface PhaseResult {
  readonly name: string
  readonly what: string
  readonly at: string
  readonly commit: string
  readonly seed: number
  readonly faults: number
  readonly answered: number
  readonly retried: number
  readonly sentTwice: number
  readonly errands: number
  readonly told: number
  readonly worstCatchUpMs: number
  readonly seconds: number
  readonly figures: Readonly<Record<string, string | number>>
  readonly failures: readonly string[]
  readonly notRun: string
}

export interface Summary {
  readonly machine: string
  readonly phases: readonly PhaseResult[]
}

export function resultOf(name: string, what: string, seed: number, report: Report, seconds: number): PhaseResult {
  const { faults, answered, retried, sentTwice, errands, told, worstCatchUpMs, figures, failures, notRun } = report
  return {
    name,
    what,
    at: new Date().toISOString(),
    commit: commit(),
    seed,
    faults,
    answered,
    retried,
    sentTwice,
    errands,
    told,
    worstCatchUpMs: Math.round(worstCatchUpMs),
    seconds: Math.round(seconds),
    figures: { ...figures, 'load average of the machine': loadavg()[1]?.toFixed(1) ?? '' },
    failures,
    notRun,
  }
}

export const summaryOf = (phases: readonly PhaseResult[]): Summary => ({ machine: machine(), phases })

function commit(): string {
  const git = (...args: string[]) => execFileSync('git', args, { cwd: root, encoding: 'utf8' }).trim()
  try {
    return `${git('rev-parse', '--short', 'HEAD')}${git('status', '--porcelain', '-uno') === '' ? '' : ' with changes'}`
  } catch {
    return 'unknown'
  }
}

const heads = ['phase', 'faults', 'answered', 'sent again', 'worst catch-up', 'took', 'outcome']

function rowsOf({ phases }: Summary): string[][] {
  return phases.map((phase) => [
    phase.name,
    count(phase.faults),
    count(phase.answered),
    count(phase.retried),
    phase.worstCatchUpMs === 0 ? '' : `${(phase.worstCatchUpMs / 1_000).toFixed(1)} s`,
    `${phase.seconds} s`,
    outcomeOf(phase),
  ])
}

function outcomeOf({ failures, notRun }: PhaseResult): string {
  if (failures.length > 0) return 'FAILED'
  return notRun === '' ? 'passed' : `not run: ${notRun}`
}

const count = (value: number) => value.toLocaleString('en-GB')

/** Aligned columns for a terminal. */
export function tableOf(summary: Summary): string {
  const rows = [heads, ...rowsOf(summary)]
  const widths = heads.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

function markdownOf(summary: Summary): string {
  const { machine: on, phases } = summary
  const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  const sum = (pick: (phase: PhaseResult) => number) => count(phases.reduce((total, phase) => total + pick(phase), 0))
  const rows = rowsOf(summary).map((cells, index) => {
    const { at = '', commit: of = '', seed = 0 } = phases[index] ?? {}
    return row([...cells, of, String(seed), at.slice(0, 10)])
  })
  return [
    '# Chaos campaign',
    '',
    `Written by \`npm run chaos\` on ${on}. Client, server and Postgres share the machine.`,
    'The seed decides what is done when; how the processes interleave it does not. What is checked after every fault',
    'is in `test/chaos/`.',
    '',
    row([...heads, 'commit', 'seed', 'date']),
    row([...heads, 'commit', 'seed', 'date'].map(() => '---')),
    ...rows,
    '',
    `Together: ${sum(({ answered }) => answered)} answered scans, ${sum(({ sentTwice }) => sentTwice)} of them sent twice at`,
    `once, ${sum(({ errands }) => errands)} admin actions, ${sum(({ told }) => told)} events on sockets.`,
    '',
    ...phases.flatMap(({ name, what, figures, failures }) => [
      `**${name}**: ${what}.`,
      '',
      ...Object.entries(figures).map(
        ([figure, value]) => `- ${figure}: ${typeof value === 'number' ? count(value) : value}`,
      ),
      ...failures.map((failure) => `- FAILED ${failure}`),
      '',
    ]),
  ].join('\n')
}

/** Writes `chaos.json` and `chaos.md`. Phases that were not run stay as they were last time. */
export async function write(summary: Summary, folder: string): Promise<void> {
  await mkdir(folder, { recursive: true })
  const json = join(folder, 'chaos.json')
  const before: Summary = JSON.parse(await readFile(json, 'utf8').catch(() => '{"phases":[]}'))
  const names = new Set([...before.phases, ...summary.phases].map(({ name }) => name))
  const named = (phases: readonly PhaseResult[], name: string) => phases.find((phase) => phase.name === name)
  const phases = [...names].flatMap((name) => named(summary.phases, name) ?? named(before.phases, name) ?? [])
  const merged = { ...summary, phases }
  await writeFile(json, `${JSON.stringify(merged, null, 2)}\n`)
  await writeFile(join(folder, 'chaos.md'), markdownOf(merged))
}

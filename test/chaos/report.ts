// What a campaign did and found: a table for people, JSON for programs.
import { execFileSync } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { machine } from '../../bench/scan/machine.js'
import { root } from '../support/server.js'
import type { Report } from './phase.js'

export interface PhaseResult {
  readonly name: string
  readonly what: string
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
  readonly at: string
  readonly commit: string
  readonly machine: string
  readonly seed: number
  readonly seconds: number
  readonly phases: readonly PhaseResult[]
}

export function resultOf(name: string, what: string, report: Report, seconds: number): PhaseResult {
  const { faults, answered, retried, sentTwice, errands, told, worstCatchUpMs, figures, failures, notRun } = report
  return {
    name,
    what,
    faults,
    answered,
    retried,
    sentTwice,
    errands,
    told,
    worstCatchUpMs: Math.round(worstCatchUpMs),
    seconds: Math.round(seconds),
    figures,
    failures,
    notRun,
  }
}

export function summaryOf(seed: number, phases: readonly PhaseResult[]): Summary {
  const seconds = phases.reduce((sum, phase) => sum + phase.seconds, 0)
  return { at: new Date().toISOString(), commit: commit(), machine: machine(), seed, seconds, phases }
}

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
  const { at, commit: of, machine: on, seed, seconds, phases } = summary
  const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  const sum = (pick: (phase: PhaseResult) => number) => count(phases.reduce((total, phase) => total + pick(phase), 0))
  return [
    '# Chaos campaign',
    '',
    `Written by \`npm run chaos\` on ${at.slice(0, 10)}: commit ${of}, ${on}, seed ${seed}, ${Math.round(seconds / 60)} minutes.`,
    'Client, server and Postgres share the machine. The seed decides what is done when; how the processes interleave it',
    'does not.',
    '',
    row(heads),
    row(heads.map(() => '---')),
    ...rowsOf(summary).map(row),
    '',
    `Together: ${sum(({ faults }) => faults)} faults, ${sum(({ answered }) => answered)} answered scans of which`,
    `${sum(({ sentTwice }) => sentTwice)} were sent twice at once, ${sum(({ errands }) => errands)} admin actions,`,
    `${sum(({ told }) => told)} events on sockets. What a phase checks is in \`test/chaos/\`.`,
    '',
    ...phases.flatMap(({ name, what, figures, failures }) => [
      `**${name}**: ${what}.`,
      ...Object.entries(figures).map(
        ([figure, value]) => `- ${figure}: ${typeof value === 'number' ? count(value) : value}`,
      ),
      ...failures.map((failure) => `- FAILED ${failure}`),
      '',
    ]),
  ].join('\n')
}

/** Writes `chaos.json` and `chaos.md`. */
export async function write(summary: Summary, folder: string): Promise<void> {
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, 'chaos.json'), `${JSON.stringify(summary, null, 2)}\n`)
  await writeFile(join(folder, 'chaos.md'), markdownOf(summary))
}

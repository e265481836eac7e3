/** The page of a day: what was checked, how long everything took, and how the server fared over the hours. */

import type { Line, LinePlot } from '../compare/section.js'
import { formatFigure, spreadOf } from '../compare/statistics.js'
import type { Check } from './checks.js'
import { EVENT_FROM, EVENT_UNTIL } from './profile.js'
import type { Times } from './recorder.js'
import type { Sample } from './watch.js'

export interface DayPlan {
  /** That the day takes. */
  readonly minutes: number
  /** Requests a second over HTTP in the busiest hour. */
  readonly peak: number
  /** Members in a channel, who all write and hear each other. */
  readonly talkers: number
  /** Of the live event. */
  readonly watchers: number
  /** With their own stream open. */
  readonly members: number
  readonly dashboards: number
}

export interface Day {
  readonly at: string
  readonly commit: string
  readonly machine: string
  /** Over one, five and fifteen minutes, when the day was over. */
  readonly loadAverage: readonly number[]
  readonly options: DayPlan
  readonly seeded: number
  /** After the last request; null when it took too long. */
  readonly writtenSeconds: number | null
  readonly paidSeconds: number | null
  readonly checks: readonly Check[]
  readonly times: Readonly<Record<string, Times>>
  readonly counts: Readonly<Record<string, number>>
  readonly samples: readonly Sample[]
}

/** What should have been and was not. */
export function missedOf({ checks, writtenSeconds, paidSeconds }: Day): string[] {
  return [
    ...checks.filter(({ ok }) => !ok).map(({ name, found }) => `${name}: ${found}`),
    ...(writtenSeconds === null ? ['Postgres did not catch up'] : []),
    ...(paidSeconds === null ? ['not all prizes were paid in time'] : []),
  ]
}

/** As many as one can tell apart. */
const PLOTTED = ['scan', 'profile', 'own stream', 'message, to each', 'dashboard counter']

const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
const whole = (value: number) => Math.round(value).toLocaleString('en-US')

function line(samples: readonly Sample[], name: string, of: (sample: Sample) => number): Line {
  return { name, points: samples.map((sample): readonly [number, number] => [sample.hour, of(sample)]) }
}

export function plotsOf({ samples, times }: Day): LinePlot[] {
  const plot = (file: string, title: string, yTitle: string, lines: readonly Line[]): LinePlot => ({
    ...{ kind: 'lines', file, title, xTitle: 'hour of the day', yTitle, isLogarithmic: false },
    lines,
  })
  const timesOf = (of: (times: Times) => number) =>
    PLOTTED.filter((kind) => times[kind] !== undefined).map((kind) =>
      line(
        samples.filter((sample) => sample.times[kind] !== undefined),
        kind,
        (sample) => of(sample.times[kind] ?? { count: 0, p50Ms: 0, p99Ms: 0, maxMs: 0 }),
      ),
    )
  const processes = [...new Set(samples.flatMap(({ cores }) => Object.keys(cores)))]
  return [
    plot(
      'p50',
      'Time from due, p50',
      'ms',
      timesOf(({ p50Ms }) => p50Ms),
    ),
    plot(
      'p99',
      'Time from due, p99',
      'ms',
      timesOf(({ p99Ms }) => p99Ms),
    ),
    plot('lag', 'Write-behind: records behind', 'records', [line(samples, 'records', ({ lagRecords }) => lagRecords)]),
    plot('journal', 'Journal', 'records a second', [
      line(samples, 'records', ({ recordsPerSecond }) => recordsPerSecond),
    ]),
    plot('memory', 'Memory of the server', 'MiB', [
      line(samples, 'resident', ({ rssMib }) => rssMib),
      line(samples, 'heap', ({ heapMib }) => heapMib),
    ]),
    plot('pauses', 'Longest pause for garbage', 'ms', [
      line(samples, 'pause', ({ longestPauseMs }) => longestPauseMs ?? 0),
    ]),
    plot('cores', 'Processor', 'cores', [
      ...processes.map((name) => line(samples, name, ({ cores }) => cores[name] ?? 0)),
      line(samples, 'other programs', ({ otherCores }) => otherCores),
    ]),
    plot('payouts', 'Prizes', 'prizes', [
      line(samples, 'won', ({ compsWon }) => compsWon),
      line(samples, 'paid', ({ compsPaid }) => compsPaid),
    ]),
  ]
}

function overTheDay({ samples }: Day): string[] {
  const figures: readonly (readonly [string, (sample: Sample) => number])[] = [
    ['records behind', ({ lagRecords }) => lagRecords],
    ['records journaled a second', ({ recordsPerSecond }) => recordsPerSecond],
    ['resident memory, MiB', ({ rssMib }) => rssMib],
    ['heap, MiB', ({ heapMib }) => heapMib],
    ['share of the time in garbage collection, %', ({ gcShare }) => gcShare * 100],
    ['longest pause for garbage, ms', ({ longestPauseMs }) => longestPauseMs ?? Number.NaN],
    ['sockets', ({ sockets }) => sockets],
    ...['server', 'postgres', 'anvil', 'generator'].map(
      (name) => [`cores: ${name}`, ({ cores }: Sample) => cores[name] ?? Number.NaN] as const,
    ),
    ['cores: other programs', ({ otherCores }) => otherCores],
  ]
  return figures.map(([name, of]) => {
    const { median, min, max } = spreadOf(samples.map(of))
    const last = samples.at(-1)
    return row([name, ...[min, median, max, last === undefined ? Number.NaN : of(last)].map(formatFigure)])
  })
}

export function pageOf(day: Day): string {
  const { options, checks, times, counts, writtenSeconds, paidSeconds, loadAverage } = day
  const seconds = (value: number | null) => (value === null ? 'did not end in time' : `${formatFigure(value)} s`)
  return [
    '# A mixed day',
    '',
    `Written by \`npm run bench:day\` on ${day.at.slice(0, 10)} at commit \`${day.commit}\`, ${day.machine}. Load average over the`,
    `last fifteen minutes: ${formatFigure(loadAverage[2] ?? Number.NaN)}; what other programs used is in the table below.`,
    '',
    `One day in ${formatFigure(options.minutes)} minutes: up to ${options.peak} requests a second over HTTP in the busiest hour (40 % scans, the rest`,
    `reads), ${options.talkers} members in a channel who write and hear each other, ${options.watchers} who watch a live event from ${EVENT_FROM} to ${EVENT_UNTIL} o'clock,`,
    `${options.members} with their own stream and ${options.dashboards} dashboards open, ${whole(day.seeded)} members in all; prizes are paid on a local chain (anvil),`,
    'by the wallet that each winner proves. Requests and messages have due times, and times count from these.',
    '',
    '## At the end',
    '',
    `All was in Postgres ${seconds(writtenSeconds)} after the last request, all prizes were final after ${seconds(paidSeconds)}.`,
    '',
    row(['check', 'found', '']),
    row(['---', '---', '---']),
    ...checks.map(({ name, found, ok }) => row([name, found, ok ? 'ok' : '**WRONG**'])),
    '',
    '## Times',
    '',
    row(['kind', 'how many', 'p50, ms', 'p99, ms', 'longest, ms']),
    row(['---', '---:', '---:', '---:', '---:']),
    ...Object.entries(times).map(([kind, { count, p50Ms, p99Ms, maxMs }]) =>
      row([kind, whole(count), formatFigure(p50Ms), formatFigure(p99Ms), formatFigure(maxMs)]),
    ),
    '',
    'A dashboard counter and an event of one’s own stream are timed from the moment of the scan they tell of; the counter tells',
    'at most every 100 ms, and rests on purpose.',
    '',
    '## Over the day',
    '',
    row(['', 'least', 'median', 'most', 'at the end']),
    row(['---', '---:', '---:', '---:', '---:']),
    ...overTheDay(day),
    '',
    ...plotsOf(day).map(({ title, file }) => `![${title}](day-${file}.svg)`),
    '',
    'Also happened:',
    '',
    ...Object.entries(counts).map(([what, count]) => `- ${what}: ${whole(count)}`),
    '',
    'Not measured: TLS, a network, a chain that others use, people (members act in turn, evenly, never as a crowd does).',
    '',
  ].join('\n')
}

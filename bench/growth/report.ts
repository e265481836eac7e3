/** What growing costs: the curve of each figure, the targets, and the tables that show both. */

import { formatFigure, formatSpread, type Spread, spreadOf } from '../compare/statistics.js'
import { type Target, targetsOf } from '../compare/targets.js'
import { type Curve, curveOf, type Point } from './curves.js'
import type { ScanCost } from './scans.js'
import type { SizePoint } from './size-point.js'
import type { SocketPoint } from './socket-point.js'

const TARGET_USERS = 1_000_000
const TARGET_CODES = 10_000_000

export interface Growth {
  readonly at: string
  readonly commit: string
  readonly machine: string
  readonly options: object
  readonly loadAverage: readonly number[]
  readonly sizes: readonly SizePoint[]
  readonly sockets: readonly SocketPoint[]
}

export interface Series {
  readonly figure: string
  readonly of: string
  readonly points: readonly { readonly size: number; readonly value: Spread }[]
  readonly curve: Curve
}

type Figure<From> = readonly [name: string, of: (point: From) => readonly number[]]

const scanFigures: readonly Figure<readonly ScanCost[]>[] = [
  ['server CPU of a scan, µs', (scans) => scans.map(({ serverMicros }) => serverMicros)],
  ['Postgres CPU of a scan, µs', (scans) => scans.map(({ postgresMicros }) => postgresMicros)],
  ['decision p50, µs', (scans) => scans.map(({ decisionP50Micros }) => decisionP50Micros)],
  ['answer p50, µs', (scans) => scans.map(({ answerP50Micros }) => answerP50Micros)],
  ['answer p99, µs', (scans) => scans.map(({ answerP99Micros }) => answerP99Micros)],
]

const sizeFigures: readonly Figure<SizePoint>[] = [
  ['start until ready, s', ({ starts }) => starts.map(({ readyMs }) => readyMs / 1_000)],
  [
    'start: CPU of server and Postgres, s',
    ({ starts }) => starts.map((start) => start.serverCpuSeconds + start.postgresCpuSeconds),
  ],
  ['server memory after the start, MiB', ({ starts }) => starts.map(({ rssBytes }) => rssBytes / 2 ** 20)],
  ['first scan of a member, p50, µs', ({ firstScanMicros }) => [firstScanMicros]],
  ...scanFigures.map(([name, of]): Figure<SizePoint> => [name, ({ scans }) => of(scans)]),
]

const userFigures: readonly Figure<SizePoint>[] = [
  ...sizeFigures,
  ['directory, bytes a member', ({ restore }) => [restore.directoryBytes / restore.members]],
]

const codeFigures: readonly Figure<SizePoint>[] = [
  ...sizeFigures,
  ['code book, bytes a code', ({ restore }) => [restore.codeBytes / restore.codes]],
]

const socketFigures: readonly Figure<SocketPoint>[] = [
  ['server memory of a viewer, bytes', ({ bytesPerSocket }) => [bytesPerSocket]],
  ['all connected after, s', ({ connectSeconds }) => [connectSeconds]],
  ['server, nobody scanning, cores', ({ idleCores }) => [idleCores]],
  ['events to viewers a second', ({ rounds }) => rounds.map(({ deliveriesPerSecond }) => deliveriesPerSecond)],
  [
    'server CPU of an event to one viewer, scans included, µs',
    ({ rounds }) => rounds.map(({ cost, deliveriesPerSecond }) => (cost.serverCores * 1e6) / deliveriesPerSecond),
  ],
  ...scanFigures.map(([name, of]): Figure<SocketPoint> => [name, ({ rounds }) => of(rounds.map(({ cost }) => cost))]),
]

function seriesOf<From>(
  of: string,
  points: readonly From[],
  sizeOf: (point: From) => number,
  figures: readonly Figure<From>[],
): Series[] {
  return figures.map(([figure, valuesOf]) => {
    const measured = points.map((point) => ({ size: sizeOf(point), value: spreadOf(valuesOf(point)) }))
    const curve = curveOf(measured.map(({ size, value }): Point => [size, value.median]))
    return { figure, of, points: measured, curve }
  })
}

/** Members at the fewest codes, codes at the most members, viewers. */
export function allSeries({ sizes, sockets }: Growth): Series[] {
  const codesMin = Math.min(...sizes.map(({ codes }) => codes))
  const usersMax = Math.max(...sizes.map(({ users }) => users))
  const withFewCodes = sizes.filter(({ codes }) => codes === codesMin)
  const withManyUsers = sizes.filter(({ users }) => users === usersMax)
  return [
    ...seriesOf('members', withFewCodes, ({ users }) => users, userFigures),
    ...seriesOf('codes', withManyUsers, ({ codes }) => codes, codeFigures),
    ...seriesOf('viewers', sockets, (point) => point.sockets, socketFigures),
  ]
}

/** The targets of issue 6 that are measured here. */
export function growthTargets({ sizes }: Growth): Target[] {
  const at = sizes.find(({ users, codes }) => users === TARGET_USERS && codes === TARGET_CODES)
  const largest = sizes.at(-1)
  const all = targetsOf({
    ...(largest === undefined
      ? {}
      : {
          bytesPerUser: largest.members.userAfterScans,
          bytesPerCode: largest.restore.codeBytes / largest.restore.codes,
        }),
    ...(at === undefined ? {} : { readySeconds: spreadOf(at.starts.map(({ readyMs }) => readyMs / 1_000)).median }),
  })
  return all.filter(({ ok }) => ok !== null)
}

const unitOfSlope: Readonly<Record<Curve['shape'], (slope: number) => string>> = {
  constant: () => 'constant',
  logarithmic: (slope) => `logarithmic, ${signed(slope)} for ten times as many`,
  linear: (slope) => `linear, ${signed(slope * 1e6)} a million`,
}

const signed = (value: number) => `${value < 0 ? '−' : '+'}${formatFigure(Math.abs(value))}`

export function curveInWords({ shape, slope, base, error }: Curve): string {
  const from = shape === 'constant' ? formatFigure(base) : `from ${formatFigure(base)}`
  return `${unitOfSlope[shape](slope)} (${from}, ±${Math.round(error * 100)} %)`
}

/** Markdown: a table for each of what grows. */
export function tablesOf(growth: Growth): string {
  const series = allSeries(growth)
  return ['members', 'codes', 'viewers']
    .flatMap((of) => {
      const own = series.filter((each) => each.of === of)
      const [first] = own
      if (first === undefined || first.points.length === 0) return []
      const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
      return [
        [
          row([of, ...first.points.map(({ size }) => size.toLocaleString('en-US')), 'curve']),
          row(['---', ...first.points.map(() => '---:'), '---']),
          ...own.map(({ figure, points, curve }) =>
            row([figure, ...points.map(({ value }) => formatSpread(value)), curveInWords(curve)]),
          ),
        ].join('\n'),
      ]
    })
    .join('\n\n')
}

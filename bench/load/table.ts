import type { ProcessUsage } from './processes.js'
import type { LoadResult } from './result.js'

export interface Row {
  readonly name: string
  readonly value: number | string
  readonly unit?: string
}

const LIMITING = ': it may be the limit, the server can do more'
const MEBIBYTE = 1024 * 1024

/** A duration with three significant digits and the unit that suits it: `850 µs`, `1.25 ms`, `2.10 s`. */
export function formatMicros(micros: number): string {
  if (micros < 999.5) return `${Math.round(micros)} µs`
  if (micros < 999_500) return `${threeDigits(micros / 1000)} ms`
  return `${threeDigits(micros / 1e6)} s`
}

/** Aligned lines: names left, values right, units left. */
export function formatTable(rows: readonly Row[]): string {
  const cells = rows.map(({ name, value, unit }) => ({ name, value: formatValue(value), unit: unit ?? '' }))
  const nameWidth = Math.max(0, ...cells.map(({ name }) => name.length))
  const valueWidth = Math.max(0, ...cells.map(({ value }) => value.length))
  return cells
    .map(({ name, value, unit }) => `${name.padEnd(nameWidth)}  ${value.padStart(valueWidth)} ${unit}`.trimEnd())
    .map((line) => `${line}\n`)
    .join('')
}

export function printTable(title: string, rows: readonly Row[]): void {
  process.stdout.write(`${title}\n${formatTable(rows)}\n`)
}

export function microsRow(name: string, micros: number): Row {
  const [value = '', unit = ''] = formatMicros(micros).split(' ')
  return { name, value, unit }
}

/** What a run found; what did not happen (unknown, unsent, …) is left out. */
export function loadRows(result: LoadResult): Row[] {
  const { generator } = result
  const failures: [string, number, string][] = [
    ['unknown', result.unknown, 'connection lost after sending'],
    ['unsent', result.unsent, 'no connection, or the backlog was full'],
    ['late', result.late, 'sent well after they were due'],
    ['connections lost', result.connectionsLost, ''],
  ]
  const otherStatuses = Object.entries(result.byStatus).filter(([status]) => !status.startsWith('2'))
  return [
    { name: 'requests', value: result.requests, unit: `in ${result.seconds.toFixed(1)} s` },
    { name: 'answered 2xx', value: result.ok },
    ...otherStatuses.map(([status, count]) => ({ name: `answered ${status}`, value: count })),
    ...failures.filter(([, count]) => count > 0).map(([name, value, unit]) => ({ name, value, unit })),
    { name: 'throughput', value: Math.round(result.perSecond), unit: 'answers/s' },
    microsRow('latency p50', result.p50),
    microsRow('latency p90', result.p90),
    microsRow('latency p99', result.p99),
    microsRow('latency p99.9', result.p999),
    microsRow('latency max', result.max),
    {
      name: 'generator busy',
      value: percent(generator.utilisation),
      unit: `% of its thread, ${percent(generator.cpuShare)} % of a core${generator.limiting ? LIMITING : ''}`,
    },
  ]
}

/** CPU and memory by process; null means that this system cannot tell. */
export function usageRows(usage: Readonly<Record<string, ProcessUsage | null>> | null, requests: number): Row[] {
  if (usage === null) return [{ name: 'CPU by process', value: 'not measured', unit: '(needs Linux)' }]
  return Object.entries(usage).flatMap(([name, used]): Row[] => {
    if (used === null) return [{ name, value: 'not measured', unit: '(the process ended)' }]
    const perRequest = requests > 0 ? ` (${Math.round((used.cpuSeconds * 1e6) / requests)} µs per request)` : ''
    return [
      { name: `${name} CPU`, value: percent(used.cpuShare), unit: `% of a core${perRequest}` },
      { name: `${name} memory`, value: Math.round(used.rssBytes / MEBIBYTE), unit: 'MiB' },
    ]
  })
}

function formatValue(value: number | string): string {
  return typeof value === 'string' ? value : value.toLocaleString('en-US', { maximumFractionDigits: 2 })
}

function threeDigits(value: number): string {
  if (value >= 99.95) return value.toFixed(0)
  return value >= 9.995 ? value.toFixed(1) : value.toFixed(2)
}

function percent(share: number): number {
  return Math.round(share * 100)
}

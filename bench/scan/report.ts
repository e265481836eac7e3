/** The figures of a benchmark, their targets, and the table that shows both. */
import { formatMicros, formatTable, type Row } from '../load/table.js'
import type { Measurement } from './measure.js'

const MEBIBYTE = 1024 * 1024

/** Every figure of one run, by the name it has in the results file. */
export type Figures = Readonly<Record<string, number>>

export interface Run {
  readonly measurement: Measurement
  readonly rowsInPostgres: number
  /** Start of the server before and after the run, in milliseconds. */
  readonly readyMs: number
  readonly restartMs: number
}

export function figuresOf({ measurement, rowsInPostgres, readyMs, restartMs }: Run): Figures {
  const { load, turns, batches, flushes, usage } = measurement
  const processes = Object.entries(usage ?? {}).flatMap(([name, used]): [string, number][] =>
    used === null
      ? []
      : [
          [`${name}_cpu_cores`, used.cpuShare],
          [`${name}_cpu_micros_per_scan`, (used.cpuSeconds * 1e6) / load.requests],
          [`${name}_rss_mib`, used.rssBytes / MEBIBYTE],
        ],
  )
  return {
    scans_per_second: load.ok / load.seconds,
    answer_p50_micros: load.p50,
    answer_p99_micros: load.p99,
    answer_p999_micros: load.p999,
    decision_p50_micros: turns.at(50),
    decision_p99_micros: turns.at(99),
    decision_p999_micros: turns.at(99.9),
    decision_mean_micros: turns.mean,
    journal_batch_records: batches.mean,
    journal_flush_p50_micros: flushes.at(50),
    journal_flush_p99_micros: flushes.at(99),
    lag_records: measurement.lagRecords,
    catch_up_seconds: measurement.lagSeconds,
    accepted: measurement.accepted,
    rows_in_postgres: rowsInPostgres,
    lost: measurement.accepted - rowsInPostgres,
    other_answers: load.requests - load.ok,
    first_restart_ms: readyMs,
    restart_ms: restartMs,
    garbage_share: measurement.garbageShare,
    others_cpu_cores: measurement.othersShare,
    generator_busy_share: load.generator.utilisation,
    ...Object.fromEntries(processes),
  }
}

/** The median of each figure. */
export function medianOf(runs: readonly Figures[]): Figures {
  const names = Object.keys(runs[0] ?? {})
  return Object.fromEntries(
    names.map((name) => {
      const sorted = runs.map((figures) => figures[name] ?? Number.NaN).sort((a, b) => a - b)
      const middle = (sorted.length - 1) / 2
      return [name, ((sorted[Math.floor(middle)] ?? 0) + (sorted[Math.ceil(middle)] ?? 0)) / 2]
    }),
  )
}

interface Target {
  readonly name: string
  readonly says: string
  readonly met: (figure: number) => boolean
}

const targets: Readonly<Record<string, Target>> = {
  scans_per_second: { name: 'throughput', says: 'at least 10,000/s', met: (rate) => rate >= 10_000 },
  decision_p99_micros: { name: 'decision p99', says: 'under 0.1 ms', met: (micros) => micros < 100 },
  decision_p999_micros: { name: 'decision p99.9', says: 'under 1 ms', met: (micros) => micros < 1_000 },
  catch_up_seconds: { name: 'catching up', says: 'within 5 s', met: (seconds) => seconds <= 5 },
  lost: { name: 'lost scans', says: 'none', met: (count) => count === 0 },
  other_answers: { name: 'other answers', says: 'none', met: (count) => count === 0 },
  first_restart_ms: { name: 'restart before the run', says: 'under 5 s', met: (ms) => ms < 5_000 },
  restart_ms: { name: 'restart after the run', says: 'under 5 s', met: (ms) => ms < 5_000 },
}

/** The targets that the figures miss, in a sentence each. */
export function missedTargets(figures: Figures): string[] {
  return Object.entries(targets).flatMap(([figure, { name, says, met }]) => {
    const value = figures[figure]
    return value !== undefined && met(value) ? [] : [`${name} is to be ${says}, but is ${value ?? 'not measured'}`]
  })
}

/** The table, from the figures of one run or the medians of several. */
export function tableOf(figures: Figures): string {
  const of = (name: string) => figures[name] ?? Number.NaN
  const times = (...names: string[]) => names.map((name) => formatMicros(of(name))).join('   ')
  const whole = (name: string) => Math.round(of(name)).toLocaleString('en-US')
  const row = (name: string, value: string, figure?: string): Row => {
    const target = figure === undefined ? undefined : targets[figure]
    return {
      name,
      value,
      unit: target === undefined ? '' : `  ${target.met(of(figure ?? '')) ? 'ok' : 'MISSED'}: ${target.says}`,
    }
  }
  const processes = ['server', 'postgres', 'generator'].map((name) =>
    row(
      `${name}: cores, per scan, memory`,
      Number.isNaN(of(`${name}_cpu_cores`))
        ? 'not measured'
        : `${of(`${name}_cpu_cores`).toFixed(2)}   ${whole(`${name}_cpu_micros_per_scan`)} µs   ${whole(`${name}_rss_mib`)} MiB`,
    ),
  )
  return formatTable([
    row('durable scans a second', whole('scans_per_second'), 'scans_per_second'),
    row('answer p50, p99, p99.9', times('answer_p50_micros', 'answer_p99_micros', 'answer_p999_micros')),
    row('decision p50', times('decision_p50_micros')),
    row('decision p99', times('decision_p99_micros'), 'decision_p99_micros'),
    row('decision p99.9', times('decision_p999_micros'), 'decision_p999_micros'),
    row('journal: records a batch', of('journal_batch_records').toFixed(1)),
    row('journal: write and sync p50, p99', times('journal_flush_p50_micros', 'journal_flush_p99_micros')),
    row('write-behind: records behind at the end', whole('lag_records')),
    row('write-behind: caught up after', `${of('catch_up_seconds').toFixed(2)} s`, 'catch_up_seconds'),
    row('answers 200, rows in Postgres', `${whole('accepted')}   ${whole('rows_in_postgres')}`, 'lost'),
    row('other answers', whole('other_answers'), 'other_answers'),
    ...processes,
    row('other programs: cores', of('others_cpu_cores').toFixed(2)),
    row('server: garbage collection', `${(of('garbage_share') * 100).toFixed(1)} % of the time`),
    row('generator: busy', `${Math.round(of('generator_busy_share') * 100)} % of its thread`),
    row('restart before the run: ready after', `${whole('first_restart_ms')} ms`, 'first_restart_ms'),
    row('restart after the run: ready after', `${whole('restart_ms')} ms`, 'restart_ms'),
  ])
}

export const notMeasured = `Not measured: TLS, a network (everything runs on this machine and shares its cores), the sync of a disk other than
this one, the first check of a token (done before), Idempotency-Key headers (none is sent), sockets (none is open).
`

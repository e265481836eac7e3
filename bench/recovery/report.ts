/** The figures of the recovery benchmark, their targets, and the table that shows both. */
import { formatTable, type Row } from '../load/table.js'
import type { Figures } from '../scan/report.js'
import type { MemberMemory } from './members.js'
import type { Replay } from './replay.js'
import type { RestoreParts } from './restore.js'
import type { Folding } from './stock.js'

const MEBIBYTE = 1024 * 1024

export interface Start {
  readonly readyMs: number
  /** From ready to the first member's answer, which reads two actors from Postgres. */
  readonly firstAnswerMs: number
  /** Processor time up to then, of all threads and processes. */
  readonly serverCpuSeconds: number
  readonly postgresCpuSeconds: number
  readonly serverRssBytes: number
  readonly postgresRssBytes: number
}

export interface Run {
  readonly start: Start
  readonly restore: RestoreParts
  readonly replay: Replay
  readonly replayKeyed: Replay
  readonly members: MemberMemory
  /** Cores used by all programs, ours included, during the start and the replays; NaN where unknown. */
  readonly busyAtStart: number
  readonly busyAtReplay: number
}

/** Every figure of one run, by the name it has in the results file. */
export function figuresOf({ start, restore, replay, replayKeyed, members, ...busy }: Run): Figures {
  const parts = Object.entries(restore.parts).flatMap(([name, part]): [string, number][] => [
    [`restore_${name}_seconds`, part.seconds],
    [`restore_${name}_cpu_seconds`, part.cpuSeconds],
    [`restore_${name}_kept_mib`, part.keptBytes / MEBIBYTE],
  ])
  const kept = (name: string) => restore.parts[name]?.keptBytes ?? Number.NaN
  return {
    start_ms: start.readyMs,
    first_answer_ms: start.firstAnswerMs,
    start_server_cpu_seconds: start.serverCpuSeconds,
    start_postgres_cpu_seconds: start.postgresCpuSeconds,
    server_rss_mib: start.serverRssBytes / MEBIBYTE,
    postgres_rss_mib: start.postgresRssBytes / MEBIBYTE,
    busy_at_start_cores: busy.busyAtStart,
    ...Object.fromEntries(parts),
    codes: restore.codes,
    members: restore.members,
    keys: restore.keys,
    bytes_per_code: restore.codeBytes / restore.codes,
    directory_bytes_per_member: restore.directoryBytes / restore.members,
    bytes_per_key: kept('pinned_actors_and_keys') / restore.keys,
    user_bytes: members.user,
    user_bytes_after_scans: members.userAfterScans,
    account_bytes: members.account,
    replay_records: replay.records,
    replay_records_per_second: replay.recordsPerSecond,
    replay_cpu_micros: (replay.cpuSeconds * 1e6) / replay.records,
    replay_bytes_per_record: replay.bytesPerRecord,
    replay_memory_per_record: (replay.rssAfter - replay.rssBefore) / replay.records,
    replay_keyed_records_per_second: replayKeyed.recordsPerSecond,
    replay_keyed_cpu_micros: (replayKeyed.cpuSeconds * 1e6) / replayKeyed.records,
    replay_keyed_bytes_per_record: replayKeyed.bytesPerRecord,
    replay_keyed_memory_per_record: (replayKeyed.rssAfter - replayKeyed.rssBefore) / replayKeyed.records,
    busy_at_replay_cores: busy.busyAtReplay,
  }
}

interface Target {
  readonly name: string
  readonly says: string
  readonly met: (figure: number) => boolean
}

const targets: Readonly<Record<string, Target>> = {
  start_ms: { name: 'start', says: 'under 20 s', met: (ms) => ms < 20_000 },
  replay_records_per_second: { name: 'replay', says: 'at least 200,000/s', met: (rate) => rate >= 200_000 },
}

/** The targets that the figures miss, in a sentence each. */
export function missedTargets(figures: Figures): string[] {
  return Object.entries(targets).flatMap(([figure, { name, says, met }]) => {
    const value = figures[figure]
    return value !== undefined && met(value) ? [] : [`${name} is to be ${says}, but is ${value ?? 'not measured'}`]
  })
}

/** The best of several runs, by the figures that have targets. */
export function bestOf(runs: readonly Figures[]): Figures {
  const of = (name: string) => runs.map((figures) => figures[name] ?? Number.NaN)
  return {
    start_ms: Math.min(...of('start_ms')),
    replay_records_per_second: Math.max(...of('replay_records_per_second')),
    replay_keyed_records_per_second: Math.max(...of('replay_keyed_records_per_second')),
  }
}

/** The table, from the figures of one run or the medians of several. */
export function tableOf(figures: Figures): string {
  const of = (name: string) => figures[name] ?? Number.NaN
  const whole = (name: string) => Math.round(of(name)).toLocaleString('en-US')
  const row = (name: string, value: string, figure?: string): Row => {
    const target = figure === undefined ? undefined : targets[figure]
    const verdict = target === undefined ? '' : `  ${target.met(of(figure ?? '')) ? 'ok' : 'MISSED'}: ${target.says}`
    return { name, value, unit: verdict }
  }
  const part = (title: string, name: string) =>
    row(
      `  ${title}: time, CPU here, memory kept`,
      `${of(`restore_${name}_seconds`).toFixed(2)} s   ${of(`restore_${name}_cpu_seconds`).toFixed(2)} s   ${whole(`restore_${name}_kept_mib`)} MiB`,
    )
  const replay = (title: string, name: string) => [
    row(
      `${title}: records a second`,
      whole(`${name}_records_per_second`),
      name === 'replay' ? 'replay_records_per_second' : undefined,
    ),
    row(
      '  a record: CPU, size, memory',
      `${of(`${name}_cpu_micros`).toFixed(1)} µs   ${whole(`${name}_bytes_per_record`)} B   ${whole(`${name}_memory_per_record`)} B`,
    ),
  ]
  return formatTable([
    row('start of the server until ready', `${(of('start_ms') / 1_000).toFixed(1)} s`, 'start_ms'),
    row('  then first answer to a member', `${whole('first_answer_ms')} ms`),
    row(
      '  CPU: server, Postgres',
      `${of('start_server_cpu_seconds').toFixed(1)}   ${of('start_postgres_cpu_seconds').toFixed(1)} s`,
    ),
    row('  memory: server, Postgres', `${whole('server_rss_mib')}   ${whole('postgres_rss_mib')} MiB`),
    row('  cores used by all programs', of('busy_at_start_cores').toFixed(2)),
    row('restored: codes, members, keys', `${whole('codes')}   ${whole('members')}   ${whole('keys')}`),
    part('code book', 'code_book'),
    part('directory', 'directory'),
    part('idempotency keys', 'pinned_actors_and_keys'),
    row('memory of a code', `${of('bytes_per_code').toFixed(1)} B`),
    row('memory of a member in the directory', `${whole('directory_bytes_per_member')} B`),
    row('memory of an idempotency key', `${whole('bytes_per_key')} B`),
    row(
      'memory of a cached user: new, after ten scans',
      `${whole('user_bytes')}   ${whole('user_bytes_after_scans')} B`,
    ),
    row('memory of a cached account', `${whole('account_bytes')} B`),
    ...replay('replay of scans', 'replay'),
    ...replay('replay of scans with keys', 'replay_keyed'),
    row('  cores used by all programs', of('busy_at_replay_cores').toFixed(2)),
  ])
}

export function foldingTable({ scans, seconds, longestStepMs }: Folding): string {
  return formatTable([
    { name: 'folded scans', value: scans },
    { name: 'folded scans a second', value: Math.round(scans / seconds) },
    { name: 'longest transaction', value: Math.round(longestStepMs), unit: 'ms' },
  ])
}

export const notMeasured = `Not measured: a Postgres that has to recover from a crash itself, cold file caches (what was just written is cached),
members' scans in their images (the scans are rows only), a disk other than this one.
`

/** The figures of the benchmark of payouts, their targets, and the tables that show both. */
import { execFileSync } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { loadavg } from 'node:os'
import { join } from 'node:path'
import { formatTable, type Row } from '../load/table.js'
import type { EndToEnd } from './end-to-end.js'

export type Ground = 'anvil, a block each second' | 'anvil, a block at once' | 'Solana VM, slots of 400 ms'

/** One run of one way. */
export interface Run {
  readonly ground: Ground
  readonly name: string
  readonly payouts: number
  readonly seconds: number
}

export interface Summary {
  readonly at: string
  readonly machine: string
  readonly runs: readonly Run[]
  /** Null when no server was started. */
  readonly endToEnd: EndToEnd | null
}

const NAIVE = 'send_wait_repeat'
const names: Readonly<Record<string, string>> = {
  send_wait_repeat: 'send, wait, repeat',
  pipelined: 'adapter, pipelined in batches of JSON-RPC',
  whole_core: 'whole pipeline: journal, shard, signer',
  batch_contract: 'batch contract',
}
/** Times as fast as send, wait, repeat; with a block each second. */
const targets: Readonly<Record<string, number>> = { pipelined: 8, batch_contract: 20 }
const TARGET_GROUND: Ground = 'anvil, a block each second'

const median = (values: readonly number[]) => percentile(values, 50)

/** The value that so many of a hundred do not exceed; between two of them, in proportion. */
export function percentile(values: readonly number[], of: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  const rank = ((sorted.length - 1) * of) / 100
  const [lower = Number.NaN, upper = lower] = [sorted[Math.floor(rank)], sorted[Math.ceil(rank)]]
  return lower + (upper - lower) * (rank % 1)
}

interface Line {
  readonly ground: Ground
  readonly name: string
  readonly payouts: number
  readonly perSecond: number
  readonly worst: number
  readonly best: number
  /** Against send, wait, repeat on the same ground. */
  readonly ratio: number
}

function linesOf({ runs }: Summary): Line[] {
  const keys = new Map(runs.map((run) => [`${run.ground} ${run.name}`, run]))
  const rates = ({ ground, name }: Pick<Run, 'ground' | 'name'>) =>
    runs.filter((run) => run.ground === ground && run.name === name).map(({ payouts, seconds }) => payouts / seconds)
  return [...keys.values()].map(({ ground, name, payouts }) => {
    const own = rates({ ground, name })
    const perSecond = median(own)
    const ratio = perSecond / median(rates({ ground, name: NAIVE }))
    return { ground, name, payouts, perSecond, worst: Math.min(...own), best: Math.max(...own), ratio }
  })
}

const targetOf = ({ ground, name }: Line) => (ground === TARGET_GROUND ? targets[name] : undefined)

/** The targets that are missed, in a sentence each. */
export function missedTargets(summary: Summary): string[] {
  return linesOf(summary).flatMap((line) => {
    const target = targetOf(line)
    if (target === undefined || line.ratio >= target) return []
    return [
      `${names[line.name]} is to be ${target} times as fast as ${names[NAIVE]}, and is ${line.ratio.toFixed(1)} times`,
    ]
  })
}

const stages: readonly (readonly [name: string, of: (prize: EndToEnd['prizes'][number]) => number])[] = [
  ['bytes signed and durable', ({ signed }) => signed],
  ['mined, as the core knows', ({ mined }) => mined],
  ['final, the ledger says paid', ({ final }) => final],
  ['listed as paid over HTTP', ({ told }) => told],
]

function stageRows({ prizes }: EndToEnd): (readonly [name: string, p50: string, p95: string])[] {
  return stages.map(([name, of]) => {
    const values = prizes.map(of)
    return [name, percentile(values, 50).toFixed(1), percentile(values, 95).toFixed(1)] as const
  })
}

const rate = (perSecond: number) => (perSecond < 20 ? perSecond.toFixed(1) : perSecond.toFixed(0))

/** For a terminal. */
export function tableOf(summary: Summary): string {
  const rows = linesOf(summary).map((line): Row => {
    const target = targetOf(line)
    const verdict = target === undefined ? '' : `  ${line.ratio >= target ? 'ok' : 'MISSED'}: at least ${target}`
    const unit = `payouts/s   ${line.ratio.toFixed(1)} times${verdict}`
    return { name: `${line.ground}: ${names[line.name]}`, value: rate(line.perSecond), unit }
  })
  const { endToEnd } = summary
  if (endToEnd === null) return formatTable(rows)
  const head = `Seconds from a scan that wins, ${endToEnd.prizes.length} prizes, ${endToEnd.confirmations} confirmations`
  const found = stageRows(endToEnd).map(
    ([name, p50, p95]): Row => ({ name, value: `${p50}  ${p95}`, unit: 'p50, p95' }),
  )
  return `${formatTable(rows)}\n${head}\n${formatTable(found)}`
}

function commit(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim()
  } catch {
    return 'unknown'
  }
}

function pageOf(summary: Summary): string {
  const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  const lines = linesOf(summary)
  const runs = summary.runs.length / lines.length
  const { endToEnd } = summary
  return [
    '# Payouts: speed',
    '',
    `Written by \`npm run bench:payouts\` on ${summary.at.slice(0, 10)} at commit \`${commit()}\`, ${summary.machine}.`,
    `Medians of ${runs} runs of each way, one way after the other. Chain, payer and everything else share the machine, and`,
    `other jobs kept it busy: its load average was ${loadavg()[1]?.toFixed(1)} at the end.`,
    '',
    row([
      'chain',
      'way',
      'payouts in a run',
      'payouts/s',
      'slowest and fastest run',
      'times send, wait, repeat',
      'target',
    ]),
    row(['---', '---', '---:', '---:', '---:', '---:', '---:']),
    ...lines.map((line) => {
      const { ground, name, payouts, perSecond, worst, best, ratio } = line
      const target = targetOf(line)
      const range = `${rate(worst)} to ${rate(best)}`
      const says = target === undefined ? '' : `${target}${ratio >= target ? '' : ': missed'}`
      return row([ground, names[name] ?? name, String(payouts), rate(perSecond), range, ratio.toFixed(1), says])
    }),
    '',
    'A payout is a transfer of the test token to an address that never held it. The time is from the decision to pay until',
    'all of a run are in a block: signing, sending and looking for them, and for the whole pipeline also the synced records',
    'of its journal and of the signer, with the limits a minute and in flight lifted. The first, second and last way sign with',
    'a development signer, which keeps no log. On Solana the payees have their token accounts already.',
    '',
    ...(endToEnd === null ? [] : endToEndPage(endToEnd, row)),
    'Not measured: a network between server and node (everything is on this machine), a chain that others use too (their',
    'transactions, and fees that rise), a key management service, several wallets at once, Polygon itself.',
    '',
  ].join('\n')
}

const endToEndPage = (endToEnd: EndToEnd, row: (cells: readonly string[]) => string) => [
  `From a scan that wins to finality: ${endToEnd.prizes.length} prizes through the whole server over HTTP (\`PAYOUTS=evm\`, keys in the`,
  `keystore, a policy), anvil with a block each second, final after ${endToEnd.confirmations} blocks, the chain looked at every 500 ms as by`,
  'default, under the load of the scans. Seconds since the scan was sent:',
  '',
  row(['', 'p50', 'p95']),
  row(['---', '---:', '---:']),
  ...stageRows(endToEnd).map((cells) => row(cells)),
  '',
]

/** Writes the page into a folder. */
export async function write(summary: Summary, folder: string): Promise<void> {
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, 'payouts.md'), pageOf(summary))
}

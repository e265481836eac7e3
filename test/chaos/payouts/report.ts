// What the campaign of payouts did and found: a table for people, and a page that keeps it.
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { machine } from '../../../bench/scan/machine.js'
import { figure } from '../phases/payouts.js'
import type { PhaseResult } from '../report.js'
import type { ChainResult } from './campaign.js'
import type { Counts } from './tally.js'

const PAGE = 'chaos-payouts.md'

export interface PayoutsSummary {
  readonly chains: readonly ChainResult[]
  /** Of the wallets on both chains, and of the servers; null when none were started. */
  readonly wallets: PhaseResult
  readonly servers: PhaseResult | null
}

const heads = ['', 'anvil', 'Solana VM', 'servers on anvil']

const chainRows: readonly (readonly [name: string, of: (result: ChainResult) => number | bigint])[] = [
  ['lives of a wallet', ({ tally }) => tally.lives],
  ['deaths of the process', ({ tally }) => tally.crashes],
  ['reorgs, depth 1 to 9', ({ tally }) => tally.reorganisations],
  ['of these with a conflict', ({ tally }) => tally.withConflict],
  ['distributions by the batch contract', ({ tally }) => tally.distributions],
  ['payouts requested', ({ tally }) => tally.requested],
  ['paid', ({ tally }) => tally.paid],
  ['failed', ({ tally }) => tally.failed],
  ['reverted on chain, also before they were paid', ({ tally }) => tally.reverted],
  ['held for a person', ({ tally }) => tally.held],
  ['paid twice', ({ tally }) => tally.doublePaid],
  ['lost', ({ tally }) => tally.lost],
  ['difference of ledger and chain', ({ tally }) => tally.difference],
]

const serverFigures: Readonly<Record<string, string>> = {
  'payouts requested': figure.requested,
  paid: figure.paid,
  failed: figure.failed,
  'held for a person': figure.held,
  'paid twice': figure.paidTwice,
  lost: figure.lost,
}

function rowsOf({ chains, servers }: PayoutsSummary): string[][] {
  return chainRows.map(([name, of]) => [
    name,
    ...chains.map((result) => of(result).toLocaleString('en-GB')),
    servers === null ? '' : ofServers(servers, name),
  ])
}

function ofServers({ faults, failures, figures }: PhaseResult, row: string): string {
  if (row === 'deaths of the process') return `${faults}`
  if (row === 'difference of ledger and chain') return failures.length === 0 ? '0' : 'FAILED'
  return String(figures[serverFigures[row] ?? ''] ?? '')
}

const failuresOf = ({ wallets, servers }: PayoutsSummary) => [...wallets.failures, ...(servers?.failures ?? [])]

/** Whether anything was paid twice, lost, or does not add up. */
export const isSound = (summary: PayoutsSummary): boolean =>
  failuresOf(summary).length === 0 &&
  summary.chains.every(({ tally }) => tally.doublePaid + tally.lost === 0 && tally.difference === 0n)

/** Aligned columns for a terminal. */
export function tableOf(summary: PayoutsSummary): string {
  const rows = [heads, ...rowsOf(summary)]
  const widths = heads.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  const aligned = (cell: string, column: number) =>
    column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0)
  return rows.map((row) => row.map(aligned).join('  ').trimEnd()).join('\n')
}

export function footOf({ wallets, servers }: PayoutsSummary): string {
  const minutes = (wallets.seconds + (servers?.seconds ?? 0)) / 60
  return `Seed ${wallets.seed}, commit ${wallets.commit}, ${machine()}, ${minutes.toFixed(0)} minutes`
}

function pageOf(summary: PayoutsSummary, command: string): string {
  const { chains, wallets, servers } = summary
  const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  return [
    '# Chaos campaign of payouts',
    '',
    `Written by \`${command}\` on ${wallets.at.slice(0, 10)}: ${footOf(summary)}.`,
    '',
    row(heads),
    row(heads.map((_, column) => (column === 0 ? '---' : '---:'))),
    ...rowsOf(summary).map(row),
    '',
    '`anvil` and `Solana VM` are real chains on this machine, with real pipelines, signers and ledgers; the journal is in',
    'memory, and a death keeps of it what was durable. `servers` are processes of `comptroller start` with `kill -9`. Held',
    'and failed are payouts to payees that the token refuses for good. What was signed by somebody else with the key is told',
    'as a discrepancy of exactly that amount, and is no difference here. The seed decides what is done when; how the',
    'processes interleave it does not.',
    '',
    ...failuresOf(summary).map((failure) => `- FAILED ${failure}`),
    ...chains.flatMap(chainDetails),
    ...(servers === null ? [] : serverDetails(servers)),
  ].join('\n')
}

function chainDetails({ chain, tally, struck }: ChainResult): string[] {
  const times = [...struck].map(([, count]) => count)
  const never = [...struck].filter(([, count]) => count === 0).map(([point]) => point)
  return [
    `## ${chain === 'evm' ? 'anvil' : 'Solana VM'}`,
    '',
    `The process died at ${times.length - never.length} different points (a call, before or after it, or with its record not`,
    `durable), ${Math.max(...times)} times at the most.${never.length === 0 ? '' : ` Seen and never struck: ${never.join(', ')}.`}`,
    '',
    'Reorgs, and what took the place of our transaction:',
    '',
    ...listOf(tally.reorgs),
    '',
    `By depth: ${[...tally.depths]
      .toSorted()
      .map(([depth, count]) => `${depth} (${count})`)
      .join(', ')}.`,
    '',
    'What else befell it:',
    '',
    ...listOf(tally.hazards),
    '',
    'Why rounds of the pipeline ended early, the deaths apart:',
    '',
    ...listOf(tally.failures),
    '',
  ]
}

const listOf = (counts: Counts) =>
  [...counts]
    .toSorted(([, a], [, b]) => b - a)
    .map(([name, count]) => `- ${name.replace(/^(evm|solana): /, '')}: ${count}`)

const serverDetails = ({ answered, retried, figures }: PhaseResult) => [
  '## Servers',
  '',
  `- scans answered: ${answered.toLocaleString('en-GB')}, of these sent again after a death: ${retried}`,
  ...Object.entries(figures).map(([name, value]) => `- ${name}: ${value}`),
  '',
]

/** Writes the page into a folder. */
export async function write(summary: PayoutsSummary, folder: string, command: string): Promise<void> {
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, PAGE), pageOf(summary, command))
}

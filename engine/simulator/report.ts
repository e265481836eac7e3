/** The summary of a campaign, as a page of docs/measured. */
import { cpus } from 'node:os'
import type { Campaign } from './campaign.js'
import { catalogue } from './catalogue.js'

export interface Circumstances {
  readonly first: number
  readonly threads: number
  readonly seconds: number
  readonly commit: string
}

export function summaryLine({ runs, events, records }: Campaign, { first, threads, seconds, commit }: Circumstances) {
  const pace = (runs / seconds).toFixed(1)
  return (
    `${count(runs)} seeds from ${first} on, ${count(events)} events, ${count(records)} records, ` +
    `${threads} threads, ${Math.round(seconds)} s, ${pace} seeds/s, commit ${commit}`
  )
}

export function pageOf(campaign: Campaign, circumstances: Circumstances): string {
  const marks = [...campaign.marks].sort(([a], [b]) => (a < b ? -1 : 1))
  const injected = marks.filter(([mark]) => mark.startsWith(FAULT))
  const reached = marks.filter(([mark]) => !mark.startsWith(FAULT))
  const verdict =
    campaign.failures.length === 0
      ? `All ${Object.keys(catalogue).length} checks held in every run.`
      : campaign.failures.map(({ seed, what }) => `- seed ${seed}: ${what.split('\n')[0]}`).join('\n')
  return [
    '# Simulator',
    '',
    '`npm run simulate -- --seeds 10000` wrote this page.',
    '',
    `${summaryLine(campaign, circumstances)}, ${cpus()[0]?.model ?? 'unknown CPU'}.`,
    '',
    verdict,
    '',
    tableOf('fault', injected, FAULT),
    '',
    tableOf('reached', reached, ''),
    '',
  ].join('\n')
}

const FAULT = 'fault: '
const count = (value: number) => value.toLocaleString('en-GB')

function tableOf(what: string, marks: readonly (readonly [string, number])[], prefix: string): string {
  const rows = marks.map(([mark, times]) => `| ${mark.slice(prefix.length)} | ${count(times)} |`)
  return [`| ${what} | times |`, '|---|---:|', ...rows].join('\n')
}

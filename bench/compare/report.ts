/** A whole run as Markdown (which a terminal shows well enough), with its plots beside it, and as one HTML page. */
import type { Section, Table } from './section.js'
import { formatFigure } from './statistics.js'
import { escaped, svgOf } from './svg.js'
import type { Target } from './targets.js'

export interface Report {
  readonly at: string
  readonly machine: string
  readonly commit: string
  /** How it was called. */
  readonly command: string
  readonly seconds: number
  readonly sections: readonly Section[]
  readonly targets: readonly Target[]
}

type Cells = readonly string[]

const notMeasuredOf = ({ sections }: Report) => sections.flatMap(({ notMeasured }) => notMeasured)

function verdictOf({ ok, note = '' }: Target): string {
  if (ok === null) return note
  return [ok ? 'met' : '**missed**', note].filter(Boolean).join(', ')
}

function targetTable(targets: readonly Target[]): Table {
  const rows = targets.map((each) => [
    each.name,
    each.target,
    each.measured === null ? '–' : formatFigure(each.measured),
    verdictOf(each),
  ])
  return { caption: '', head: ['what', 'target', 'measured', ''], rows }
}

const introOf = ({ at, machine, commit, command, seconds }: Report) =>
  `Written by \`${command}\` on ${at.slice(0, 10)} at commit \`${commit}\`, in ${formatFigure(seconds / 60)} minutes, on this machine: ${machine}. ` +
  'Servers, their Postgres and Redis, and the load generators share it.'

/** Columns line up on a terminal too. */
function markdownTable({ head, rows }: Table): string {
  const widths = head.map((_, column) => Math.max(3, ...[head, ...rows].map((cells) => (cells[column] ?? '').length)))
  const line = (cells: Cells) => `| ${widths.map((width, column) => (cells[column] ?? '').padEnd(width)).join(' | ')} |`
  const rule = `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`
  return [line(head), rule, ...rows.map(line)].join('\n')
}

function markdownSection({ title, paragraphs, tables, plots }: Section, hasPlots: boolean): string[] {
  const captioned = (table: Table) => `**${table.caption}**\n\n${markdownTable(table)}`
  const images = hasPlots ? plots.map(({ title: alt, file }) => `![${alt}](bench-${file}.svg)`) : []
  return [`## ${title}`, ...paragraphs, ...tables.map(captioned), ...images]
}

/** `hasPlots`: files that {@link plotFiles} names lie beside it. */
export function markdownOf(report: Report, hasPlots: boolean): string {
  const blocks = [
    '# Benchmark',
    introOf(report),
    '## Targets',
    markdownTable(targetTable(report.targets)),
    ...report.sections.flatMap((section) => markdownSection(section, hasPlots)),
    '## Not measured',
    notMeasuredOf(report)
      .map((what) => `- ${what}`)
      .join('\n'),
  ]
  return `${blocks.join('\n\n')}\n`
}

/** File names and contents. */
export function plotFiles({ sections }: Report): (readonly [name: string, svg: string])[] {
  return sections.flatMap(({ plots }) => plots.map((plot) => [`bench-${plot.file}.svg`, svgOf(plot)] as const))
}

/** The little of Markdown that sections use. */
function inline(text: string): string {
  return escaped(text)
    .replaceAll(/`([^`]+)`/g, '<code>$1</code>')
    .replaceAll(/\*\*([^*]+)\*\*/g, '<strong>$1</strong>')
}

function htmlTable({ caption, head, rows }: Table): string {
  const cells = (of: Cells, tag: 'td' | 'th') => of.map((cell) => `<${tag}>${inline(cell)}</${tag}>`).join('')
  const body = rows.map((row) => `<tr>${cells(row, 'td')}</tr>`).join('')
  return (
    `<div class="wide"><table>${caption === '' ? '' : `<caption>${inline(caption)}</caption>`}` +
    `<thead><tr>${cells(head, 'th')}</tr></thead><tbody>${body}</tbody></table></div>`
  )
}

const pageStyle = `:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:1100px;margin:2rem auto;padding:0 1rem;color:light-dark(#1f2328,#e6edf3);background:light-dark(#fff,#0d1117)}
.wide{overflow-x:auto}
table{border-collapse:collapse;margin:1rem 0;font-size:14px;font-variant-numeric:tabular-nums}
caption{text-align:left;font-weight:600;padding:.3rem 0}
th,td{border-bottom:1px solid light-dark(#d1d9e0,#3d444d);padding:.3rem .7rem .3rem 0;text-align:left;vertical-align:top}
svg.bench{max-width:760px;width:100%;display:block;margin:1rem 0}`

/** One page that needs no network. */
export function htmlOf(report: Report): string {
  const section = ({ title, paragraphs, tables, plots }: Section) =>
    `<h2>${inline(title)}</h2>${paragraphs.map((text) => `<p>${inline(text)}</p>`).join('')}` +
    `${plots.map(svgOf).join('')}${tables.map(htmlTable).join('')}`
  const notMeasured = notMeasuredOf(report).map((what) => `<li>${inline(what)}</li>`)
  return (
    '<!doctype html><html lang="en"><head><meta charset="utf-8">' +
    '<meta name="viewport" content="width=device-width, initial-scale=1">' +
    `<title>Comptroller: benchmark</title><style>${pageStyle}</style></head><body>` +
    `<h1>Benchmark</h1><p>${inline(introOf(report))}</p><h2>Targets</h2>${htmlTable(targetTable(report.targets))}` +
    `${report.sections.map(section).join('')}<h2>Not measured</h2><ul>${notMeasured.join('')}</ul></body></html>\n`
  )
}

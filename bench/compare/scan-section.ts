/** The figures of scans as tables, plots and goals. */
import { type ContenderName, names, titles } from './contenders.js'
import type { Results } from './rounds.js'
import { processNames, type RunFigures } from './run.js'
import {
  BURST_CONNECTIONS,
  DECISION_SHARE,
  DURABLE_SHARE,
  OPEN_CONNECTIONS,
  SUSTAINED_CONNECTIONS,
} from './scan-plan.js'
import { oursAt, type ScanResults } from './scan-results.js'
import type { BarPlot, LinePlot, Section, Table } from './section.js'
import { formatFigure, formatSpread, ratiosOf, spreadOf } from './statistics.js'
import type { GoalName } from './targets.js'

/** Above this the machine was not quiet enough for figures that stand by themselves. */
const OTHERS_CORES_MAX = 0.3
const LIMIT = ', **the limit**'

type Pick1 = (run: RunFigures) => number
const rate: Pick1 = ({ perSecond }) => perSecond
const drained: Pick1 = ({ drainedPerSecond }) => drainedPerSecond
const p99: Pick1 = ({ p99Ms }) => p99Ms

const valuesOf = (results: Results, name: ContenderName, of: Pick1) => (results[name] ?? []).map(of)
const shown = (runs: readonly RunFigures[], of: Pick1) => formatSpread(spreadOf(runs.map(of)))
const ratioOf = (results: Results, other: ContenderName, of: Pick1) =>
  ratiosOf(valuesOf(results, 'ours', of), valuesOf(results, other, of))

function loadTable(caption: string, results: Results, of: Pick1): Table {
  const rows = names.flatMap((name) => {
    const runs = results[name]
    if (runs === undefined) return []
    const isLimit = runs.filter(({ generatorIsLimit }) => generatorIsLimit).length * 2 > runs.length
    const cpu = processNames.map((process) =>
      formatFigure(spreadOf(runs.map((run) => run.cpuMicros[process] ?? Number.NaN)).median),
    )
    const pause = Math.max(...runs.map(({ longestPauseMs }) => longestPauseMs ?? 0))
    return [
      [
        titles[name],
        shown(runs, of),
        shown(runs, ({ p50Ms }) => p50Ms),
        shown(runs, p99),
        cpu.join(', '),
        `${formatFigure(spreadOf(runs.map(({ generatorBusy }) => generatorBusy * 100)).median)} %${isLimit ? LIMIT : ''}`,
        formatFigure(spreadOf(runs.map(({ othersCores }) => othersCores)).median),
        formatFigure(pause),
        String(runs.reduce((sum, { failed }) => sum + failed, 0)),
      ],
    ]
  })
  const head = [
    'server',
    'requests/s',
    'p50, ms',
    'p99, ms',
    `CPU a request, µs: ${processNames.join(', ')}`,
    'generator busy',
    'other programs, cores',
    'longest GC pause, ms',
    'not answered 200',
  ]
  return { caption, head, rows }
}

function ratioTable({ bursts, sustained }: ScanResults): Table {
  const rows: string[][] = []
  const add = (what: string, results: Results, of: Pick1, others: readonly ContenderName[]) => {
    for (const other of others) {
      if (results[other] === undefined) continue
      const [requests, latency] = [ratioOf(results, other, of), ratioOf(results, other, p99)].map(spreadOf)
      if (requests && latency) rows.push([`${what} / ${titles[other]}`, formatSpread(requests), formatSpread(latency)])
    }
  }
  for (const connections of BURST_CONNECTIONS) {
    add(`burst, ${connections} connections`, bursts[connections] ?? {}, rate, ['transaction', 'statement', 'ceiling'])
  }
  add('sustained, drain counted', sustained, drained, ['transaction'])
  return { caption: 'Comptroller against the others, round by round', head: ['', 'requests/s', 'p99'], rows }
}

function openTable({ open, disk }: ScanResults): Table {
  const latencies = [disk.p50Ms, disk.p99Ms, disk.p999Ms].map(formatFigure)
  const floor = ['the disk alone, idle: append and sync', '–', '–', ...latencies, '–']
  const rows = open.map(({ name, share, ratePerSecond, results }) => {
    const runs = results[name] ?? []
    const decisions = runs.flatMap(({ decision }) => (decision === null ? [] : [decision]))
    return [
      titles[name],
      `${formatFigure(ratePerSecond)} (${formatFigure(share * 100)} %)`,
      shown(runs, rate),
      shown(runs, ({ p50Ms }) => p50Ms),
      shown(runs, p99),
      shown(runs, ({ p999Ms }) => p999Ms),
      decisions.length === 0
        ? '–'
        : (['p50', 'p99', 'p999'] as const)
            .map((at) => formatFigure(spreadOf(decisions.map((decision) => decision[at])).median))
            .join(', '),
    ]
  })
  const head = [
    'server',
    'due/s (of saturation)',
    'answered/s',
    'p50, ms',
    'p99, ms',
    'p99.9, ms',
    'decision p50, p99, p99.9, µs',
  ]
  return {
    caption: `Open loop, ${OPEN_CONNECTIONS} connections: latency from the moment a request was due`,
    head,
    rows: [...rows, floor],
  }
}

function watchedTable({ watched: { plan, results, deliveriesPerScan } }: ScanResults): Table {
  const rows = names.flatMap((name) => {
    const runs = results[name]
    if (runs === undefined) return []
    const micros = runs.map(({ cpuMicros }) => cpuMicros.server ?? Number.NaN)
    const told = formatFigure(deliveriesPerScan[name] ?? Number.NaN)
    return [[titles[name], formatSpread(spreadOf(micros)), told, shown(runs, p99)]]
  })
  return {
    caption: `${formatFigure(plan.scansPerSecond)} scans a second while ${formatFigure(plan.viewers)} sockets watch the counter and the feed`,
    head: ['server', 'server CPU a scan, µs', 'events told a scan', 'answer p99, ms'],
    rows,
  }
}

function burstPlot(bursts: ScanResults['bursts'], connections: number): BarPlot {
  const results = bursts[connections] ?? {}
  const bars = names.flatMap((name) => {
    if (results[name] === undefined) return []
    const { median, min, max } = spreadOf(valuesOf(results, name, rate))
    return [{ name: titles[name], value: median, min, max }]
  })
  return {
    kind: 'bars',
    file: `burst-${connections}`,
    title: `Scans in a burst, ${connections} connections`,
    unit: 'requests/s',
    bars,
  }
}

function latencyPlot({ open }: ScanResults): LinePlot {
  const lines = names.flatMap((name) => {
    const points = open
      .filter((each) => each.name === name)
      .map(({ ratePerSecond, results }) => [ratePerSecond, spreadOf(valuesOf(results, name, p99)).median] as const)
    return points.length === 0 ? [] : [{ name: titles[name], points }]
  })
  return {
    kind: 'lines',
    file: 'open-loop-p99',
    title: 'Answer p99 at fixed rates',
    xTitle: 'requests due a second',
    yTitle: 'p99, ms',
    isLogarithmic: true,
    lines,
  }
}

function goalsOf(results: ScanResults): Partial<Record<GoalName, number>> {
  const { bursts, sustained } = results
  const burst = bursts[SUSTAINED_CONNECTIONS] ?? {}
  const median = (values: readonly number[]) => spreadOf(values).median
  const decisions = oursAt(results, DECISION_SHARE).flatMap(({ decision }) => (decision === null ? [] : [decision]))
  const opened = results.open.map((each) => each.results)
  const all = [...Object.values(bursts), sustained, ...opened, results.watched.results]
  const pauses = all.flatMap(({ ours = [] }) => ours.map(({ longestPauseMs }) => longestPauseMs ?? 0))
  return {
    sustainedRatio: median(ratioOf(sustained, 'transaction', drained)),
    burstRatio: median(ratioOf(burst, 'transaction', rate)),
    sustainedP99Ratio: median(ratioOf(sustained, 'transaction', p99)),
    burstP99Ratio: median(ratioOf(burst, 'transaction', p99)),
    ceilingRatio: median(ratioOf(burst, 'ceiling', rate)),
    decisionP99Micros: median(decisions.map((decision) => decision.p99)),
    decisionP999Micros: median(decisions.map((decision) => decision.p999)),
    durableP99Ms: median(oursAt(results, DURABLE_SHARE).map(p99)),
    longestPauseMs: Math.max(...pauses),
  }
}

/** What would flatter, if it were not said. */
function notesOf({ bursts, sustained, disk }: ScanResults): Section['goalNotes'] {
  const isLimited = (runs: readonly RunFigures[] = []) => runs.some(({ generatorIsLimit }) => generatorIsLimit)
  const others = [...Object.values(bursts), sustained].flatMap(({ ours = [] }) => ours.map((run) => run.othersCores))
  const busy = spreadOf(others).median
  const limit = 'the load generator was the limit of the ceiling: it can do more'
  const disturbed = `other programs used ${formatFigure(busy)} cores meanwhile`
  return {
    ...(isLimited(bursts[SUSTAINED_CONNECTIONS]?.ceiling) ? { ceilingRatio: limit } : {}),
    durableP99Ms: `the disk alone needs ${formatFigure(disk.p99Ms)} ms, with nothing else running`,
    ...(busy > OTHERS_CORES_MAX
      ? {
          decisionP99Micros: disturbed,
          decisionP999Micros: disturbed,
          durableP99Ms: disturbed,
          longestPauseMs: disturbed,
        }
      : {}),
  }
}

export function scanSection(results: ScanResults): Section {
  const { plan, bursts, sustained } = results
  const { rounds, burstMs, sustainedMs, openMs } = plan
  const seconds = (ms: number) => formatFigure(ms / 1_000)
  const limited = Object.values(bursts).some((burst) =>
    Object.values(burst).some((runs) => runs.some(({ generatorIsLimit }) => generatorIsLimit)),
  )
  return {
    title: 'Scans',
    paragraphs: [
      `Each figure is the median of ${rounds} run${rounds === 1 ? '' : 's'}, one server after the other${rounds === 1 ? '' : ', with the least and the most'}. All ` +
        'servers have the same codes, members, tokens, Postgres settings (synchronous commit) and load; every answer of ' +
        'Comptroller and of the conventional stack is durable. Ratios are taken round by round.',
      'The load generator is one Node process on raw keep-alive connections, on the same machine. Where it is the limit ' +
        `(busy for more than 90 % of the time) the table says so: that server can do more.${limited ? '' : ' Here it was not.'}`,
      'The conventional stack numbers scans by an identity column, checks neither session nor travel, and has no foreign ' +
        'keys: it is spared work that Comptroller does. Its Postgres has the priority of its server, where root runs this; that ' +
        'of Comptroller a lower one, as always. Saturation is the best median of a burst.',
    ],
    tables: [
      ...BURST_CONNECTIONS.map((connections) =>
        loadTable(`Burst of ${seconds(burstMs)} s, ${connections} connections`, bursts[connections] ?? {}, rate),
      ),
      loadTable(
        `Sustained for ${seconds(sustainedMs)} s, ${SUSTAINED_CONNECTIONS} connections, the drain of write-behind counted`,
        sustained,
        drained,
      ),
      ratioTable(results),
      watchedTable(results),
      { ...openTable(results), caption: `${openTable(results).caption}, ${seconds(openMs)} s` },
    ],
    plots: [...BURST_CONNECTIONS.map((connections) => burstPlot(bursts, connections)), latencyPlot(results)],
    notMeasured: [
      'TLS, a network, the sync of another disk: everything runs on this machine and shares its cores',
      'the first check of a token and the first load of a member (done before), idempotency keys',
      'the conventional stack in several processes, and sustained in one statement (nothing is written behind there)',
    ],
    goals: goalsOf(results),
    goalNotes: notesOf(results),
    targets: [],
    figures: results,
  }
}

/** The figures of the chat benchmark, their targets, and the page that shows both. */
import { execFileSync } from 'node:child_process'
import { percentile } from '../payouts/report.js'
import { type Delivery, type Rounds, STORM_MESSAGES_PER_SECOND, STORM_SLOW_EVERY } from './phases.js'
import type { Measured, Storm } from './rig.js'

export interface Results {
  readonly at: string
  readonly machine: string
  readonly options: {
    readonly sockets: number
    readonly rounds: number
    readonly seconds: number
    readonly deliverySeconds: number
  }
  readonly generators: number
  /** By server. */
  readonly bytesPerSocket: Readonly<Record<string, number>>
  readonly fanOuts: readonly Rounds[]
  readonly deliveries: readonly Delivery[]
  readonly storms: readonly Storm[]
  /** Null when they were not measured. */
  readonly gateways: Gateways | null
  /** Parts that ended early, and why. */
  readonly failures: readonly string[]
}

export interface Gateways {
  readonly count: number
  readonly bytesPerSocket: number
  readonly deliveries: readonly Delivery[]
}

const OURS = 'ours'
const RAW = 'raw uWS'
const PLAIN = 'Socket.IO on ws'
/** Above this share of its one thread a generator may be what limits deliveries a second. */
const GENERATOR_BUSY_MAX = 0.9

interface Target {
  readonly says: string
  readonly value: number
  readonly isMet: boolean
}

const whole = (value: number) => Math.round(value).toLocaleString('en-US')
const two = (value: number) => value.toFixed(2)
const one = (value: number) => value.toFixed(1)
const median = (values: readonly number[]) => percentile(values, 50)

/** The median, and in brackets the least and the most. */
function spread(values: readonly number[], format: (value: number) => string): string {
  if (values.length < 2) return format(median(values))
  return `${format(median(values))} (${format(Math.min(...values))} to ${format(Math.max(...values))})`
}

const ratesOf = ({ rounds }: Rounds) => rounds.map(({ deliveriesPerSecond }) => deliveriesPerSecond)
const costsOf = ({ rounds }: Rounds) => rounds.map(({ serverMicrosPerDelivery }) => serverMicrosPerDelivery)
const isLimiting = ({ generatorUtilisation }: Measured) => generatorUtilisation > GENERATOR_BUSY_MAX

/** Round by round against another server: how many times the deliveries a second, and for a second of the server's CPU. */
function ratios(ours: Rounds, other: Rounds) {
  const by = (of: (rounds: Rounds) => readonly number[]) =>
    of(ours).map((value, index) => value / (of(other)[index] ?? Number.NaN))
  return { rate: by(ratesOf), perCpu: by(costsOf).map((cost) => 1 / cost) }
}

function pairsOf(rounds: readonly Rounds[], server: string): { ours: Rounds; other: Rounds }[] {
  return rounds.flatMap((ours) => {
    const other = rounds.find((each) => each.server === server && each.subscribers === ours.subscribers)
    return ours.server === OURS && other !== undefined ? [{ ours, other }] : []
  })
}

/** While generators are the limit deliveries a second say nothing of the server; its CPU does at all times. */
function fanOutTarget({ ours, other }: { ours: Rounds; other: Rounds }, atLeast: number): Target {
  const value = median(ratios(ours, other).perCpu)
  const says = `deliveries for a second of server CPU, ${whole(ours.subscribers)} subscribers: at least ${atLeast} of ${other.server}`
  return { says, value, isMet: value >= atLeast }
}

const undetected = ({ findings }: Storm) => findings.holes
const wrong = ({ findings }: Storm) => findings.holes + findings.gaps + findings.twice

export function targetsOf({ fanOuts, deliveries, storms }: Results): Target[] {
  const targets = [
    ...pairsOf(fanOuts, RAW).map((pair) => fanOutTarget(pair, 0.75)),
    ...pairsOf(fanOuts, PLAIN).map((pair) => fanOutTarget(pair, 2)),
  ]
  for (const { server, perSecond, rounds } of deliveries) {
    const p99 = median(rounds.map(({ fromTaken }) => fromTaken.p99Ms))
    const says = `delivery p99 from the server’s stamp, ${perSecond} messages a second: under 100 ms`
    if (server === OURS) targets.push({ says, value: p99, isMet: p99 < 100 })
  }
  if (storms.length > 0) {
    const seconds = Math.max(...storms.map((storm) => storm.seconds))
    const gaps = storms.reduce((sum, storm) => sum + undetected(storm), 0)
    targets.push({ says: 'longest storm: under 30 s', value: seconds, isMet: seconds < 30 })
    targets.push({ says: 'undetected gaps: none', value: gaps, isMet: gaps === 0 })
  }
  return targets
}

/** The targets that are missed, in a sentence each. */
export function missedTargets(results: Results): string[] {
  return targetsOf(results).flatMap(({ says, value, isMet }) => (isMet ? [] : [`${says}; it is ${two(value)}`]))
}

type Cells = readonly string[]

/** A table of Markdown whose columns line up on a terminal too. */
function table(rows: readonly [Cells, ...Cells[]]): string[] {
  const [head] = rows
  const widths = head.map((_, column) => Math.max(...rows.map((cells) => (cells[column] ?? '').length)))
  const line = (cells: Cells) =>
    `| ${cells.map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0))).join(' | ')} |`
  const rule = `| ${widths.map((width, column) => (column === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`)).join(' | ')} |`
  return [line(head), rule, ...rows.slice(1).map(line), '']
}

function fanOutTable(fanOuts: readonly Rounds[]): string[] {
  const head = [
    'subscribers, server',
    'deliveries/s',
    'server CPU, µs each',
    'server cores',
    'generator busy',
    'all cores',
  ]
  const rows = fanOuts.map((each): Cells => {
    const { rounds, subscribers, server } = each
    const of = (name: 'serverCores' | 'generatorUtilisation' | 'busyCores') =>
      median(rounds.map((round) => round[name]))
    const isLimit = rounds.filter(isLimiting).length * 2 > rounds.length
    return [
      `${whole(subscribers)}, ${server}`,
      spread(ratesOf(each), whole),
      spread(costsOf(each), two),
      two(of('serverCores')),
      `${whole(of('generatorUtilisation') * 100)} %${isLimit ? ', the limit' : ''}`,
      two(of('busyCores')),
    ]
  })
  return table([head, ...rows])
}

function ratioTable(fanOuts: readonly Rounds[]): string[] {
  const rows = [...pairsOf(fanOuts, RAW), ...pairsOf(fanOuts, PLAIN)].map(({ ours, other }): Cells => {
    const { rate, perCpu } = ratios(ours, other)
    const atLeast = other.server === RAW ? 0.75 : 2
    const verdict = median(perCpu) >= atLeast ? 'met' : '**missed**'
    return [
      `${whole(ours.subscribers)}, ours / ${other.server}`,
      spread(perCpu, two),
      spread(rate, two),
      `${atLeast}: ${verdict}`,
    ]
  })
  return table([['ratio, round by round', 'deliveries for a second of server CPU', 'deliveries/s', 'target'], ...rows])
}

function deliveryTable(deliveries: readonly Delivery[]): string[] {
  const head = [
    'messages, server',
    'p50, ms',
    'p99, ms',
    'p99 since due, ms',
    'deliveries/s',
    'server cores',
    'generator: cores, busy',
    'all cores',
  ]
  const rows = deliveries.map((each): Cells => {
    const { rounds, server, perSecond } = each
    const of = (value: (round: Measured) => number) => rounds.map(value)
    const generator = [
      two(median(of(({ generatorCores }) => generatorCores))),
      `${whole(median(of(({ generatorUtilisation }) => generatorUtilisation)) * 100)} %`,
    ]
    return [
      `${perSecond}/s, ${server}`,
      spread(
        of(({ fromTaken }) => fromTaken.p50Ms),
        one,
      ),
      spread(
        of(({ fromTaken }) => fromTaken.p99Ms),
        one,
      ),
      spread(
        of(({ fromDue }) => fromDue.p99Ms),
        one,
      ),
      whole(median(ratesOf(each))),
      two(median(of(({ serverCores }) => serverCores))),
      generator.join(', '),
      two(median(of(({ busyCores }) => busyCores))),
    ]
  })
  return table([head, ...rows])
}

function stormTable(storms: readonly Storm[]): string[] {
  const rows = storms.map(({ seconds, serverCores, generatorCores, busyCores, findings }, index): Cells => {
    const { gaps, holes, twice, resyncs, ended } = findings
    const again = Object.values(ended).reduce((sum, count) => sum + count, 0)
    const cores = [serverCores, generatorCores, busyCores].map(two).join(', ')
    return [String(index + 1), one(seconds), ...[holes, gaps, twice, resyncs, again].map(whole), cores]
  })
  const head = [
    'storm',
    'seconds until all were back',
    'undetected gaps',
    'detected gaps',
    'told twice',
    'resyncs',
    'tried again',
    'cores: server, generator, all',
  ]
  return table([head, ...rows])
}

function commit(): string {
  try {
    return execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim()
  } catch {
    return 'unknown'
  }
}

/** The whole page. */
export function reportOf(results: Results): string {
  const { at, machine, options, generators, fanOuts, deliveries, storms, bytesPerSocket, gateways, failures } = results
  const { rounds, sockets } = options
  const bytes = [...fanOuts, ...deliveries].flatMap((each) =>
    each.rounds.map(({ bytesPerDelivery }) => bytesPerDelivery),
  )
  return [
    '# Chat: fan-out, delivery, storms',
    '',
    `Written by \`npm run bench:chat\` on ${at.slice(0, 10)} at commit \`${commit()}\`, ${machine}. Servers, subscribers`,
    `(${generators} process${generators === 1 ? '' : 'es'} for each server, raw WebSockets on loopback) and Postgres share the machine; "all cores" is what`,
    `everything on it used. Medians of ${rounds} interleaved rounds, with the least and the most.${bytes.length === 0 ? '' : ` An event has ${whole(median(bytes))} bytes.`}`,
    '',
    ...(fanOuts.length === 0 ? [] : fanOutPage(results)),
    ...(deliveries.length === 0 ? [] : deliveryPage(results)),
    '## Memory',
    '',
    `Resident memory of the server for each of the last two thirds of ${whole(sockets)} sockets that are connected, in the room and`,
    'idle, what waits for the garbage collector included; for ours with the member, the session and the place in the chat',
    'behind each, since each socket has a member of its own:',
    '',
    ...table([
      ['server', 'bytes a socket'],
      ...Object.entries(bytesPerSocket).map(([server, value]): Cells => [server, whole(value)]),
    ]),
    ...(storms.length === 0 ? [] : stormPage(results)),
    ...(gateways === null ? [] : gatewaysPage(gateways, results)),
    ...(failures.length === 0 ? [] : ['## Ended early', '', ...failures.map((failure) => `- ${failure}`), '']),
    '## Not measured',
    '',
    `TLS; a network; polling clients; browsers; ${gateways === null ? 'several gateway processes over Redis' : 'a storm over several gateways'}. Ours decides, journals and syncs every message and`,
    'writes it to Postgres; the other two only pass it on.',
    '',
  ].join('\n')
}

function fanOutPage({ fanOuts, options }: Results): string[] {
  return [
    '## Fan-out',
    '',
    `Messages of a member without cooldown to one room, as fast as they are delivered, two under way; ${options.seconds} s a round, after`,
    `messages to a few for warming up. All ${whole(options.sockets)} sockets are connected, those that do not subscribe too. Raw uWS`,
    'publishes, and Socket.IO on ws emits, the same event. CPU is `process.cpuUsage` of the server. Where a generator is',
    'busy for more than 90 % of the time it may be the limit: deliveries a second are a lower bound there, and only the',
    'CPU of the server tells the servers apart.',
    '',
    ...fanOutTable(fanOuts),
    ...ratioTable(fanOuts),
  ]
}

function deliveryPage({ deliveries, options }: Results): string[] {
  const ours = deliveries.filter(({ server }) => server === OURS).flatMap(({ rounds }) => rounds)
  const ended = ours.flatMap(({ findings }) => Object.values(findings.ended)).reduce((sum, count) => sum + count, 0)
  return [
    '## Delivery',
    '',
    `A steady pace of messages to ${whole(options.sockets)} sockets in one room of one process, ${options.deliverySeconds} s a round. From the server’s`,
    'time stamp (in whole milliseconds) to the read by the subscriber, one clock; "since due" also counts what a message',
    'waited before it was stamped. Raw uWS under the same load shows how much of it is kernel, machine and generator.',
    `Target at each pace: p99 under 100 ms. Sockets of ours that were closed meanwhile: ${ended}.`,
    '',
    ...deliveryTable(deliveries),
  ]
}

function stormPage({ storms, options }: Results): string[] {
  return [
    '## Reconnect storm',
    '',
    `All ${whole(options.sockets)} connections drop at once and come back with their positions, while ${STORM_MESSAGES_PER_SECOND} messages a second are said; one in`,
    `${STORM_SLOW_EVERY} reads only every half second. A generator has up to 1,000 of them under way at once. Every client checks every`,
    'offset, and every answer to `join` against its position.',
    `Targets: under 30 s, no undetected gap. Messages that were missed, told twice or left out: ${storms.reduce((sum, storm) => sum + wrong(storm), 0)}.`,
    '',
    ...stormTable(storms),
  ]
}

function gatewaysPage({ count, bytesPerSocket, deliveries }: Gateways, { options, fanOuts }: Results): string[] {
  const sockets = count * options.sockets
  const best = Math.max(0, ...fanOuts.filter(({ server }) => server === RAW).flatMap(ratesOf))
  const wanted = `20 messages a second would be ${whole(20 * sockets)} deliveries a second`
  return [
    '## Several gateways',
    '',
    `${whole(sockets)} sockets over ${count} gateway processes that Redis joins to one engine, all on this machine with as many`,
    `generators. ${whole(bytesPerSocket)} bytes of a gateway's memory for each idle socket in the room. ${wanted};`,
    best > 0
      ? `the best round of raw uWS in one process had ${whole(best)} here. The cores are those of the gateways:`
      : 'the cores are those of the gateways:',
    '',
    ...deliveryTable(deliveries),
  ]
}

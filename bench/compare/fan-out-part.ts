/** Part 2: one room of the chat and many sockets, by the phases of bench:chat: ours, raw uWebSockets.js, plain Socket.IO. */
import { fileURLToPath } from 'node:url'
import { Helper } from '../chat/calls.js'
import type { Told } from '../chat/connection.js'
import { seedMembers, startOurs } from '../chat/our-server.js'
import { fanOut, type Rounds } from '../chat/phases.js'
import type { ReferenceCalls } from '../chat/reference.js'
import { Rig } from '../chat/rig.js'
import { sampleEvent } from '../chat/talkers.js'
import { usageOf } from '../chat/usage.js'
import type { BarPlot, Section, Table } from './section.js'
import { formatFigure, formatSpread, ratiosOf, spreadOf } from './statistics.js'
import type { Target } from './targets.js'

/** Each may send 20 messages a second. */
const TALKERS = 64
/** Nothing is said in it but what the benchmark says. */
const CHANNEL = 'crypto'
const [OURS, RAW, PLAIN] = ['Comptroller', 'raw uWS', 'Socket.IO on ws']
const GENERATOR_BUSY_MAX = 0.9
/** Deliveries for a second of server CPU, against each. */
const atLeast: Readonly<Record<string, number>> = { [RAW]: 0.75, [PLAIN]: 2 }

export interface FanOutPlan {
  readonly subscribers: number
  readonly rounds: number
  readonly ms: number
}

export const fanOutPlans = {
  whole: { subscribers: 2_000, rounds: 5, ms: 2_000 },
  // Fewer would be told more messages a second than the members who write may send.
  quick: { subscribers: 1_000, rounds: 1, ms: 2_000 },
} as const satisfies Record<string, FanOutPlan>

export async function fanOutPart(folder: string, plan: FanOutPlan): Promise<Section> {
  await seedMembers(folder, TALKERS + plan.subscribers)
  const stops: (() => Promise<unknown>)[] = []
  try {
    const rigs = await openRigs(folder, plan.subscribers, stops)
    return sectionOf(plan, await fanOut(rigs, plan.subscribers, plan.rounds, plan.ms))
  } finally {
    for (const stop of stops.toReversed()) await stop()
  }
}

async function openRigs(folder: string, subscribers: number, stops: (() => Promise<unknown>)[]): Promise<Rig[]> {
  const ours = await startOurs(folder, { talkers: TALKERS, listeners: subscribers }, [])
  stops.push(() => ours.process.stop())
  const { url } = ours.process
  const [writer = '', reader = ''] = ours.talkers
  const sample = await sampleEvent(url, CHANNEL, [writer, reader])
  const all = { channel: CHANNEL, talkers: ours.talkers, listeners: [ours.listeners] }
  const rigs = [
    new Rig({ ...all, name: OURS, urls: [url], usage: () => usageOf(url) }),
    new Rig({ ...all, name: RAW, ...(await reference('raw-server.js', sample, stops)) }),
    new Rig({ ...all, name: PLAIN, ...(await reference('plain-server.js', sample, stops)) }),
  ]
  for (const rig of rigs) {
    stops.push(() => rig.close())
    await rig.fill()
  }
  return rigs
}

async function reference(file: string, sample: Told, stops: (() => Promise<unknown>)[]) {
  const path = fileURLToPath(new URL(`../chat/${file}`, import.meta.url))
  const server = new Helper<ReferenceCalls>(path, () => {}, ['--max-semi-space-size=64'])
  stops.push(() => server.stop())
  return { urls: [await server.call('listen', { sample })], usage: () => server.call('usage', undefined) }
}

const ratesOf = ({ rounds }: Rounds) => rounds.map(({ deliveriesPerSecond }) => deliveriesPerSecond)
const costsOf = ({ rounds }: Rounds) => rounds.map(({ serverMicrosPerDelivery }) => serverMicrosPerDelivery)

function sectionOf({ subscribers, rounds, ms }: FanOutPlan, measured: readonly Rounds[]): Section {
  const ours = measured.find(({ server }) => server === OURS)
  const servers: Table = {
    caption: `${formatFigure(subscribers)} subscribers of one room, messages as fast as they are delivered, ${formatFigure(ms / 1_000)} s a round`,
    head: ['server', 'deliveries/s', 'server CPU a delivery, µs', 'generator busy'],
    rows: measured.map((each) => {
      const busy = spreadOf(each.rounds.map(({ generatorUtilisation }) => generatorUtilisation)).median
      const limit = busy > GENERATOR_BUSY_MAX ? ', **the limit**' : ''
      return [
        each.server,
        formatSpread(spreadOf(ratesOf(each))),
        formatSpread(spreadOf(costsOf(each))),
        `${formatFigure(busy * 100)} %${limit}`,
      ]
    }),
  }
  const others = measured.filter((each) => each.server !== OURS && ours !== undefined)
  const perCpu = (other: Rounds) => spreadOf(ratiosOf(costsOf(other), ours === undefined ? [] : costsOf(ours)))
  const targets = others.map((other): Target => {
    const { median } = perCpu(other)
    const least = atLeast[other.server] ?? 1
    const name = `chat deliveries for a second of server CPU, against ${other.server}, ${formatFigure(subscribers)} subscribers`
    return { name, target: `at least ${least} times`, measured: median, ok: median >= least }
  })
  const ratios: Table = {
    caption: 'Comptroller against the others, round by round',
    head: ['', 'deliveries for a second of server CPU'],
    rows: others.map((other) => [other.server, formatSpread(perCpu(other))]),
  }
  const plot: BarPlot = {
    kind: 'bars',
    file: 'fan-out',
    title: 'Deliveries for a second of server CPU',
    unit: '',
    bars: measured.map((each) => {
      const { median, min, max } = spreadOf(costsOf(each).map((micros) => 1e6 / micros))
      return { name: each.server, value: median, min, max }
    }),
  }
  return {
    title: 'Fan-out',
    paragraphs: [
      `Medians of ${rounds} round${rounds === 1 ? '' : 's'}, one server after the other. Comptroller decides, journals and syncs every message; the other two ` +
        'only pass the same bytes on. One process holds all subscribers: where it is busy all the time, deliveries a second are ' +
        'a lower bound, and only the CPU of the server tells the servers apart. More of it: `npm run bench:chat`.',
    ],
    tables: [servers, ratios],
    plots: [plot],
    notMeasured: [
      'the counter against raw uWebSockets.js: it is told once a second, whatever is scanned (see scans with viewers)',
      'browsers and polling clients',
    ],
    goals: {},
    goalNotes: {},
    targets,
    figures: measured,
  }
}

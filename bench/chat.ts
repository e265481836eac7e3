/** `npm run bench:chat`: one room and many sockets, ours beside raw uWebSockets.js and beside plain Socket.IO. */
import { mkdir, writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Command, InvalidArgumentError, Option } from 'commander'
import { count } from '../cli/options.js'
import { Helper } from './chat/calls.js'
import type { Told } from './chat/connection.js'
import { startGateways, startRedis, usageOfAll } from './chat/gateways.js'
import { seedMembers, startOurs } from './chat/our-server.js'
import { delivery, fanOut, storms } from './chat/phases.js'
import type { ReferenceCalls } from './chat/reference.js'
import { type Gateways, missedTargets, type Results, reportOf } from './chat/report.js'
import { Rig, type RigOptions } from './chat/rig.js'
import { sampleEvent } from './chat/talkers.js'
import { usageOf } from './chat/usage.js'
import { inTemporaryFolder } from './data-folder.js'
import { machine } from './scan/machine.js'

const RESULTS_FOLDER = join('bench', 'results')
/** Open files of a process are often limited to 20,000. */
const SOCKETS_PER_GENERATOR_MAX = 18_000
/** Each may send 20 messages a second. */
const TALKERS = 64
/** Nothing is said in it but what the benchmark says. */
const CHANNEL = 'crypto'
const OVER_REDIS = 'gateways'
const parts = ['fan-out', 'delivery', 'storm', 'gateways'] as const

interface Options {
  readonly sizes: readonly number[]
  readonly sockets: number
  readonly rounds: number
  readonly seconds: number
  readonly rates: readonly number[]
  readonly deliverySeconds: number
  readonly gateways: number
  readonly gatewayRates: readonly number[]
  readonly generators?: number
  readonly parts: readonly string[]
  readonly targets: boolean
  readonly nodeArg: readonly string[]
  readonly write?: string
}

const options = new Command('bench:chat')
  .description('Fan-out, delivery times and a reconnect storm in one room of the chat. Takes about twelve minutes.')
  .option('--sizes <list>', 'subscribers of the room at which fan-out is compared', counts, [2_000, 10_000])
  .option('--sockets <n>', 'all sockets of the server, for delivery times, memory and the storm', count, 18_000)
  .option('--rounds <n>', 'of each measurement, one server after the other; the tables show medians', count, 3)
  .option('--seconds <n>', 'of a round of fan-out', count, 5)
  .option('--rates <list>', 'messages a second to all sockets at which delivery is timed', counts, [10, 20])
  .option('--delivery-seconds <n>', 'of a round of delivery', count, 8)
  .option('--gateways <n>', 'processes over Redis, each with as many sockets', count, 3)
  .option('--gateway-rates <list>', 'messages a second to all sockets of these', counts, [2])
  .option('--generators <n>', 'processes full of subscribers for each server; one for each core but one', count)
  .option('--parts <list>', `of ${parts.join(', ')}`, someParts, [...parts])
  .option('--no-targets', 'end with 0 even when a target is missed')
  .option('--node-arg <arg>', 'an argument for the Node of our server; may be repeated', collect, [])
  .option('--write <folder>', 'where chat.md goes')
  .addOption(
    new Option('--quick', 'a small run, to see that it works').implies({
      sizes: [300, 1_000],
      sockets: 1_500,
      rates: [20],
      rounds: 2,
      seconds: 2,
      deliverySeconds: 3,
      targets: false,
    }),
  )
  .parse()
  .opts<Options>()

function collect(value: string, before: readonly string[]): readonly string[] {
  return [...before, value]
}

function counts(text: string): number[] {
  return text.split(',').map(count)
}

function someParts(text: string): string[] {
  const named = text.split(',')
  const unknown = named.find((name) => !(parts as readonly string[]).includes(name))
  if (unknown !== undefined) throw new InvalidArgumentError(`There is no part ${unknown}.`)
  return named
}

function divided<Item>(items: readonly Item[], into: number): Item[][] {
  const size = Math.ceil(items.length / into)
  return Array.from({ length: into }, (_, index) => items.slice(index * size, (index + 1) * size))
}

/** What has been started, to be stopped in the opposite order. */
const running: (() => Promise<unknown>)[] = []

async function stopAll(): Promise<void> {
  for (let stop = running.pop(); stop !== undefined; stop = running.pop()) await stop()
}

async function referenceServer(file: string, sample: Told) {
  const server = new Helper<ReferenceCalls>(fileURLToPath(new URL(`chat/${file}`, import.meta.url)), () => {}, [
    '--max-semi-space-size=64',
  ])
  running.push(() => server.stop())
  return { urls: [await server.call('listen', { sample })], usage: () => server.call('usage', undefined) }
}

/** Ours, and those it is compared with where there is something to compare. */
async function openRigs(folder: string, generators: number): Promise<readonly [ours: Rig, raw?: Rig, plain?: Rig]> {
  const { sockets, nodeArg } = options
  const ours = await startOurs(folder, { talkers: TALKERS, listeners: sockets }, nodeArg)
  running.push(() => ours.process.stop())
  const { url } = ours.process
  const [writer = '', reader = ''] = ours.talkers
  // Before there are subscribers, who would take it for one of theirs.
  const sample = await sampleEvent(url, CHANNEL, [writer, reader])
  const all = { channel: CHANNEL, talkers: ours.talkers, listeners: divided(ours.listeners, generators) }
  const rig = await openRig({ ...all, name: 'ours', urls: [url], usage: () => usageOf(url) })
  if (!wants('fan-out') && !wants('delivery')) return [rig]
  const raw = await openRig({ ...all, name: 'raw uWS', ...(await referenceServer('raw-server.js', sample)) })
  const plain = await openRig({
    ...all,
    name: 'Socket.IO on ws',
    ...(await referenceServer('plain-server.js', sample)),
  })
  return [rig, raw, plain]
}

async function openRig(rigOptions: RigOptions): Promise<Rig> {
  const rig = new Rig(rigOptions)
  running.push(() => rig.close())
  await rig.fill()
  return rig
}

const wants = (part: (typeof parts)[number]) => options.parts.includes(part)

/** On one process; each phase is kept when it is over. */
async function measureOne(folder: string, generators: number, save: Save): Promise<void> {
  const [ours, raw, plain] = await openRigs(folder, generators)
  const { rounds, sockets } = options
  const weighed = present(ours, raw, plain).map(({ name, bytesPerSocket }) => [name, bytesPerSocket])
  await save({ bytesPerSocket: Object.fromEntries(weighed) })
  const fanOuts = []
  for (const size of wants('fan-out') ? options.sizes : []) {
    fanOuts.push(...(await fanOut(present(ours, raw, plain), size, rounds, options.seconds * 1_000)))
    await save({ fanOuts })
  }
  await plain?.close()
  const deliveries = []
  for (const rate of wants('delivery') ? options.rates : []) {
    deliveries.push(...(await delivery(present(ours, raw), sockets, rate, rounds, options.deliverySeconds * 1_000)))
    await save({ deliveries })
  }
  await raw?.close()
  if (wants('storm')) await save({ storms: await storms(ours, rounds) })
}

const present = (...rigs: (Rig | undefined)[]): Rig[] => rigs.filter((rig) => rig !== undefined)

/** Over several processes; null where there is no Redis. */
async function measureGateways(folder: string): Promise<Gateways | null> {
  const redis = await startRedis()
  if (redis === null) return null
  running.push(() => redis.kill())
  const { gateways: count, sockets, rounds, deliverySeconds, gatewayRates } = options
  const counts = { talkers: TALKERS, listeners: count * sockets }
  const ours = await startOurs(folder, counts, [], { REDIS_URL: redis.url })
  running.push(() => ours.process.stop())
  const gateways = await startGateways(folder, redis, count)
  running.push(() => Promise.all(gateways.map((gateway) => gateway.stop())))
  const rig = await openRig({
    name: OVER_REDIS,
    urls: gateways.map(({ url }) => url),
    channel: CHANNEL,
    usage: () => usageOfAll(gateways),
    talkers: ours.talkers,
    listeners: divided(ours.listeners, count),
  })
  const deliveries = []
  for (const rate of gatewayRates) {
    deliveries.push(...(await delivery([rig], rig.subscribers, rate, rounds, deliverySeconds * 1_000)))
  }
  return { count, bytesPerSocket: rig.bytesPerSocket, deliveries }
}

type Save = (measured: Partial<Results>) => Promise<void>

async function bench(folder: string): Promise<Results> {
  const generators = Math.max(
    options.generators ?? Math.max(1, availableParallelism() - 1),
    Math.ceil(options.sockets / SOCKETS_PER_GENERATOR_MAX),
  )
  const nothing = { bytesPerSocket: {}, fanOuts: [], deliveries: [], storms: [], gateways: null, failures: [] }
  let results: Results = { at: new Date().toISOString(), machine: machine(), options, generators, ...nothing }
  const save: Save = async (measured) => {
    results = { ...results, ...measured }
    await write(results)
  }
  // What one part cannot do here, too many sockets for this machine say, must not cost what the others measured.
  const attempt = async (part: string, measure: () => Promise<void>) => {
    try {
      await measure()
    } catch (error) {
      const because = error instanceof Error ? error.message : String(error)
      await save({ failures: [...results.failures, `${part}: ${because}`] })
    } finally {
      await stopAll()
    }
  }
  await seedMembers(folder, TALKERS + options.sockets * (wants('gateways') ? options.gateways : 1))
  if (parts.some((part) => part !== OVER_REDIS && wants(part))) {
    await attempt('one process', () => measureOne(folder, generators, save))
  }
  if (wants(OVER_REDIS)) {
    await attempt('several gateways', async () => save({ gateways: await measureGateways(folder) }))
  }
  return results
}

async function write(results: Results): Promise<void> {
  await mkdir(RESULTS_FOLDER, { recursive: true })
  await writeFile(join(RESULTS_FOLDER, 'chat.json'), `${JSON.stringify(results, null, 2)}\n`)
  if (options.write !== undefined) await writeFile(join(options.write, 'chat.md'), reportOf(results))
}

await inTemporaryFolder(async (folder) => {
  try {
    const results = await bench(folder)
    process.stdout.write(reportOf(results))
    for (const failure of results.failures) process.stdout.write(`FAILED: ${failure}\n`)
    const missed = missedTargets(results)
    for (const target of missed) process.stdout.write(`MISSED: ${target}\n`)
    if (results.failures.length > 0 || (missed.length > 0 && options.targets)) process.exitCode = 1
  } finally {
    await stopAll()
  }
})

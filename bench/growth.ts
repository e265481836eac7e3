/** `npm run bench:growth`: 10 thousand to a million members, 1 to 50 million codes, a thousand to 18,000 viewers. */
import { mkdir, writeFile } from 'node:fs/promises'
import { loadavg } from 'node:os'
import { join } from 'node:path'
import { Command, Option } from 'commander'
import { count } from '../cli/options.js'
import { commit } from './commit.js'
import { inTemporaryFolder } from './data-folder.js'
import { pageOf } from './growth/page.js'
import { allSeries, type Growth, growthTargets } from './growth/report.js'
import { CodeDraw } from './growth/scans.js'
import { measureSize, type Plan, type SizePoint } from './growth/size-point.js'
import { measureSockets } from './growth/socket-point.js'
import { seedPatterns } from './growth/stock.js'
import { machine } from './scan/machine.js'

const RESULTS_FOLDER = join('bench', 'results')

interface Options extends Omit<Plan, 'roundMs'> {
  readonly users: readonly number[]
  readonly codes: readonly number[]
  readonly sockets: readonly number[]
  readonly seconds: number
  readonly targets: boolean
  readonly write?: string
}

const counts = (text: string) => text.split(',').map(count)

const options = new Command('bench:growth')
  .description('What members, codes and viewers cost as they become more. Needs 5 GB of disk for a while.')
  .option('--users <list>', 'members, each time with the fewest codes', counts, [10_000, 100_000, 1_000_000])
  .option('--codes <list>', 'codes, each time with the most members', counts, [1_000_000, 10_000_000, 50_000_000])
  .option('--sockets <list>', 'viewers of the dashboard', counts, [1_000, 6_000, 18_000])
  .option('--starts <n>', 'of the server at each size', count, 5)
  .option('--rounds <n>', 'of scans at each size; the tables show medians', count, 5)
  .option('--seconds <n>', 'of a round', count, 5)
  .option('--rate-per-second <n>', 'scans', count, 2_000)
  .option('--scanners <n>', 'members who scan', count, 5_000)
  .option('--no-targets', 'end with 0 even when a target is missed')
  .option('--write <folder>', 'where growth.md goes')
  .addOption(
    new Option('--quick', 'a small run, to see that it works').implies({
      ...{ users: [2_000, 4_000], codes: [200_000, 400_000], sockets: [100, 200] },
      ...{ starts: 1, rounds: 2, seconds: 1, ratePerSecond: 500, scanners: 500, targets: false },
    }),
  )
  .parse()
  .opts<Options>()

/** Members first, then codes: nothing ever shrinks. */
function stagesOf({ users, codes }: Options): (readonly [users: number, codes: number])[] {
  const [fewest = 0, ...more] = codes.toSorted((a, b) => a - b)
  const members = users.toSorted((a, b) => a - b)
  return [
    ...members.map((some) => [some, fewest] as const),
    ...more.map((many) => [members.at(-1) ?? 0, many] as const),
  ]
}

async function bench(folder: string): Promise<Growth> {
  await seedPatterns(folder)
  const { starts, rounds, ratePerSecond, scanners, seconds } = options
  const plan: Plan = { starts, rounds, ratePerSecond, scanners, roundMs: seconds * 1_000 }
  const draw = new CodeDraw()
  const sizes: SizePoint[] = []
  for (const [users, codes] of stagesOf(options)) {
    const point = await measureSize(folder, users, codes, plan, draw)
    const ready = point.starts.map(({ readyMs }) => (readyMs / 1_000).toFixed(1)).join(', ')
    process.stderr.write(`${users} members, ${codes} codes: ready after ${ready} s\n`)
    sizes.push(point)
  }
  const sockets = await measureSockets(folder, options.sockets, plan, draw)
  const head = { at: new Date().toISOString(), commit: commit(), machine: machine(), options, loadAverage: loadavg() }
  return { ...head, sizes, sockets }
}

const growth = await inTemporaryFolder(bench)
const targets = growthTargets(growth)
const page = pageOf(growth, targets)
process.stdout.write(page)
await mkdir(RESULTS_FOLDER, { recursive: true })
const results = { ...growth, series: allSeries(growth), targets }
await writeFile(join(RESULTS_FOLDER, 'growth.json'), `${JSON.stringify(results, null, 2)}\n`)
if (options.write !== undefined) {
  await mkdir(options.write, { recursive: true })
  await writeFile(join(options.write, 'growth.md'), page)
}
if (options.targets && targets.some(({ ok }) => ok === false)) process.exitCode = 1

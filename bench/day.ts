/** `npm run bench:day`: a day of everything together, compressed into an hour or less, against one real server. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Command } from 'commander'
import { count } from '../cli/options.js'
import { svgOf } from './compare/svg.js'
import { inTemporaryFolder } from './data-folder.js'
import { type DayPlan, missedOf, pageOf, plotsOf } from './day/report.js'
import { runDay } from './day/run.js'

const RESULTS_FOLDER = join('bench', 'results')

const { write, ...plan } = new Command('bench:day')
  .description('A day of scans, reads, chat, dashboards, a live event and payouts on a local chain, together.')
  .option('--minutes <n>', 'that the day takes', count, 60)
  .option('--peak <n>', 'requests a second in the busiest hour', count, 150)
  .option('--talkers <n>', 'members in one channel, who all write and hear each other', count, 40)
  .option('--watchers <n>', 'of the live event', count, 100)
  .option('--members <n>', 'with their own stream open', count, 200)
  .option('--dashboards <n>', 'with nobody behind them', count, 200)
  .option('--write <folder>', 'where day.md and its plots go')
  .parse()
  .opts<DayPlan & { readonly write?: string }>()

const day = await inTemporaryFolder((folder) => runDay(folder, plan))
process.stdout.write(pageOf(day))
await mkdir(RESULTS_FOLDER, { recursive: true })
await writeFile(join(RESULTS_FOLDER, 'day.json'), `${JSON.stringify(day, null, 2)}\n`)
if (write !== undefined) {
  await mkdir(write, { recursive: true })
  await writeFile(join(write, 'day.md'), pageOf(day))
  for (const plot of plotsOf(day)) await writeFile(join(write, `day-${plot.file}.svg`), svgOf(plot))
}
const missed = missedOf(day)
for (const what of missed) process.stdout.write(`WRONG: ${what}\n`)
if (missed.length > 0) process.exitCode = 1

/** `npm run bench`: Comptroller beside what a team would otherwise build, and beside what the hardware can do. */
import { execFileSync } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Command, InvalidArgumentError } from 'commander'
import { withEarlier } from './compare/earlier.js'
import { type Part, parts } from './compare/parts.js'
import { htmlOf, markdownOf, plotFiles, type Report } from './compare/report.js'
import type { Section } from './compare/section.js'
import { type Target, targetsOf } from './compare/targets.js'
import { inTemporaryFolder } from './data-folder.js'
import { machine } from './scan/machine.js'

const RESULTS_FOLDER = join('bench', 'results')

interface Options {
  readonly quick: boolean
  readonly long: boolean
  readonly parts?: readonly Part[]
  readonly targets: boolean
  readonly write?: string
}

const described = parts.map(
  ({ name, says, runs }) => `  ${name.padEnd(14)}${says}${runs === 'when long' ? ' (with --long)' : ''}`,
)

const options = new Command('bench')
  .description('Comptroller against the conventional stack and the ceiling, in one run. About twenty minutes.')
  .option('--quick', 'a coarse version, in under three minutes', false)
  .option('--long', 'every part, also those that take minutes for one figure', false)
  .option('--parts <list>', 'only these', someParts)
  .option('--no-targets', 'end with 0 even when a target is missed')
  .option('--write <folder>', 'where bench.md and its plots go as well')
  .addHelpText('after', `\nParts:\n${described.join('\n')}\n\nResults: ${RESULTS_FOLDER}/latest.json and latest.html.`)
  .parse()
  .opts<Options>()

function someParts(text: string): Part[] {
  return text.split(',').map((name) => {
    const part = parts.find((each) => each.name === name)
    if (part === undefined) throw new InvalidArgumentError(`There is no part ${name}.`)
    return part
  })
}

function commit(): string {
  try {
    const changed = execFileSync('git', ['status', '--porcelain', '--untracked-files=no'], { encoding: 'utf8' })
    const name = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim()
    return changed === '' ? name : `${name}, changed`
  } catch {
    return 'unknown'
  }
}

function coarse(target: Target): Target {
  if (target.measured === null) return target
  return { ...target, note: [target.note, 'coarse: a quick run'].filter(Boolean).join('; ') }
}

async function run(): Promise<Report> {
  const at = new Date().toISOString()
  const startedAt = performance.now()
  const wanted = options.parts ?? parts.filter(({ runs }) => runs === 'always' || options.long)
  const sections: Section[] = []
  for (const [index, part] of wanted.entries()) {
    process.stderr.write(`Part ${index + 1} of ${wanted.length}, ${part.name}: ${part.says}\n`)
    sections.push(await inTemporaryFolder((folder) => part.run(folder, options.quick)))
  }
  const goals = Object.assign({}, ...sections.map((section) => section.goals))
  const notes = Object.assign({}, ...sections.map((section) => section.goalNotes))
  const measured = [...targetsOf(goals, notes), ...sections.flatMap((section) => section.targets)]
  const targets = await withEarlier(options.quick ? measured.map(coarse) : measured, RESULTS_FOLDER)
  const seconds = (performance.now() - startedAt) / 1_000
  const command = ['npm run bench --', ...process.argv.slice(2)].join(' ').replace(/ --$/, '')
  return { at, machine: machine(), commit: commit(), command, seconds, sections, targets }
}

async function write(report: Report): Promise<void> {
  await mkdir(RESULTS_FOLDER, { recursive: true })
  await writeFile(join(RESULTS_FOLDER, 'latest.json'), `${JSON.stringify(report, null, 2)}\n`)
  await writeFile(join(RESULTS_FOLDER, 'latest.html'), htmlOf(report))
  if (options.write === undefined) return
  await mkdir(options.write, { recursive: true })
  await writeFile(join(options.write, 'bench.md'), markdownOf(report, true))
  for (const [name, svg] of plotFiles(report)) await writeFile(join(options.write, name), svg)
}

const report = await run()
process.stdout.write(markdownOf(report, false))
await write(report)
const missed = report.targets.filter(({ ok }) => ok === false)
for (const { name, target, measured } of missed) process.stdout.write(`MISSED: ${name}: ${target}, is ${measured}\n`)
if (missed.length > 0 && options.targets && !options.quick) process.exitCode = 1

// Conventions no off-the-shelf linter knows. Exceptions are listed here with a reason.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { root } from './setup.mjs'

const FILE_LINES_MAX = 400
const longFilesAllowed = new Map([])

const files = execFileSync('git', ['ls-files', '-co', '--exclude-standard', '--', '*.ts', '*.mjs'], {
  cwd: root,
  encoding: 'utf8',
})
  .split('\n')
  .filter(Boolean)

/** [what is wrong, pattern, which files] */
const banned = [
  [
    'clock or randomness in the core (T2)',
    /\bDate\.now\(|new Date\(\)|Math\.random\(|performance\.now\(|process\.hrtime|randomUUID\(|randomBytes\(|setTimeout\(|setInterval\(/,
    /^(engine(?!\/simulator\/(main|threads))|actors)\//,
  ],
  [
    'XState timers, actors or interpreter (T4)',
    /\b(createActor|fromPromise|fromCallback|spawnChild|sendTo)\b|\bafter:\s*\{|\binvoke:\s*[{[]/,
    /^(engine|actors)\//,
  ],
  ['the any type or an ignored type error', /\bas any\b|: any\b|<any>|@ts-ignore|@ts-nocheck/, /\.ts$/],
  ['work left undone', /\b(TODO|FIXME|HACK)\b/, /\.ts$/],
  ['a skipped or focused test', /\.(skip|todo|only)\(|skip: true|only: true/, /^test\//],
  ['a sleep in a test', /setTimeout\(\s*resolve|timers\/promises/, /^test\/(?!support\/)/],
  ['a logger of its own', /\bconsole\.(log|error|warn)\(/, /^(engine|actors|gateway|persistence|chain)\/(?!pages\/)/],
]

const problems = []
for (const file of files) {
  const lines = readFileSync(`${root}/${file}`, 'utf8').split('\n')
  const limit = longFilesAllowed.get(file) ?? FILE_LINES_MAX
  if (lines.length > limit) problems.push(`${file}: ${lines.length} lines, at most ${limit}`)
  if (!file.endsWith('.ts')) continue
  lines.forEach((line, index) => {
    if (/^\s*(\/\/|\/?\*)/.test(line)) return
    for (const [what, pattern, where] of banned) {
      if (where.test(file) && pattern.test(line)) problems.push(`${file}:${index + 1}: ${what}: ${line.trim()}`)
    }
  })
}
for (const problem of problems) console.log(problem)
process.exit(problems.length === 0 ? 0 : 1)

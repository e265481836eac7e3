// The table of docs/reliability.md: which code upholds each invariant, which tests hunt its breakage, which checks of
// the simulator would show it. Fails when one is uncovered or the table is not what the code says; --write renews it.
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { root } from './setup.mjs'

const PAGE = 'docs/reliability.md'
const BEGIN = '<!-- invariants: npm run invariants -- --write -->'
const END = '<!-- /invariants -->'

const invariants = {
  T1: 'A turn is synchronous and all-or-nothing.',
  T2: 'Machines and handlers read only state, event and input.',
  T3: 'A turn steps only named and pinned actors; others are told by message.',
  T4: 'Deadlines are durable alarms; XState keeps no time.',
  T5: 'The same inputs give the same records, byte for byte.',
  J1: 'A record is durable before any of its outputs leave.',
  J2: 'Records are framed, checked and chained; a torn tail is cut, other damage stops the start.',
  J3: 'Recovery applies images and runs no business code.',
  J4: 'A failed flush stops the shard; it is never retried over.',
  J5: 'A journal that ends before its durable mark is damaged, also where its end looks torn.',
  G1: 'Outputs leave in record order.',
  G2: 'A read waits for what it saw.',
  G3: 'Held outputs are dropped at a stop; a retry with the same key gets the one outcome.',
  P1: 'Facts, images and the applied sequence commit together; applying twice changes nothing.',
  P2: 'Postgres may be away: decisions go on, up to a lag limit.',
  P3: 'A row Postgres refuses is parked and alerted, never dropped, never in the way.',
  L1: 'Money is bigint minor units.',
  L2: 'Postings sum to zero per currency, asserted in production.',
  L3: 'No account that may not go negative does.',
  S1: 'A payout is prepared, then signed, then sent, each a durable record before the next.',
  S2: 'A payout keeps its nonce, and a nonce its payout; sent again are the same bytes, or a replacement for that nonce.',
  S3: 'Only what is final, or lost for good, ends a payout: it was paid once or not at all.',
  S4: 'One signer and one pipeline a wallet; limits are checked by the core and again by the signer.',
  X1: 'Streams have an epoch and an offset: a reader gets what it missed or is told to resync.',
  X2: 'A slow client is closed, never silently skipped.',
  X3: 'Counters and dashboards are latest-wins and coalesced.',
  B1: 'Every queue, map, batch and retry has a named limit and a gauge.',
}

/** What no check of the simulator can show, and why. */
const payoutsAreReal = 'the simulator has no chain: crashes are injected on the real ones'
const notSimulated = {
  X3: 'coalescing is in the real sockets only',
  S1: payoutsAreReal,
  S2: payoutsAreReal,
  S3: payoutsAreReal,
  S4: payoutsAreReal,
}

/** Of the design, and not built yet. */
const notBuilt = { L4: 'splits come with the programs that split' }

const files = execFileSync('git', ['ls-files', '-co', '--exclude-standard', '--', '*.ts', 'scripts/*.mjs'], {
  cwd: root,
  encoding: 'utf8',
})
  .split('\n')
  .filter(Boolean)
const sources = files.map((file) => ({ file, text: readFileSync(join(root, file), 'utf8') }))
const isCode = ({ file }) =>
  /^(engine|actors|chain|gateway|persistence)\/|^(core|server)\.ts|^scripts\/house-rules/.test(file) &&
  !file.startsWith('engine/simulator/')

/** Cited in a comment or in the message of an assertion. */
const cites = (id) => new RegExp(`(//|\\*|\\(|and|,)[^\\n]*\\b${id}\\b`)
const testTitle = (id) => new RegExp(`\\b${id}\\b`)
/** Titles of tests, and messages of assertions in them. */
const titles = sources
  .filter(({ file }) => /^test\/.*\.test\.ts$/.test(file))
  .flatMap(({ file, text }) =>
    [...text.matchAll(/(?:test|ok|same|equal|rejects|throws|match)\(([^\n]*?['`][^\n]*)|^\s+['`]([^\n]*)['`],$/gm)].map(
      (found) => ({ file, title: found[1] ?? found[2] }),
    ),
  )

const catalogue = readFileSync(join(root, 'engine/simulator/catalogue.ts'), 'utf8')
const checks = [...catalogue.matchAll(/^ {2}'?([^':]+(?:: [^']+)?)'?: \[([^\]]*)\]/gm)].map(([, name, ids]) => ({
  name,
  ids,
}))

function rowOf([id, says]) {
  const code = sources.filter((source) => isCode(source) && cites(id).test(source.text)).map(({ file }) => file)
  const tests = new Map()
  for (const { file, title } of titles) if (testTitle(id).test(title)) tests.set(file, (tests.get(file) ?? 0) + 1)
  const simulated = checks.filter(({ ids }) => ids.includes(`'${id}'`)).map(({ name }) => name)
  return { id, says, code, tests: [...tests], simulated }
}

const rows = Object.entries(invariants).map(rowOf)
const uncovered = rows.flatMap(({ id, code, tests, simulated }) => [
  ...(code.length === 0 ? [`${id} is upheld nowhere in the code`] : []),
  ...(tests.length === 0 ? [`no test names ${id}`] : []),
  ...(simulated.length === 0 && !(id in notSimulated) ? [`no check of the simulator is about ${id}`] : []),
])

const list = (items) => items.join('<br>')
const table = [
  '| | invariant | upheld in | hunted in (times named) | checks of the simulator |',
  '|---|---|---|---|---|',
  ...rows.map(({ id, says, code, tests, simulated }) => {
    const hunted = tests.map(([file, count]) => `\`${file.slice('test/'.length, -'.test.ts'.length)}\` (${count})`)
    const upheld = code.map((file) => `\`${file}\``)
    return `| ${id} | ${says} | ${list(upheld)} | ${list(hunted)} | ${list(simulated) || notSimulated[id]} |`
  }),
  '',
  `Not built yet: ${Object.entries(notBuilt)
    .map(([id, why]) => `${id} (${why})`)
    .join(', ')}.`,
].join('\n')

export function checkInvariants(write) {
  const path = join(root, PAGE)
  const page = readFileSync(path, 'utf8')
  const [before, rest] = page.split(BEGIN)
  const after = rest?.split(END)[1]
  if (after === undefined) return [`${PAGE} has lost its marks ${BEGIN} and ${END}`]
  const renewed = `${before}${BEGIN}\n\n${table}\n\n${END}${after}`
  if (write) writeFileSync(path, renewed)
  const stale = !write && renewed !== page ? [`${PAGE} is not what the code says: npm run invariants -- --write`] : []
  return [...uncovered, ...stale]
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const problems = checkInvariants(process.argv.includes('--write'))
  for (const problem of problems) console.log(problem)
  process.exit(problems.length === 0 ? 0 : 1)
}

// npm run bench:check -- <commitA> <commitB>: is B slower than A? Both are checked out into a temporary folder and measured in
// pairs, A B then B A and so on. Ends with 1 when the median pair is over 10 % slower.
import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { ensureDependencies, root } from './setup.mjs'

const SLOWER_MAX = 0.1
/** What other programs may use before scans a second say more of them than of ours. */
const OTHERS_CORES_MAX = 0.3
/** The first run of each side makes its stock. */
const RUN_TIMEOUT_MS = 600_000
const usage = `npm run bench:check -- <commitA> <commitB> [--pairs 5] [--seconds 3] [--patch file]

Measures scans of two commits in pairs, one after the other, and fails when B is over 10 % slower than A.
  --pairs    how many, at least 3
  --seconds  of each run, after a warm-up of two
  --patch    a diff that is applied to B: with one that makes it slower, see that this check would notice`

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    pairs: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '3' },
    patch: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
})
const [pairs, seconds] = [Number(values.pairs), Number(values.seconds)]
if (values.help || positionals.length !== 2 || !(pairs >= 3) || !(seconds >= 1)) {
  console.log(usage)
  process.exit(values.help ? 0 : 2)
}

const git = (...args) => execFileSync('git', ['-C', root, ...args], { encoding: 'utf8' }).trim()

/** A checkout that is built, with a data folder that all its runs share. */
function prepare(folder, side, commit, patch) {
  const checkout = join(folder, side)
  git('worktree', 'add', '--quiet', '--detach', checkout, commit)
  if (patch !== undefined) execFileSync('git', ['-C', checkout, 'apply', patch])
  symlinkSync(join(root, 'node_modules'), join(checkout, 'node_modules'))
  // Not through run.mjs: it would install what the commit's lock file says, over the node_modules of this checkout.
  const built = spawnSync(process.execPath, ['scripts/build.mjs'], {
    cwd: checkout,
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  if (built.status !== 0) throw new Error(`${commit} cannot be built`)
  return { side, checkout, data: join(folder, `${side}-data`) }
}

/** Members and codes for all runs: a member may scan 58 times in an hour. */
const stock = ['--users', String(2_500 * (pairs + 1)), '--codes', String(200_000 * (pairs + 1))]

function measure({ side, checkout, data }) {
  const args = ['--enable-source-maps', 'dist/bench/scan.js', '--data', data, '--seconds', String(seconds), ...stock]
  const run = spawnSync(process.execPath, [...args, '--no-targets'], {
    cwd: checkout,
    encoding: 'utf8',
    timeout: RUN_TIMEOUT_MS,
  })
  if (run.status !== 0) throw new Error(`${side} ended with ${run.status ?? run.signal}: ${run.stderr.slice(-2_000)}`)
  const { median } = JSON.parse(readFileSync(join(checkout, 'bench', 'results', 'scan.json'), 'utf8'))
  if (median.lost !== 0 || median.other_answers !== 0) throw new Error(`${side} lost scans or refused them`)
  const { scans_per_second: perSecond, server_cpu_micros_per_scan: cpuMicros, others_cpu_cores: others } = median
  return { perSecond, cpuMicros, others }
}

const show = ({ perSecond, cpuMicros }) => `${Math.round(perSecond)}/s, ${Math.round(cpuMicros)} µs of CPU a scan`

function compare(a, b) {
  const measured = []
  for (let pair = 0; pair < pairs; pair++) {
    const inOrder = pair % 2 === 0 ? [a, b] : [b, a]
    const results = new Map(inOrder.map((each) => [each.side, measure(each)]))
    const [ofA, ofB] = [results.get('A'), results.get('B')]
    const others = Math.max(ofA.others, ofB.others)
    measured.push({ speed: ofB.perSecond / ofA.perSecond, cpu: ofB.cpuMicros / ofA.cpuMicros, others })
    console.log(
      `pair ${pair + 1} of ${pairs}: A ${show(ofA)}; B ${show(ofB)}; B / A ${measured.at(-1).speed.toFixed(3)}`,
    )
  }
  return measured
}

function median(values) {
  const sorted = values.toSorted((x, y) => x - y)
  const middle = (sorted.length - 1) / 2
  return (sorted[Math.floor(middle)] + sorted[Math.ceil(middle)]) / 2
}

/** By scans a second; where other programs take the cores from it now and then, by the CPU that a scan costs. */
function judge(measured) {
  const [speed, cpu, others] = ['speed', 'cpu', 'others'].map((name) => median(measured.map((pair) => pair[name])))
  const says = `does ${speed.toFixed(3)} of the scans a second, for ${cpu.toFixed(3)} of the CPU a scan,`
  if (!(others > OTHERS_CORES_MAX)) return { slower: speed < 1 - SLOWER_MAX, says }
  console.log(`Other programs used ${others.toFixed(2)} cores: judged by the CPU of the server alone.`)
  return { slower: 1 / cpu < 1 - SLOWER_MAX, says }
}

ensureDependencies()
const [commitA, commitB] = positionals.map((name) => git('rev-parse', '--short', `${name}^{commit}`))
const folder = mkdtempSync(join(tmpdir(), 'comptroller-check-'))
// Root's Postgres runs as somebody else, who has to pass through.
chmodSync(folder, 0o711)
// A Ctrl-C ends the run that is under way; what was made is removed then.
process.on('SIGINT', () => {})
let failed = true
try {
  const sides = [prepare(folder, 'A', commitA), prepare(folder, 'B', commitB, values.patch)]
  const measured = compare(...sides)
  const { slower, says } = judge(measured)
  failed = slower
  console.log(`${failed ? 'SLOWER' : 'ok'}: ${commitB} ${says} of ${commitA}`)
} finally {
  for (const side of ['A', 'B']) {
    // The link first: whatever removes the checkout must not follow it.
    rmSync(join(folder, side, 'node_modules'), { force: true })
    spawnSync('git', ['-C', root, 'worktree', 'remove', '--force', join(folder, side)])
  }
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
}
process.exitCode = failed ? 1 : 0

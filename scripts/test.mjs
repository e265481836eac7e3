// npm test [-- FILE …]: installs what is missing, runs every static check, then every test,
// and closes with one line: N passed, N failed.
import { spawn } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ensureDependencies, root } from './setup.mjs'

ensureDependencies()
const only = process.argv.slice(2)
const { build } = await import('./build.mjs')
await build()
const { verify } = await import('./verify.mjs')
const failedChecks = only.length === 0 ? verify() : 0

const tap = join(root, 'node_modules', '.bin', 'tap')
const files = only.map((file) => join('dist', file.replace(/\.ts$/, '.js')))
// What test files share, such as a database cluster that is made once; root's Postgres reads it as somebody else.
const shared = mkdtempSync(join(tmpdir(), 'comptroller-test-'))
chmodSync(shared, 0o755)
const child = spawn(tap, ['--reporter=tap', ...files], {
  cwd: root,
  stdio: ['ignore', 'pipe', 'inherit'],
  env: { ...process.env, COMPTROLLER_TEST_FOLDER: shared },
})
let tail = ''
child.stdout.on('data', (chunk) => {
  process.stdout.write(chunk)
  tail = (tail + chunk).slice(-4096)
})
const code = await new Promise((resolve) => child.on('close', resolve))
rmSync(shared, { recursive: true, force: true })
const summary = /^# \{ total: (\d+), pass: (\d+)(?:, fail: (\d+))?/m.exec(tail)
if (!summary) {
  console.log('The test runner printed no summary.\n0 passed, 1 failed')
  process.exit(1)
}
const failed = Number(summary[3] ?? 0) + failedChecks
if (failedChecks > 0) console.log(`${failedChecks} static checks failed, see the top`)
console.log(`${summary[2]} passed, ${failed} failed`)
process.exit(code || (failed > 0 ? 1 : 0))

// Every static check, the same ones `npm test` and CI run: format and lint, types, layer rules, house rules.
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ensureDependencies, root } from './setup.mjs'

const bin = (name) => join(root, 'node_modules', '.bin', name)
const checks = [
  ['format and lint', bin('biome'), ['check', '--error-on-warnings', '.']],
  ['types', bin('tsc'), ['--noEmit', '--pretty']],
  ['layers', bin('depcruise'), ['--config', '.dependency-cruiser.cjs', '--output-type', 'err', '.']],
  ['house rules', process.execPath, ['scripts/house-rules.mjs']],
  ['invariants', process.execPath, ['scripts/invariants.mjs']],
]

/** `docker-compose` or `docker compose`, where one is installed: validating needs no engine. */
const compose = [['docker-compose'], ['docker', 'compose']].find(
  ([command, ...args]) => spawnSync(command, [...args, 'version']).status === 0,
)
if (compose !== undefined) {
  const [command, ...args] = compose
  checks.push(['compose file', 'env', ['ADMIN_PASSWORD=any', command, ...args, 'config', '--quiet']])
}

/** Runs all checks; returns how many failed. */
export function verify() {
  let failed = 0
  for (const [name, command, args] of checks) {
    const startedAt = Date.now()
    const run = spawnSync(command, args, { cwd: root, encoding: 'utf8', env: { ...process.env, FORCE_COLOR: '0' } })
    const ok = run.status === 0
    console.log(`${ok ? 'ok    ' : 'FAILED'} ${name} (${((Date.now() - startedAt) / 1000).toFixed(1)} s)`)
    if (!ok) {
      failed += 1
      console.log(`${run.stdout ?? ''}${run.stderr ?? ''}${run.error?.message ?? ''}`)
    }
  }
  return failed
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  ensureDependencies()
  process.exit(verify() === 0 ? 0 : 1)
}

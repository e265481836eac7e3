// Transpiles every TypeScript file to dist/ and bundles the browser pages. Only changed files are built,
// each written to a temporary name first, so that several commands may build at the same time.
import { mkdirSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { root } from './setup.mjs'

const sources = ['engine', 'actors', 'gateway', 'persistence', 'chain', 'bench', 'test', 'cli']
const dist = join(root, 'dist')

function filesBelow(folder, keep) {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && keep(entry.name))
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
}

const modifiedAt = (file) => statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0
const outputOf = (file) => join(dist, relative(root, file).replace(/\.ts$/, '.js'))
const isSource = (name) => name.endsWith('.ts') && !name.endsWith('.d.ts')
const isBrowserEntry = (file) => file.endsWith('.browser.ts')

/** Brings dist/ up to date; returns the number of files written. */
export async function build() {
  const all = [
    ...sources.flatMap((folder) => filesBelow(join(root, folder), isSource)),
    ...filesBelow(root, isSource).filter((file) => dirname(file) === root),
  ]
  const pageSources = ['pages', 'client'].flatMap((folder) => filesBelow(join(root, 'gateway', folder), isSource))
  const newestPageSource = Math.max(0, ...pageSources.map(modifiedAt))
  const stale = all.filter((file) =>
    isBrowserEntry(file)
      ? modifiedAt(outputOf(file)) < newestPageSource
      : modifiedAt(outputOf(file)) < modifiedAt(file),
  )
  removeOrphans(new Set(all.map(outputOf)))
  if (stale.length === 0) return 0
  const esbuild = await import('esbuild')
  const common = { outdir: dist, outbase: root, format: 'esm', sourcemap: true, write: false, logLevel: 'warning' }
  const results = await Promise.all([
    esbuild.build({
      ...common,
      entryPoints: stale.filter((file) => !isBrowserEntry(file)),
      platform: 'node',
      target: 'node20',
    }),
    esbuild.build({
      ...common,
      entryPoints: stale.filter(isBrowserEntry),
      bundle: true,
      minify: true,
      platform: 'browser',
      target: 'es2022',
    }),
  ])
  const outputs = results.flatMap((result) => result.outputFiles)
  for (const { path, contents } of outputs) {
    mkdirSync(dirname(path), { recursive: true })
    const temporary = `${path}.${process.pid}.tmp`
    writeFileSync(temporary, contents)
    renameSync(temporary, path)
  }
  await esbuild.stop?.()
  return outputs.length
}

/** Removes outputs whose source is gone, so that a deleted test does not run on. */
function removeOrphans(expected) {
  if (!statSync(dist, { throwIfNoEntry: false })) return
  for (const file of filesBelow(dist, (name) => name.endsWith('.js'))) {
    if (expected.has(file)) continue
    rmSync(file, { force: true })
    rmSync(`${file}.map`, { force: true })
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  console.log(`${await build()} files written to dist/`)
}

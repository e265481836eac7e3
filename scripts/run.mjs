// node scripts/run.mjs FILE.js [ARGS]: installs and builds what is missing, then runs dist/FILE.js in this process.
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { ensureDependencies, root } from './setup.mjs'

ensureDependencies()
const { build } = await import('./build.mjs')
await build()
const [file, ...args] = process.argv.slice(2)
process.setSourceMapsEnabled(true)
process.argv = [process.argv[0], join(root, 'dist', file), ...args]
await import(pathToFileURL(process.argv[1]).href)

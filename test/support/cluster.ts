// A database cluster as it is after a first start, made once in a run of all tests and copied by those whose subject is
// not how a cluster comes into being. A test that is run alone has no template, and makes its own.
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import pino from 'pino'
import { startEmbeddedPostgres } from '../../persistence/postgres/embedded.js'

/** Set by scripts/test.mjs: a folder that lives as long as the run. */
const { COMPTROLLER_TEST_FOLDER } = process.env
const run = promisify(execFile)

/** Gives a data directory that is yet to be made a cluster, with an empty database and its password. */
export async function layCluster(dataDirectory: string): Promise<void> {
  if (COMPTROLLER_TEST_FOLDER === undefined || process.platform === 'win32' || existsSync(dataDirectory)) return
  const template = await templateIn(COMPTROLLER_TEST_FOLDER)
  // Owners and modes stay as they are: the database belongs to somebody else when root starts it.
  if (existsSync(join(template, 'postgres'))) await run('cp', ['-a', template, dataDirectory])
}

/** Several test files may make it at once; the first that is done is used by all. */
async function templateIn(folder: string): Promise<string> {
  const template = join(folder, 'cluster')
  if (existsSync(template)) return template
  const draft = `${template}.${process.pid}`
  const server = await startEmbeddedPostgres({ dataDirectory: draft, log: pino({ level: 'silent' }) })
  await server.stop()
  await rm(join(draft, 'postgres.log'))
  await rename(draft, template).catch(async (error: unknown) => {
    if (!existsSync(template)) throw error
    await rm(draft, { recursive: true, force: true, maxRetries: 5 })
  })
  return template
}

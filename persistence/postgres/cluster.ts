// Where the database cluster of a data directory lies, whom it belongs to, and how it comes into being.
//
// C1 A cluster folder under its final name is complete: initdb works elsewhere, a rename publishes the result.
// C2 Existing data is never passed over for an empty cluster: if it cannot be reached, the start fails and says so.
// C3 The superuser's password exists before the cluster does, and is never replaced.
import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { type FileHandle, link, mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { Logger } from 'pino'
import { DomainError } from '../../engine/errors.js'
import {
  type Account,
  canHost,
  canTraverse,
  defaultAccount,
  ensureFolder,
  giveTo,
  isRoot,
  ownerOf,
  spawnOptionsFor,
} from './account.js'
import type { Binaries } from './binaries.js'
import { isAlive, terminatePostmaster } from './postmaster.js'

/** Where clusters go whose data directory the database user cannot reach. */
const FALLBACK_ROOT = '/var/lib/comptroller'
const LOG_TAIL_BYTES = 4_000
export const SUPERUSER = 'comptroller'

export interface Cluster {
  /** Postgres' own data folder (PGDATA). */
  readonly dataFolder: string
  /** Whom to run as; undefined means as ourselves. */
  readonly account: Account | undefined
  readonly passwordFile: string
  readonly logFile: string
}

interface Place {
  readonly dataFolder: string
  readonly account: Account | undefined
}

const exists = (path: string) =>
  stat(path).then(
    () => true,
    () => false,
  )

const fail = (code: string, message: string) => new DomainError('unavailable', code, message)

/** Finds the cluster of a data directory, or decides where its new one goes. `dataDirectory` must be a real path. */
export async function locateCluster(dataDirectory: string, log: Logger): Promise<Cluster> {
  const files = {
    passwordFile: join(dataDirectory, 'postgres.password'),
    logFile: join(dataDirectory, 'postgres.log'),
  }
  const existing = await findExisting(dataDirectory)
  if (existing === undefined) return { ...(await chooseNewPlace(dataDirectory, files.passwordFile, log)), ...files }
  if (!(await exists(files.passwordFile))) {
    throw fail('postgres_password_missing', `${files.passwordFile} is missing; it belongs to ${existing}`)
  }
  return { dataFolder: existing, account: await accountOfExisting(existing), ...files }
}

async function findExisting(dataDirectory: string): Promise<string | undefined> {
  const locationFile = join(dataDirectory, 'postgres.location')
  const elsewhere = (await readFile(locationFile, 'utf8').catch(() => '')).trim()
  if (elsewhere) {
    if (await exists(elsewhere)) return elsewhere
    const advice = `bring it back, or remove ${locationFile} to start with an empty database`
    throw fail('postgres_data_missing', `The database folder ${elsewhere} is gone; ${advice}`) // C2
  }
  const inside = join(dataDirectory, 'postgres')
  return (await exists(inside)) ? inside : undefined
}

async function accountOfExisting(dataFolder: string): Promise<Account | undefined> {
  const owner = await ownerOf(dataFolder)
  if (!isRoot()) {
    if (process.getuid === undefined || owner.uid === process.getuid()) return undefined
    throw fail('postgres_owner_mismatch', `${dataFolder} belongs to ${owner.name}; start as that user or as root`)
  }
  const restored = owner.uid === 0
  const account = restored ? await defaultAccount() : owner
  if (!(await canTraverse(dirname(dataFolder), account))) {
    const advice = 'let others pass through the folders above it (chmod o+x) or move it'
    throw fail('postgres_data_unreachable', `${account.name} cannot reach the database in ${dataFolder}; ${advice}`) // C2
  }
  // A copy brought back by root belongs to root, which Postgres will not run as.
  if (restored) await giveTo(dataFolder, account)
  return account
}

async function chooseNewPlace(dataDirectory: string, passwordFile: string, log: Logger): Promise<Place> {
  const inside = join(dataDirectory, 'postgres')
  if (!isRoot()) return { dataFolder: inside, account: undefined }
  const account = await defaultAccount()
  if (await canHost(dataDirectory, account)) return { dataFolder: inside, account }

  const key = createHash('sha256').update(dataDirectory).digest('hex').slice(0, 16)
  const dataFolder = join(FALLBACK_ROOT, key)
  await ensureFolder(FALLBACK_ROOT, 0o711)
  if (!(await canHost(FALLBACK_ROOT, account))) {
    throw fail('postgres_data_unreachable', `${account.name} can reach neither ${dataDirectory} nor ${FALLBACK_ROOT}`)
  }
  // Without its password it is the database of a data directory that has been deleted since.
  if ((await exists(dataFolder)) && !(await exists(passwordFile))) await setAside(dataFolder, log)
  log.info({ dataFolder, dataDirectory }, `postgres data goes to ${dataFolder}: ${account.name} cannot use DATA_DIR`)
  return { dataFolder, account }
}

async function setAside(dataFolder: string, log: Logger): Promise<void> {
  const kept = `${dataFolder}.orphaned-${new Date().toISOString().replace(/\W/g, '')}`
  await terminatePostmaster(dataFolder, log)
  await rename(dataFolder, kept)
  log.warn({ kept }, 'kept the database of a deleted data directory aside')
}

/** Creates the cluster unless it is there, and returns the superuser's password. */
export async function ensureCluster(cluster: Cluster, binaries: Binaries, log: Logger): Promise<string> {
  const password = await ensurePassword(cluster.passwordFile) // C3
  await removeAbandonedWork(cluster.dataFolder)
  if (!(await exists(cluster.dataFolder))) {
    log.info({ dataFolder: cluster.dataFolder }, 'creating the database')
    await createCluster(cluster, binaries, password)
  }
  const dataDirectory = dirname(cluster.passwordFile)
  if (dirname(cluster.dataFolder) !== dataDirectory) {
    await writeDurably(join(dataDirectory, 'postgres.location'), `${cluster.dataFolder}\n`)
  }
  const version = Number((await readFile(join(cluster.dataFolder, 'PG_VERSION'), 'utf8')).trim())
  if (version !== binaries.majorVersion) {
    const message = `${cluster.dataFolder} is of Postgres ${version}, the binaries are of ${binaries.majorVersion}`
    throw fail('postgres_version_mismatch', `${message}; dump it with the old version and restore it`)
  }
  return password
}

/** Reads the password, creating it first if need be. Several processes may do so at once: all get the same. */
async function ensurePassword(file: string): Promise<string> {
  const draft = `${file}.${process.pid}`
  if (!(await exists(file))) {
    await writeDurably(draft, `${randomBytes(24).toString('base64url')}\n`)
    await link(draft, file).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error
    })
    await rm(draft, { force: true })
  }
  return (await readFile(file, 'utf8')).trim()
}

const workFolderOf = (dataFolder: string, pid: number) => `${dataFolder}.init-${pid}`

/** Removes what an initdb left that was interrupted, but not that of a process still at it. */
async function removeAbandonedWork(dataFolder: string): Promise<void> {
  const prefix = workFolderOf(basename(dataFolder), 0).slice(0, -1)
  for (const name of await readdir(dirname(dataFolder))) {
    if (!name.startsWith(prefix)) continue
    const pid = Number(name.slice(prefix.length))
    if (pid !== process.pid && isAlive(pid)) continue
    await rm(join(dirname(dataFolder), name), { recursive: true, force: true, maxRetries: 10, retryDelay: 50 })
  }
}

async function createCluster(cluster: Cluster, binaries: Binaries, password: string): Promise<void> {
  const work = workFolderOf(cluster.dataFolder, process.pid)
  const [passwordFile, fresh] = [join(work, 'password'), join(work, 'data')]
  await mkdir(work, { mode: 0o700 })
  try {
    await writeFile(passwordFile, password, { mode: 0o600 })
    if (cluster.account) await giveTo(work, cluster.account)
    await runInitdb(cluster, binaries, [`--pgdata=${fresh}`, `--pwfile=${passwordFile}`])
    await rename(fresh, cluster.dataFolder).catch(async (error) => {
      if (!(await exists(cluster.dataFolder))) throw error // else another process was faster, with the same password
    })
    await syncFolder(dirname(cluster.dataFolder)) // C1
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

/** The builtin C.UTF-8 is Unicode-aware, alike on every machine and needs no locale installed on it. */
const INITDB_SETTINGS = [
  '--encoding=UTF8',
  '--locale=C',
  '--locale-provider=builtin',
  '--builtin-locale=C.UTF-8',
  '--auth=scram-sha-256',
  '--data-checksums',
  `--username=${SUPERUSER}`,
]

async function runInitdb(cluster: Cluster, binaries: Binaries, paths: string[]): Promise<void> {
  const logFile = await open(cluster.logFile, 'a', 0o600)
  try {
    const { size } = await logFile.stat()
    const outcome = await new Promise<string | undefined>((resolve) => {
      const child = spawn(binaries.initdb, [...INITDB_SETTINGS, ...paths], {
        ...spawnOptionsFor(cluster.account),
        stdio: ['ignore', logFile.fd, logFile.fd],
      })
      child.once('error', (error) => resolve(error.message))
      child.once('exit', (code, signal) => resolve(code === 0 ? undefined : `exit ${code ?? signal}`))
    })
    if (outcome === undefined) return
    throw fail('postgres_init_failed', `initdb failed (${outcome}): ${await logTail(cluster.logFile, size)}`)
  } finally {
    await logFile.close()
  }
}

/** The last lines of a log file, nothing older than `from` (a byte offset). */
export async function logTail(path: string, from: number): Promise<string> {
  const text = (await readFile(path)).subarray(from)
  return text.subarray(-LOG_TAIL_BYTES).toString('utf8').trim()
}

async function writeDurably(path: string, text: string): Promise<void> {
  await withHandle(await open(path, 'w', 0o600), async (file) => {
    await file.writeFile(text)
    await file.sync()
  })
  await syncFolder(dirname(path))
}

async function syncFolder(path: string): Promise<void> {
  if (process.platform === 'win32') return
  await withHandle(await open(path, 'r'), (folder) => folder.sync())
}

async function withHandle(handle: FileHandle, use: (handle: FileHandle) => Promise<void>): Promise<void> {
  try {
    await use(handle)
  } finally {
    await handle.close()
  }
}

// The Postgres that comes with us: started, watched over and stopped by this process, yet able to outlive it.
//
// E1 A start never waits for a dead predecessor: what still runs is adopted, what is dead is cleared away.
// E2 The address stays valid until `stop`: a Postgres that dies is restarted on the same port.
// E3 A Postgres another process of ours also uses is not stopped.
import { realpath, rename, stat } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import { DomainError } from '../../engine/errors.js'
import { ensureFolder, isRoot } from './account.js'
import { cacheRoots, locateNativeTree, prepareBinaries } from './binaries.js'
import { ensureCluster, locateCluster } from './cluster.js'
import { connectSession, errorCode } from './connection.js'
import { type LaunchOptions, launch, type RunningPostgres, urlOf } from './launch.js'
import { type HeldLock, holdLock, lockHolders } from './locks.js'
import { terminatePostmaster } from './postmaster.js'

const DATABASE = 'comptroller'
const USERS_LOCK = 'comptroller/embedded-postgres'
const LOG_FILE_MAX_BYTES = 16 * 1024 * 1024
const RESTART_DELAY_MIN_MS = 100
const RESTART_DELAY_MAX_MS = 5_000
/** Running this long clears the count of failures that stretches the restart delay. */
const STABLE_AFTER_MS = 30_000
const LEAVING_PATIENCE_MS = 300
const LEAVING_POLL_MS = 20

export interface PostgresExit {
  readonly pid: number
  readonly reason: string
}

export interface EmbeddedPostgres {
  /** Connects to the database `comptroller`; carries the password. */
  readonly url: string
  /** Whether Postgres was already running when we started. */
  readonly adopted: boolean
  /** The main process of Postgres; another one after a restart. */
  readonly pid: number
  /** Called each time Postgres has ended without `stop`; its restart is already under way. */
  onExit(listener: (exit: PostgresExit) => void): void
  /** Shuts Postgres down, unless another process uses it too; then it only lets go. */
  stop(): Promise<void>
}

/** Starts the bundled Postgres of a data directory, creating its database at the first start, or adopts the running one. */
export async function startEmbeddedPostgres(options: {
  readonly dataDirectory: string
  readonly log: Logger
}): Promise<EmbeddedPostgres> {
  const { log } = options
  // Root's own is open to pass through, because the database inside belongs to somebody else.
  await ensureFolder(options.dataDirectory, isRoot() ? 0o711 : 0o700)
  const dataDirectory = await realpath(options.dataDirectory)
  const cluster = await locateCluster(dataDirectory, log)
  const binaries = await prepareBinaries(await locateNativeTree(), cluster.account, cacheRoots(), log)
  const password = await ensureCluster(cluster, binaries, log)
  await rotateLog(cluster.logFile)

  const abort = new AbortController()
  const launching = { cluster, binaries, password, signal: abort.signal }
  const running = await launch({ ...launching, port: undefined })
  const url = urlOf(running.port, password, DATABASE)
  try {
    await ensureDatabase(urlOf(running.port, password, 'postgres'))
    const use = await holdLock(url, USERS_LOCK, 'shared', () => unavailable('Postgres is being stopped'))
    log.info({ postgresPid: running.pid, port: running.port, adopted: running.adopted }, 'postgres is ready')
    return new Supervisor(url, running, { ...launching, port: running.port }, abort, use, log)
  } catch (error) {
    running.forget()
    if (!running.adopted) await terminatePostmaster(cluster.dataFolder, log)
    throw error
  }
}

const unavailable = (message: string) => new DomainError('unavailable', 'postgres_unavailable', message)

async function rotateLog(file: string): Promise<void> {
  const size = await stat(file).then(
    (found) => found.size,
    () => 0,
  )
  if (size > LOG_FILE_MAX_BYTES) await rename(file, `${file}.1`)
}

async function ensureDatabase(adminUrl: string): Promise<void> {
  const sql = connectSession(adminUrl, 'comptroller setup')
  try {
    const found = await sql`select 1 from pg_database where datname = ${DATABASE}`
    if (found.length === 0) await sql.unsafe(`create database ${DATABASE}`)
  } catch (error) {
    // Another process created it at the same time: a duplicate name, noticed by the check or by the index.
    if (!['42P04', '23505'].includes(errorCode(error))) throw error
  } finally {
    await sql.end({ timeout: 0 })
  }
}

class Supervisor implements EmbeddedPostgres {
  readonly adopted: boolean
  readonly #listeners: ((exit: PostgresExit) => void)[] = []
  #recovering: Promise<void> = Promise.resolve()
  #failures = 0
  #stopped: Promise<void> | undefined

  constructor(
    readonly url: string,
    private running: RunningPostgres,
    private readonly launching: LaunchOptions,
    private readonly abort: AbortController,
    private readonly use: HeldLock,
    private readonly log: Logger,
  ) {
    this.adopted = running.adopted
    this.#watch()
  }

  get pid(): number {
    return this.running.pid
  }

  onExit(listener: (exit: PostgresExit) => void): void {
    this.#listeners.push(listener)
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop()
    return this.#stopped
  }

  #watch(): void {
    const { running } = this
    const startedAt = performance.now()
    void running.exited.then((reason) => {
      if (this.abort.signal.aborted) return
      if (performance.now() - startedAt > STABLE_AFTER_MS) this.#failures = 0
      this.log.error({ postgresPid: running.pid, reason }, 'postgres ended unexpectedly, restarting it')
      this.#recovering = this.#restart()
      for (const listener of this.#listeners) listener({ pid: running.pid, reason })
    })
  }

  // E2
  async #restart(): Promise<void> {
    const { signal } = this.abort
    while (!signal.aborted) {
      try {
        if (this.#failures > 0) await sleep(restartDelayMs(this.#failures), undefined, { signal })
        this.#failures += 1
        this.running = await launch(this.launching)
        this.log.info({ postgresPid: this.running.pid }, 'postgres is ready again')
        this.#watch()
        return
      } catch (error) {
        if (!signal.aborted) this.log.error({ err: error }, 'postgres could not be restarted, trying again')
      }
    }
  }

  async #stop(): Promise<void> {
    this.abort.abort()
    await this.#recovering
    this.running.forget()
    await this.use.release()
    if (await this.#usedByOthers()) {
      this.log.info({ postgresPid: this.pid }, 'postgres is left running for the other process that uses it') // E3
      return
    }
    await terminatePostmaster(this.launching.cluster.dataFolder, this.log)
    this.log.info('postgres is stopped')
  }

  /** Sessions of killed processes take a moment to end, hence the patience. */
  async #usedByOthers(): Promise<boolean> {
    const sql = connectSession(this.url, 'comptroller shutdown')
    const deadline = performance.now() + LEAVING_PATIENCE_MS
    try {
      while ((await lockHolders(sql, USERS_LOCK)).length > 0) {
        if (performance.now() > deadline) return true
        await sleep(LEAVING_POLL_MS)
      }
      return false
    } catch {
      return false
    } finally {
      await sql.end({ timeout: 0 })
    }
  }
}

const restartDelayMs = (failures: number) => Math.min(RESTART_DELAY_MIN_MS * 2 ** (failures - 1), RESTART_DELAY_MAX_MS)

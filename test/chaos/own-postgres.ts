// A Postgres that belongs to the campaign: it comes and goes when we say so, always at the same address.
import { execFile } from 'node:child_process'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import pino from 'pino'
import { type Binaries, cacheRoots, locateNativeTree, prepareBinaries } from '../../persistence/postgres/binaries.js'
import { type Cluster, ensureCluster, locateCluster } from '../../persistence/postgres/cluster.js'
import { connectSession } from '../../persistence/postgres/connection.js'
import { launch, urlOf } from '../../persistence/postgres/launch.js'
import { readPidFile, signalIfAlive, terminatePostmaster } from '../../persistence/postgres/postmaster.js'
import type { Scope } from './scope.js'

const DATABASE = 'chaos'
const log = pino({ level: 'silent' })
const run = promisify(execFile)

export class OwnPostgres {
  #port: number | undefined

  private constructor(
    private readonly cluster: Cluster,
    private readonly binaries: Binaries,
    private readonly password: string,
  ) {}

  static async started(scope: Scope): Promise<OwnPostgres> {
    const folder = await mkdtemp(join(tmpdir(), 'comptroller-postgres-'))
    await chmod(folder, 0o755) // root's Postgres runs as somebody else
    scope.teardown(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }))
    const cluster = await locateCluster(folder, log)
    const binaries = await prepareBinaries(await locateNativeTree(), cluster.account, cacheRoots(), log)
    const postgres = new OwnPostgres(cluster, binaries, await ensureCluster(cluster, binaries, log))
    scope.teardown(() => postgres.stop())
    await postgres.start()
    const sql = connectSession(postgres.#urlOf('postgres'), 'comptroller chaos')
    await sql.unsafe(`create database ${DATABASE}`)
    await sql.end()
    return postgres
  }

  get url(): string {
    return this.#urlOf(DATABASE)
  }

  /** Resolves when it answers queries. */
  async start(): Promise<void> {
    const { cluster, binaries, password } = this
    const signal = new AbortController().signal
    const running = await launch({ cluster, binaries, password, port: this.#port, signal })
    this.#port = running.port
  }

  /** Ends every session and the process: connections are refused then. */
  async stop(): Promise<void> {
    await this.thaw()
    await terminatePostmaster(this.cluster.dataFolder, log)
  }

  /** Stops all of its processes where they are: connections stay open and nothing is answered. */
  async freeze(): Promise<void> {
    for (const pid of await this.#pids()) signalIfAlive(pid, 'SIGSTOP')
  }

  async thaw(): Promise<void> {
    for (const pid of await this.#pids()) signalIfAlive(pid, 'SIGCONT')
  }

  /** The main process first, so that it starts no others meanwhile. */
  async #pids(): Promise<number[]> {
    const main = await readPidFile(this.cluster.dataFolder)
    if (main === undefined) return []
    const { stdout } = await run('ps', ['-o', 'pid=', '--ppid', String(main.pid)]).catch(() => ({ stdout: '' }))
    return [
      main.pid,
      ...stdout
        .split('\n')
        .map(Number)
        .filter((pid) => pid > 0),
    ]
  }

  #urlOf(database: string): string {
    return urlOf(this.#port ?? 0, this.password, database)
  }
}

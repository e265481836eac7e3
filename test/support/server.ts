// The whole server as a process of its own, on a data folder of its own, that may be stopped, killed and started again.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { connect, type Sql } from '../../persistence/postgres/connection.js'
import { goneWithin, isAlive, readPidFile, signalIfAlive } from '../../persistence/postgres/postmaster.js'
import { layCluster } from './cluster.js'

export interface TestScope {
  teardown(handler: () => Promise<unknown>): unknown
}

export const root = fileURLToPath(new URL('../../../', import.meta.url))
export const adminAccount = { email: 'boss@example.com', password: 'Comptroller!2026' }

/** Only what hangs takes so long, also where the machine is busy with other tests. */
const WITHIN_MS = 60_000
/** The longer it takes the less often it is asked: asking costs what is waited for its time on the processor. */
const POLL_MIN_MS = 5
const POLL_MAX_MS = 40
const POLLS_OF_WAIT = 20
const commandLine = join(root, 'dist', 'cli.js')

/** Asks again and again until the answer is truthy; rejects naming `what` when that takes longer than `withinMs`. */
export async function until<T>(what: string, ask: () => T | Promise<T>, withinMs = WITHIN_MS): Promise<NonNullable<T>> {
  const startedAt = performance.now()
  for (;;) {
    const answer = await ask()
    if (answer) return answer
    const waitedMs = performance.now() - startedAt
    if (waitedMs > withinMs) throw new Error(`not within ${withinMs} ms: ${what}`)
    await sleep(Math.min(Math.max(waitedMs / POLLS_OF_WAIT, POLL_MIN_MS), POLL_MAX_MS))
  }
}

/** Rejects naming `what` when `promise` takes longer than `withinMs`. */
export async function within<T>(what: string, promise: Promise<T>, withinMs = WITHIN_MS): Promise<T> {
  const abort = new AbortController()
  const late = sleep(withinMs, undefined, { signal: abort.signal }).then(() => {
    throw new Error(`not within ${withinMs} ms: ${what}`)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    abort.abort()
    late.catch(() => {})
  }
}

/** How a process ended, and what it said. */
export interface Ending {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
  readonly tookMs: number
}

/** A process of ours: its output so far and its end. */
class Running {
  stdout = ''
  stderr = ''
  readonly ended: Promise<Ending>

  constructor(readonly child: ChildProcess) {
    const startedAt = performance.now()
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text
    })
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text
    })
    this.ended = once(child, 'close').then(([code, signal]) => {
      const { stdout, stderr } = this
      return { code, signal, stdout, stderr, tookMs: performance.now() - startedAt }
    })
  }

  get over(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null
  }
}

export interface StartOptions {
  /** Through `npm start`, as people do, instead of the command line itself. */
  readonly npm?: boolean
  readonly env?: NodeJS.ProcessEnv
}

/** One data folder and the processes that work on it; all of it is gone when the test ends. */
export class Deployment {
  readonly #processes: Running[] = []
  #server: Running | undefined
  #url = ''

  private constructor(
    readonly folder: string,
    readonly dataDirectory: string,
    readonly keep: () => boolean,
  ) {}

  /** With `keep`, asked at the end, the data stays. */
  static async create(t: TestScope, { keep = () => false }: { keep?: () => boolean } = {}): Promise<Deployment> {
    const folder = await mkdtemp(join(tmpdir(), 'comptroller-server-'))
    await chmod(folder, 0o755) // root's Postgres runs as somebody else
    const deployment = new Deployment(folder, join(folder, 'data'), keep)
    t.teardown(() => deployment.#remove())
    return deployment
  }

  static async started(t: TestScope, options: StartOptions = {}): Promise<Deployment> {
    const deployment = await Deployment.create(t)
    await deployment.start(options)
    return deployment
  }

  /** Where the server listens that was started last. */
  get url(): string {
    return this.#url
  }

  /** What the server that was started last has printed. */
  get output(): string {
    return this.#server === undefined ? '' : this.#server.stdout + this.#server.stderr
  }

  /** Starts the server; resolves once it says where it listens. */
  async start({ npm = false, env = {} }: StartOptions = {}): Promise<void> {
    // Only at a first start: who looks at the output at once must see that of the new server.
    if (!npm && !existsSync(this.dataDirectory)) await layCluster(this.dataDirectory)
    const server = npm ? this.#spawn('npm', ['start'], env) : this.#spawn(process.execPath, [commandLine, 'start'], env)
    this.#server = server
    const line = await until('the server says where it listens', () => {
      const { exitCode, signalCode } = server.child
      const how = exitCode ?? signalCode
      if (how !== null) throw new Error(`the server ended with ${how} instead of listening:\n${this.output}`)
      return /is running at (\S+)/.exec(server.stdout)
    })
    this.#url = line[1] ?? ''
  }

  /** Asks the server to stop, as a supervisor does. */
  async stop(): Promise<Ending> {
    const server = this.#started()
    const askedAt = performance.now()
    server.child.kill('SIGTERM')
    const ending = await within('the server stops', server.ended)
    return { ...ending, tookMs: performance.now() - askedAt }
  }

  /** How the server that was started last ends by itself. */
  ended(): Promise<Ending> {
    return within('the server ends', this.#started().ended)
  }

  /** kill -9: no goodbye, and Postgres is left behind. */
  async kill(): Promise<void> {
    const server = this.#started()
    server.child.kill('SIGKILL')
    await within('the killed server is gone', server.ended)
  }

  /** Runs a command of the command line to its end. */
  async run(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ending> {
    return within(`comptroller ${args.join(' ')}`, this.#spawn(process.execPath, [commandLine, ...args], env).ended)
  }

  /** The process that serves, which `npm start` is not. */
  async serverPid(): Promise<number> {
    return JSON.parse(await readFile(join(this.dataDirectory, 'server.json'), 'utf8')).pid
  }

  /** The main process of the embedded Postgres. */
  async postgres(): Promise<{ pid: number; port: number }> {
    const found = await readPidFile(await this.#clusterFolder())
    if (found === undefined) throw new Error('no Postgres runs here')
    return found
  }

  /** The database behind the server, as somebody else sees it. */
  async database(t: TestScope): Promise<Sql> {
    const password = (await readFile(join(this.dataDirectory, 'postgres.password'), 'utf8')).trim()
    const { port } = await this.postgres()
    const url = `postgres://comptroller:${password}@127.0.0.1:${port}/comptroller`
    const sql = connect(url, { max: 2, applicationName: 'comptroller test' })
    t.teardown(() => sql.end({ timeout: 1 }))
    return sql
  }

  #started(): Running {
    if (this.#server === undefined) throw new Error('no server was started')
    return this.#server
  }

  #spawn(command: string, args: readonly string[], env: NodeJS.ProcessEnv): Running {
    // Not all of our environment: settings of ours would become settings of theirs.
    const { PATH, HOME, SystemRoot } = process.env
    const child = spawn(command, args, {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH,
        HOME,
        SystemRoot,
        PORT: '0',
        DATA_DIR: this.dataDirectory,
        ADMIN_EMAIL: adminAccount.email,
        ADMIN_PASSWORD: adminAccount.password,
        PAYOUTS: 'off',
        EMOTES: 'off',
        ...env,
      },
    })
    const running = new Running(child)
    this.#processes.push(running)
    return running
  }

  async #clusterFolder(): Promise<string> {
    const elsewhere = await readFile(join(this.dataDirectory, 'postgres.location'), 'utf8').catch(() => '')
    return elsewhere.trim() || join(this.dataDirectory, 'postgres')
  }

  async #remove(): Promise<void> {
    const pid = await this.serverPid().catch(() => undefined)
    if (pid !== undefined && (await this.#isOurs(pid))) signalIfAlive(pid, 'SIGKILL')
    for (const { child } of this.#processes) child.kill('SIGKILL')
    await Promise.all(this.#processes.map(({ ended }) => ended))
    const cluster = await this.#clusterFolder()
    const postgres = await readPidFile(cluster)
    if (postgres !== undefined && isAlive(postgres.pid)) {
      signalIfAlive(postgres.pid, 'SIGQUIT')
      await goneWithin(postgres.pid, WITHIN_MS)
    }
    if (this.keep()) return
    for (const folder of [cluster, this.folder]) await rm(folder, { recursive: true, force: true, maxRetries: 5 })
  }

  /** Whether this process still holds our journal: its number may have been given to somebody else. */
  async #isOurs(pid: number): Promise<boolean> {
    if (process.platform !== 'linux') return isAlive(pid)
    const environment = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '')
    return environment.includes(`DATA_DIR=${this.dataDirectory}\0`)
  }
}

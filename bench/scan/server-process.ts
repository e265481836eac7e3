/** The real server as a child process, as an operator starts it. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { settingsSchema } from '../../settings.js'

const cli = fileURLToPath(new URL('../../cli.js', import.meta.url))
const READY_TIMEOUT_MS = 60_000
const POLL_MS = 5

/** Runs a command of the command line on a data folder to its end; its progress shows on standard error. */
export async function runCommand(dataDirectory: string, args: readonly string[]): Promise<void> {
  const child = spawn(process.execPath, [cli, ...args], {
    env: environmentOf(dataDirectory),
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  endWithUs(child)
  const [code] = await once(child, 'exit')
  if (code !== 0) throw new Error(`comptroller ${args.join(' ')} ended with ${code}`)
}

/** A benchmark that is interrupted leaves no process behind. */
function endWithUs(child: ChildProcess): void {
  const end = () => void child.kill('SIGKILL')
  process.once('exit', end)
  child.once('exit', () => process.off('exit', end))
}

/** What `npm start` gives to Node. */
export const NPM_START_ARGS = ['--max-semi-space-size=32']

export class ServerProcess {
  private constructor(
    readonly url: string,
    readonly pid: number,
    /** From the start of the process to the first 200 of `/readyz`. */
    readonly readyMs: number,
    private readonly child: ChildProcess,
  ) {}

  /** `nodeArgs` are for the server's Node, `--cpu-prof` say. */
  static async start(
    dataDirectory: string,
    nodeArgs: readonly string[],
    settings: NodeJS.ProcessEnv = {},
    command = 'start',
  ): Promise<ServerProcess> {
    const startedAt = performance.now()
    const child = spawn(process.execPath, [...NPM_START_ARGS, ...nodeArgs, cli, command], {
      env: { ...environmentOf(dataDirectory), ...settings },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    endWithUs(child)
    const deadline = startedAt + READY_TIMEOUT_MS
    const url = await announcedUrl(child)
    while (!(await isReady(url))) {
      if (performance.now() > deadline) throw new Error(`the server is not ready after ${READY_TIMEOUT_MS} ms`)
      await sleep(POLL_MS)
    }
    return new ServerProcess(url, child.pid ?? 0, performance.now() - startedAt, child)
  }

  /** Asks it to stop and waits until it has. */
  async stop(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return
    this.child.kill('SIGTERM')
    await once(this.child, 'exit')
  }
}

/** The environment without the settings of whoever runs the benchmark. */
function environmentOf(dataDirectory: string): NodeJS.ProcessEnv {
  const { npm_lifecycle_event: _, ...environment } = process.env
  for (const name of Object.keys(settingsSchema.shape)) delete environment[name]
  const quiet = { PAYOUTS: 'off', EMOTES: 'off' }
  return { ...environment, DATA_DIR: dataDirectory, PORT: '0', LOG_LEVEL: 'warn', ...quiet }
}

function announcedUrl({ stdout }: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    stdout?.on('data', (chunk: Buffer) => {
      text += chunk
      const url = /running at (\S+)/.exec(text)?.[1]
      if (url !== undefined) resolve(url)
    })
    stdout?.on('close', () => reject(new Error(`the server ended before it was ready: ${text}`)))
  })
}

async function isReady(url: string): Promise<boolean> {
  try {
    return (await fetch(new URL('/readyz', url))).ok
  } catch {
    return false
  }
}

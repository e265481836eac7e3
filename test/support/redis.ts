// A real Redis of its own on a free port. Where the machine has none and Debian's packages can be had, it is installed.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { type TestScope, until, within } from './server.js'

const INSTALL_TIMEOUT_MS = 180_000

/** `REDIS_SERVER` names another one than that in the path. */
function program(): string {
  const { REDIS_SERVER = 'redis-server' } = process.env
  if (runs(REDIS_SERVER)) return REDIS_SERVER
  const quiet = { stdio: 'ignore', timeout: INSTALL_TIMEOUT_MS } as const
  // RUNLEVEL keeps the package from starting a server of its own.
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' }
  try {
    execFileSync('apt-get', ['update', '-qq'], { ...quiet, env })
    execFileSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', 'redis-server'], { ...quiet, env })
  } catch {
    throw new Error('this test needs redis-server (7 or newer): install it, or name it in REDIS_SERVER')
  }
  return REDIS_SERVER
}

function runs(command: string): boolean {
  try {
    execFileSync(command, ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

/** It keeps its port when it is killed and started again. */
export class RedisServer {
  #child: ChildProcess | undefined

  private constructor(
    readonly command: string,
    readonly port: number,
  ) {}

  static async started(t: TestScope): Promise<RedisServer> {
    const redis = new RedisServer(program(), await freePort())
    t.teardown(() => redis.kill())
    await redis.start()
    return redis
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`
  }

  async start(): Promise<void> {
    const memoryOnly = ['--save', '', '--appendonly', 'no']
    const child = spawn(this.command, ['--port', `${this.port}`, '--bind', '127.0.0.1', ...memoryOnly], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    this.#child = child
    let said = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text
    })
    await until('Redis accepts connections', () => {
      if (child.exitCode !== null) throw new Error(`redis-server ended:\n${said}`)
      return said.includes('Ready to accept connections')
    })
  }

  async kill(): Promise<void> {
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await within('Redis is gone', once(child, 'exit'))
  }
}

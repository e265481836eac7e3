// A real Redis of its own on a free port. Where the machine has none and Debian's packages can be had, it is installed.
import { execFileSync } from 'node:child_process'
import { RedisProcess } from '../../bench/redis-process.js'
import { type TestScope, within } from './server.js'

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

/** It keeps its port when it is killed and started again. */
export class RedisServer {
  private constructor(private readonly redis: RedisProcess) {}

  static async started(t: TestScope): Promise<RedisServer> {
    const redis = await within('Redis accepts connections', RedisProcess.start(program()))
    t.teardown(() => redis.kill())
    return new RedisServer(redis)
  }

  get url(): string {
    return this.redis.url
  }

  start(): Promise<void> {
    return within('Redis accepts connections', this.redis.start())
  }

  kill(): Promise<void> {
    return within('Redis is gone', this.redis.kill())
  }
}

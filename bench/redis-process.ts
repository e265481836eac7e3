/** A Redis of our own on a free port that keeps nothing. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'

const READY = 'Ready to accept connections'

/** Rejects with what it said when it ends before it is ready, or is not there at all. */
export class RedisProcess {
  #child: ChildProcess | undefined

  private constructor(
    readonly port: number,
    readonly command: string,
  ) {}

  static async start(command = process.env.REDIS_SERVER ?? 'redis-server'): Promise<RedisProcess> {
    const redis = new RedisProcess(await freePort(), command)
    await redis.start()
    return redis
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`
  }

  get pid(): number {
    return this.#child?.pid ?? 0
  }

  /** Again on the same port, after a `kill`. */
  async start(): Promise<void> {
    const args = ['--port', `${this.port}`, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no']
    const child = spawn(this.command, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    this.#child = child
    const end = () => void child.kill('SIGKILL')
    process.once('exit', end)
    child.once('exit', () => process.off('exit', end))
    await accepting(child)
  }

  async kill(): Promise<void> {
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
}

function accepting(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let said = ''
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      said += text
      if (said.includes(READY)) resolve()
    })
    child.once('error', reject)
    child.once('exit', () => reject(new Error(`redis-server ended:\n${said}`)))
  })
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

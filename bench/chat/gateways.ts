/** Several gateway processes that serve the sockets of one engine over a Redis of their own. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { ServerProcess } from '../scan/server-process.js'
import { type Usage, usageOf } from './usage.js'

const REDIS_SERVER = 'redis-server'

export interface Redis {
  readonly url: string
  stop(): Promise<void>
}

/** A Redis that keeps nothing; null where this machine has none. */
export async function startRedis(): Promise<Redis | null> {
  const port = await freePort()
  const memoryOnly = ['--bind', '127.0.0.1', '--save', '', '--appendonly', 'no']
  const child = spawn(REDIS_SERVER, ['--port', String(port), ...memoryOnly], { stdio: ['ignore', 'pipe', 'inherit'] })
  if (!(await accepts(child))) return null
  const stop = async () => {
    const ended = once(child, 'exit')
    child.kill('SIGTERM')
    await ended
  }
  return { url: `redis://127.0.0.1:${port}`, stop }
}

function accepts(child: ChildProcess): Promise<boolean> {
  return new Promise((resolve) => {
    let said = ''
    child.stdout?.on('data', (chunk: Buffer) => {
      said += chunk
      if (said.includes('Ready to accept connections')) resolve(true)
    })
    child.once('error', () => resolve(false))
    child.once('exit', () => resolve(false))
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

export async function startGateways(folder: string, redis: Redis, count: number): Promise<ServerProcess[]> {
  const settings = { REDIS_URL: redis.url }
  return Promise.all(Array.from({ length: count }, () => ServerProcess.start(folder, [], settings, 'gateway')))
}

/** Of all of them together. */
export async function usageOfAll(gateways: readonly ServerProcess[]): Promise<Usage> {
  const usages = await Promise.all(gateways.map(({ url }) => usageOf(url)))
  return {
    cpuSeconds: usages.reduce((sum, { cpuSeconds }) => sum + cpuSeconds, 0),
    rssBytes: usages.reduce((sum, { rssBytes }) => sum + rssBytes, 0),
  }
}

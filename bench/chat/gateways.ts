/** Several gateway processes that serve the sockets of one engine over a Redis of their own. */
import { RedisProcess } from '../redis-process.js'
import { ServerProcess } from '../scan/server-process.js'
import { type Usage, usageOf } from './usage.js'

/** Null where this machine has none. */
export async function startRedis(): Promise<RedisProcess | null> {
  try {
    return await RedisProcess.start()
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null
    throw error
  }
}

export async function startGateways(folder: string, redis: RedisProcess, count: number): Promise<ServerProcess[]> {
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

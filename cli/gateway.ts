/** `comptroller gateway`: sockets in a process of their own, with a graceful end. */
import pino from 'pino'
import { startGateway } from '../gateway-server.js'
import { readSettings } from '../settings.js'
import { CliError } from './api.js'

const STOP_TIMEOUT_MS = 15_000

export interface GatewayOptions {
  readonly redis?: string
  readonly port?: string
  readonly host?: string
}

/** Serves until SIGTERM or SIGINT. Options go before the environment. */
export async function runGateway({ redis, port, host }: GatewayOptions): Promise<void> {
  const given = { REDIS_URL: redis, PORT: port, HOST: host }
  const options = Object.entries(given).filter(([, value]) => value !== undefined)
  const { REDIS_URL, ...settings } = readSettings({ ...process.env, ...Object.fromEntries(options) })
  if (REDIS_URL === undefined) {
    throw new CliError('A gateway needs the Redis of its engine: --redis redis://… or REDIS_URL (docs/operating.md).')
  }
  const log = pino({ level: settings.LOG_LEVEL, name: 'gateway' })
  const gateway = await startGateway({ ...settings, REDIS_URL }, log)
  let isAsked = false
  const stop = (signal: string) => {
    if (isAsked) return
    isAsked = true
    log.info({ signal }, 'stopping')
    setTimeout(() => process.exit(1), STOP_TIMEOUT_MS).unref()
    void gateway.stop().then(() => {
      log.info('stopped')
      process.exit(0)
    })
  }
  process.on('SIGTERM', () => stop('SIGTERM'))
  process.on('SIGINT', () => stop('SIGINT'))
  process.stdout.write(`\n  The gateway is running at ${gateway.url}\n\n`)
}

/** `comptroller start`: the server in this process, with a graceful end. */
import pino from 'pino'
import pretty from 'pino-pretty'
import { JournalFailedError } from '../persistence/journal/failure.js'
import { startServer } from '../server.js'
import type { Settings } from '../settings.js'
import { exitCodeOf } from './exit-codes.js'

const STOP_TIMEOUT_MS = 30_000
const PARENT_CHECK_MS = 1_000

export async function start(settings: Settings): Promise<void> {
  const log = process.stdout.isTTY
    ? pino({ level: settings.LOG_LEVEL }, pretty({ colorize: true, ignore: 'pid,hostname', sync: true }))
    : pino({ level: settings.LOG_LEVEL })
  let stop: (() => Promise<void>) | undefined
  const onFatal = (error: Error) => {
    const explained = error instanceof JournalFailedError ? error.message : 'cannot go on; the next start recovers'
    log.fatal({ err: error }, explained)
    process.exit(exitCodeOf(error))
  }
  const server = await startServer(settings, log, onFatal)
  const shutDown = (why: string) => {
    if (stop === undefined) return
    const stopping = stop
    stop = undefined
    log.info({ why }, 'stopping')
    const timer = setTimeout(() => onFatal(new Error(`not stopped within ${STOP_TIMEOUT_MS} ms`)), STOP_TIMEOUT_MS)
    stopping().then(() => {
      clearTimeout(timer)
      log.info('stopped')
      process.exit(0)
    }, onFatal)
  }
  stop = () => server.stop()
  process.once('SIGTERM', () => shutDown('SIGTERM'))
  process.once('SIGINT', () => shutDown('SIGINT'))
  if (process.env.npm_lifecycle_event !== undefined) stopWithParent(() => shutDown('npm is gone'))

  process.stdout.write(`\n  Comptroller is running at ${server.url}\n  API documentation: ${server.url}/docs\n`)
  if (server.generatedAdminPassword !== null) {
    process.stdout.write(
      `  Administrator: ${settings.ADMIN_EMAIL}\n  Password (shown only now): ${server.generatedAdminPassword}\n`,
    )
  }
  process.stdout.write('  Make it move: npx comptroller traffic\n\n')
}

/** npm and its shell die of a SIGTERM without passing it on; this process would be left behind. */
function stopWithParent(onGone: () => void): void {
  const parent = process.ppid
  setInterval(() => {
    if (process.ppid !== parent) onGone()
  }, PARENT_CHECK_MS).unref()
}

/** `comptroller start`: the server in this process, with a graceful end. */
import pino, { type Logger } from 'pino'
import pretty from 'pino-pretty'
import { JournalFailedError } from '../persistence/journal/failure.js'
import { type Server, startServer } from '../server.js'
import type { Settings } from '../settings.js'
import { exitCodeOf } from './exit-codes.js'

const STOP_TIMEOUT_MS = 30_000
/** How long a stop that is asked for during the start waits for it, to stop in order. */
const START_PATIENCE_MS = 3_000
const PARENT_CHECK_MS = 1_000

export async function start(settings: Settings): Promise<void> {
  const log = process.stdout.isTTY
    ? pino({ level: settings.LOG_LEVEL }, pretty({ colorize: true, ignore: 'pid,hostname', sync: true }))
    : pino({ level: settings.LOG_LEVEL })
  const onFatal = (error: Error) => {
    const explained = error instanceof JournalFailedError ? error.message : 'cannot go on; the next start recovers'
    log.fatal({ err: error }, explained)
    process.exit(exitCodeOf(error))
  }
  let server: Server | undefined
  let isAsked = false
  let leaving: NodeJS.Timeout | undefined
  // Every signal is listened to: a second one must not end the process in the middle of its stop.
  const shutDown = (why: string) => {
    if (isAsked) return
    isAsked = true
    log.info({ why }, 'stopping')
    if (server !== undefined) stop(server, log, onFatal)
    else leaving = setTimeout(() => leaveUnstarted(log), START_PATIENCE_MS)
  }
  process.on('SIGTERM', () => shutDown('SIGTERM'))
  process.on('SIGINT', () => shutDown('SIGINT'))
  if (process.env.npm_lifecycle_event !== undefined) stopWithParent(() => shutDown('npm is gone'))
  server = await startServer(settings, log, onFatal)
  clearTimeout(leaving)
  if (isAsked) return stop(server, log, onFatal)

  process.stdout.write(`\n  Comptroller is running at ${server.url}\n  API documentation: ${server.url}/docs\n`)
  if (server.generatedAdminPassword !== null) {
    process.stdout.write(
      `  Administrator: ${settings.ADMIN_EMAIL}\n  Password (shown only now): ${server.generatedAdminPassword}\n`,
    )
  }
  process.stdout.write('  Make it move: npx comptroller traffic\n\n')
}

function stop(server: Server, log: Logger, onFatal: (error: Error) => void): void {
  const timer = setTimeout(() => onFatal(new Error(`not stopped within ${STOP_TIMEOUT_MS} ms`)), STOP_TIMEOUT_MS)
  server.stop().then(() => {
    clearTimeout(timer)
    log.info('stopped')
    process.exit(0)
  }, onFatal)
}

/** Nothing was promised to anybody yet. An embedded Postgres is left running; the next start finds it. */
function leaveUnstarted(log: Logger): void {
  log.info('stopped before the start was complete')
  process.exit(0)
}

/** npm and its shell die of a SIGTERM without passing it on; this process would be left behind. */
function stopWithParent(onGone: () => void): void {
  const parent = process.ppid
  setInterval(() => {
    if (process.ppid !== parent) onGone()
  }, PARENT_CHECK_MS).unref()
}

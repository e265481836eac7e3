// Gets one Postgres process running on a cluster, or finds the one that already does.
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, fstatSync, openSync } from 'node:fs'
import { createServer } from 'node:net'
import { setPriority } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { DomainError } from '../../engine/errors.js'
import { spawnOptionsFor } from './account.js'
import type { Binaries } from './binaries.js'
import { type Cluster, logTail, SUPERUSER } from './cluster.js'
import { errorCode, probe } from './connection.js'
import { findPostmaster, goneWithin, isAlive, readPidFile, signalIfAlive } from './postmaster.js'

const START_DEADLINE_MS = 60_000
const READY_POLL_MS = 20
const RETRY_DELAY_MS = 200
const ADOPTED_POLL_MS = 200
const CHILD_ABORT_MS = 5_000
/** Below the range systems give to outgoing connections, so that the port is still free at a restart. */
const [PORT_MIN, PORT_MAX] = [15_432, 32_767]
const PORT_TRIES_MAX = 100

export interface LaunchOptions {
  readonly cluster: Cluster
  readonly binaries: Binaries
  readonly password: string
  /** Undefined lets Postgres have any free one. */
  readonly port: number | undefined
  readonly signal: AbortSignal
}

export interface RunningPostgres {
  readonly pid: number
  readonly port: number
  /** True when it was running before. */
  readonly adopted: boolean
  /** Resolves with the reason when the process ends. */
  readonly exited: Promise<string>
  /** Stops observing a process that goes on without us. */
  forget(): void
}

/** It shares the machine with the thread that decides, and what it does can wait: it is written behind. */
const NICENESS = 5

/** The address of a database of the cluster; it carries the password. */
export const urlOf = (port: number, password: string, database: string) =>
  `postgres://${SUPERUSER}:${password}@127.0.0.1:${port}/${database}`

/** Resolves when a Postgres of this cluster answers queries, within 60 seconds. */
export async function launch(options: LaunchOptions): Promise<RunningPostgres> {
  const deadline = performance.now() + START_DEADLINE_MS
  for (;;) {
    const found = await findPostmaster(options.cluster.dataFolder)
    const running = await (found === undefined ? start(options, deadline) : adopt(options, found, deadline))
    if (running) return running
    if (performance.now() > deadline) throw await tooLate(options, 'it ended again and again')
    await sleep(RETRY_DELAY_MS, undefined, { signal: options.signal })
  }
}

async function adopt(options: LaunchOptions, pid: number, deadline: number): Promise<RunningPostgres | undefined> {
  const port = await whenReady(options, pid, deadline)
  if (port === undefined) return undefined
  if (options.port !== undefined && port !== options.port) {
    throw new DomainError('unavailable', 'postgres_moved', `Postgres now listens on ${port}, not ${options.port}`)
  }
  const { exited, forget } = watchProcess(pid)
  return { pid, port, adopted: true, exited, forget }
}

function watchProcess(pid: number): { exited: Promise<string>; forget(): void } {
  let timer: NodeJS.Timeout | undefined
  const exited = new Promise<string>((resolve) => {
    timer = setInterval(() => {
      if (isAlive(pid)) return
      clearInterval(timer)
      resolve('the process is gone')
    }, ADOPTED_POLL_MS).unref()
  })
  return { exited, forget: () => clearInterval(timer) }
}

/** Undefined when the attempt failed in a way that another may not. */
async function start(options: LaunchOptions, deadline: number): Promise<RunningPostgres | undefined> {
  const { cluster, binaries } = options
  const port = options.port ?? (await freePort())
  const logFd = openSync(cluster.logFile, 'a', 0o600)
  const logStart = fstatSync(logFd).size
  // Its own session and our log file only: it outlives us without holding our terminal's signals or pipes.
  const child = spawn(binaries.postgres, settings(cluster.dataFolder, port), {
    ...spawnOptionsFor(cluster.account),
    stdio: ['ignore', logFd, logFd],
    detached: true,
  })
  closeSync(logFd)
  child.unref()
  const exited = exitOf(child)
  const { pid } = child
  if (pid === undefined) throw new DomainError('unavailable', 'postgres_failed', await exited)
  setPriority(pid, NICENESS)
  try {
    if ((await whenReady(options, pid, deadline)) !== undefined) {
      return { pid, port, adopted: false, exited, forget: () => {} }
    }
  } catch (error) {
    signalIfAlive(pid, 'SIGQUIT')
    await goneWithin(pid, CHILD_ABORT_MS)
    throw error
  }
  const said = await logTail(cluster.logFile, logStart)
  if (mayPass(said)) return undefined
  throw new DomainError('unavailable', 'postgres_failed', `Postgres did not start (${await exited}): ${said}`)
}

function exitOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.once('error', (error) => resolve(error.message))
    child.once('exit', (code, signal) => resolve(signal === null ? `exit code ${code}` : `killed by ${signal}`))
  })
}

/** The port was taken meanwhile, another process started it first, or children of a killed one are still leaving. */
const mayPass = (log: string) => /could not (bind|create any TCP)|lock file|shared memory block/.test(log)

/** The port once the process answers; undefined when it ends before that. */
async function whenReady(options: LaunchOptions, pid: number, deadline: number): Promise<number | undefined> {
  let reason = 'it is starting up or recovering'
  while (isAlive(pid)) {
    options.signal.throwIfAborted()
    const file = await readPidFile(options.cluster.dataFolder)
    if (file?.pid === pid && file.ready) {
      const refusal = await probe(urlOf(file.port, options.password, 'postgres'))
      if (refusal === undefined) return file.port
      reason = refusal
    }
    if (performance.now() > deadline) throw await tooLate(options, `pid ${pid}: ${reason}`)
    await sleep(READY_POLL_MS)
  }
  return undefined
}

async function tooLate({ cluster }: LaunchOptions, reason: string): Promise<DomainError> {
  const tail = await logTail(cluster.logFile, 0).catch(() => '')
  const message = `Postgres was not ready within ${START_DEADLINE_MS / 1000} s (${reason}). Its log ends: ${tail}`
  return new DomainError('unavailable', 'postgres_start_timeout', message)
}

function settings(dataFolder: string, port: number): string[] {
  const values = {
    listen_addresses: '127.0.0.1',
    port: String(port),
    unix_socket_directories: '',
    max_connections: '40',
    shared_buffers: '256MB',
    max_wal_size: '2GB',
    checkpoint_timeout: '15min',
    wal_compression: 'on',
    synchronous_commit: 'on',
    timezone: 'UTC',
    log_timezone: 'UTC',
    log_destination: 'stderr',
    logging_collector: 'off',
    log_line_prefix: '%m [%p] %a ',
    cluster_name: 'comptroller',
  }
  return ['-D', dataFolder, ...Object.entries(values).flatMap(([name, value]) => ['-c', `${name}=${value}`])]
}

async function freePort(): Promise<number> {
  for (let tries = 0; tries < PORT_TRIES_MAX; tries++) {
    const port = PORT_MIN + Math.floor(Math.random() * (PORT_MAX - PORT_MIN + 1))
    if (await isFree(port)) return port
  }
  throw new DomainError('unavailable', 'postgres_no_port', `No free port between ${PORT_MIN} and ${PORT_MAX}`)
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', (error) => (errorCode(error) === 'EADDRINUSE' ? resolve(false) : reject(error)))
    server.listen({ host: '127.0.0.1', port }, () => server.close(() => resolve(true)))
  })
}

/**
 * The write-behind of one shard, seen from its thread. The work is done by a worker that tails the journal.
 *
 * P2 A worker that dies is started again; it goes on from the mark in Postgres.
 */
import { Worker } from 'node:worker_threads'
import type { Logger } from 'pino'
import { assert } from '../../engine/assert.js'
import { defaultProjectorLimits, type ProjectorLimits } from './limits.js'
import type { AppliedReport, FromWorker, ToWorker, WorkerSetup } from './protocol.js'

const RESTART_DELAY_MS = 1_000
/** A batch lives as long as its transaction; with the default, much of it would be copied to the old generation. */
const YOUNG_GENERATION_MB = 64

export interface ProjectorOptions {
  readonly url: string
  /** Of the shard's journal. */
  readonly directory: string
  readonly shard: string
  readonly log: Logger
  readonly limits?: Partial<ProjectorLimits>
}

export interface ProjectorStats {
  /** `paused` by us, `blocked` by one record that nothing gets past. */
  readonly state: 'ok' | 'retrying' | 'blocked' | 'paused'
  /** Why it is retrying or blocked, and what to do. */
  readonly lastError: string | null
  /** The record that blocks it; 0 when none does. */
  readonly blockedSeq: number
  /** Every record up to here is in Postgres. */
  readonly appliedSeq: number
  /** Of the last batch. */
  readonly lagMs: number
  readonly batchMillis: number
  readonly batchRecords: number
  /** Since the start of this process. */
  readonly rows: number
  readonly parkedRows: number
  readonly retries: number
}

type Lifecycle =
  | { readonly is: 'new' | 'stopped' }
  | { readonly is: 'running'; readonly worker: Worker }
  | { readonly is: 'restarting'; readonly timer: NodeJS.Timeout }

export class Projector {
  readonly #setup: WorkerSetup
  readonly #log: Logger
  readonly #listeners: ((report: AppliedReport) => void)[] = []
  readonly #parkedListeners: ((count: number) => void)[] = []
  #lifecycle: Lifecycle = { is: 'new' }
  #durableSeq = 0
  #announcedSeq = 0
  #announceTimer: NodeJS.Timeout | undefined
  #isPaused = false
  #stats: ProjectorStats = {
    state: 'ok',
    lastError: null,
    blockedSeq: 0,
    appliedSeq: 0,
    lagMs: 0,
    batchMillis: 0,
    batchRecords: 0,
    rows: 0,
    parkedRows: 0,
    retries: 0,
  }

  constructor({ url, directory, shard, log, limits }: ProjectorOptions) {
    this.#setup = { url, directory, shard, limits: { ...defaultProjectorLimits, ...limits } }
    this.#log = log
  }

  get stats(): ProjectorStats {
    return this.#isPaused ? { ...this.#stats, state: 'paused' } : this.#stats
  }

  /** Call it when the shard has recovered, so that it can take what `onApplied` reports. */
  start(): void {
    assert(this.#lifecycle.is === 'new', 'a projector starts once')
    this.#spawn()
  }

  /** Every record up to `durableSeq` is durable and may be applied. Cheap; call it as often as you like. */
  announce(durableSeq: number): void {
    this.#durableSeq = durableSeq
    if (this.#announceTimer !== undefined || this.#lifecycle.is !== 'running') return
    this.#postAnnouncement(this.#lifecycle.worker)
    this.#announceTimer = setTimeout(() => {
      this.#announceTimer = undefined
      if (this.#durableSeq > this.#announcedSeq) this.announce(this.#durableSeq)
    }, this.#setup.limits.announceIntervalMs)
  }

  /** Writes nothing to Postgres for a while; a batch under way is finished. */
  pause(isPaused: boolean): void {
    this.#isPaused = isPaused
    if (this.#lifecycle.is === 'running') this.#post(this.#lifecycle.worker, { kind: 'pause', isPaused })
  }

  /** Calls back with what is found applied at the start, and after each commit. */
  onApplied(listener: (report: AppliedReport) => void): void {
    this.#listeners.push(listener)
  }

  /** Calls back with how many rows were parked, after they were. */
  onParked(listener: (count: number) => void): void {
    this.#parkedListeners.push(listener)
  }

  /**
   * Ends the worker: with `drain`, once everything announced is applied or `drainMaxMs` have passed, otherwise at
   * once, like a crash. Either way nothing is lost: the next start goes on from the mark.
   */
  async stop({ drain }: { readonly drain: boolean }): Promise<void> {
    const lifecycle = this.#lifecycle
    this.#lifecycle = { is: 'stopped' }
    clearTimeout(this.#announceTimer)
    if (lifecycle.is === 'restarting') clearTimeout(lifecycle.timer)
    if (lifecycle.is !== 'running') return
    if (drain) await this.#drain(lifecycle.worker)
    await lifecycle.worker.terminate()
  }

  async #drain(worker: Worker): Promise<void> {
    const throughSeq = this.#durableSeq
    const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()))
    this.#postAnnouncement(worker)
    this.#post(worker, { kind: 'drain' })
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, this.#setup.limits.drainMaxMs)
    })
    await Promise.race([ended, late])
    clearTimeout(timer)
    const left = throughSeq - this.#stats.appliedSeq
    if (left > 0) this.#log.warn({ records: left }, 'stopping before everything is in Postgres; the next start goes on')
  }

  #spawn(): void {
    const worker = new Worker(new URL('./worker.js', import.meta.url), {
      workerData: this.#setup,
      name: 'projector',
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MB },
    })
    this.#lifecycle = { is: 'running', worker }
    worker.on('message', (message: FromWorker) => this.#onMessage(message))
    worker.on('error', (error) => this.#log.error({ err: error }, 'the projector failed'))
    worker.on('exit', () => this.#onExit(worker))
    if (this.#isPaused) this.#post(worker, { kind: 'pause', isPaused: true })
    this.#postAnnouncement(worker)
  }

  // P2
  #onExit(worker: Worker): void {
    if (this.#lifecycle.is !== 'running' || this.#lifecycle.worker !== worker) return
    this.#log.error({ delayMs: RESTART_DELAY_MS }, 'the projector ended unexpectedly, restarting it')
    this.#lifecycle = { is: 'restarting', timer: setTimeout(() => this.#spawn(), RESTART_DELAY_MS) }
  }

  #postAnnouncement(worker: Worker): void {
    this.#announcedSeq = this.#durableSeq
    this.#post(worker, { kind: 'announce', durableSeq: this.#durableSeq })
  }

  #post(worker: Worker, message: ToWorker): void {
    worker.postMessage(message)
  }

  #onMessage(message: FromWorker): void {
    switch (message.kind) {
      case 'applied':
        this.#onAppliedReport(message)
        break
      case 'retrying':
        this.#onTrouble('retrying', explain(message), 0)
        this.#stats = { ...this.#stats, retries: this.#stats.retries + 1 }
        break
      case 'blocked':
        this.#onTrouble('blocked', message.error, message.seq)
        break
      case 'parked':
        this.#log.error({ rows: message.rows, count: message.count }, 'Postgres refused rows: they are parked')
        this.#stats = { ...this.#stats, parkedRows: this.#stats.parkedRows + message.count }
        for (const listener of this.#parkedListeners) listener(message.count)
        break
    }
  }

  /** Logged when it begins and when it becomes another trouble, not at every attempt. */
  #onTrouble(state: 'retrying' | 'blocked', lastError: string, blockedSeq: number): void {
    const before = this.#stats
    const isNews = before.state !== state || (state === 'blocked' && before.lastError !== lastError)
    const isDiskNews = lastError.startsWith(OUT_OF_DISK) && !before.lastError?.startsWith(OUT_OF_DISK)
    if (isNews || isDiskNews) {
      const what = state === 'blocked' ? 'write-behind is blocked' : 'Postgres does not take records; retrying'
      this.#log.error({ error: lastError, ...(state === 'blocked' ? { seq: blockedSeq } : {}) }, what)
    }
    this.#stats = { ...before, state, lastError, blockedSeq }
  }

  #onAppliedReport(report: AppliedReport): void {
    const { appliedSeq, lagMs, batchMillis, records, rows } = report
    // That Postgres answers does not mean yet that it takes what failed before.
    const isWell = records > 0 || appliedSeq >= this.#announcedSeq
    const hasPassed = appliedSeq >= this.#stats.blockedSeq
    if (isWell && hasPassed && this.#stats.state !== 'ok') {
      this.#log.info({ appliedSeq }, 'Postgres takes records again')
      this.#stats = { ...this.#stats, state: 'ok', lastError: null, blockedSeq: 0 }
    }
    this.#stats = {
      ...this.#stats,
      appliedSeq,
      lagMs,
      batchMillis,
      batchRecords: records,
      rows: this.#stats.rows + rows,
    }
    for (const listener of this.#listeners) listener(report)
  }
}

const OUT_OF_DISK = 'Postgres is out of disk space'
const DISK_FULL = '53100'

function explain({ error, errorCode }: { readonly error: string; readonly errorCode: string }): string {
  if (errorCode !== DISK_FULL) return error
  return `${OUT_OF_DISK} (${error}). Make room on its disk; write-behind then goes on by itself.`
}

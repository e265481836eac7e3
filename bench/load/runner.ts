import { assert } from '../../engine/assert.js'
import { nap, setSharpNaps } from './nap.js'
import { type LoadResult, nowMicros } from './result.js'
import { type LoadOptions, type Loop, Run } from './run.js'

export type { LoadOptions } from './run.js'

/** How long to load: by time or by count. Warm-up comes on top. */
export type ClosedLoopOptions = LoadOptions & ({ readonly durationMs: number } | { readonly requests: number })

export type OpenLoopOptions = LoadOptions & {
  readonly ratePerSecond: number
  readonly durationMs: number
  /** Requests that may be due and wait for a free connection; more are counted as unsent. */
  readonly backlogMax?: number
}

const BACKLOG_MAX = 100_000
/** A request written this long after it was due counts as late. */
const LATE_AFTER_MICROS = 1_000
/** How long an open loop goes on working off its backlog once its schedule has ended. */
const BACKLOG_DRAIN_MICROS = 1_000_000
/** When the next request is further off than this, a timer waits for it; nearer, naps do: timers tick in milliseconds. */
const TIMER_FROM_MICROS = 2_500

/** Every connection sends its next request when the last one is answered: measures what a server can take. */
export function runClosedLoop(options: ClosedLoopOptions): Promise<LoadResult> {
  return new Run(options, (run) => new ClosedLoop(run, options)).complete()
}

/**
 * Sends on a fixed schedule and counts latency from the moment a request was due, so that a server that stalls is
 * charged for every request it kept waiting (no coordinated omission).
 */
export function runOpenLoop(options: OpenLoopOptions): Promise<LoadResult> {
  return new Run(options, (run) => new OpenLoop(run, options)).complete()
}

class ClosedLoop implements Loop {
  private readonly durationMicros: number
  private readonly requestsMax: number
  private until = 0
  private exhausted = false

  constructor(
    private readonly run: Run,
    private readonly options: ClosedLoopOptions,
  ) {
    this.durationMicros = 'durationMs' in options ? ((options.warmupMs ?? 0) + options.durationMs) * 1000 : Infinity
    this.requestsMax = 'requests' in options ? options.requests : Infinity
  }

  started(startMicros: number): void {
    this.until = startMicros + this.durationMicros
  }

  free(connection: number): void {
    if (this.exhausted || this.run.tally.requests >= this.requestsMax || nowMicros() >= this.until) return
    const request = this.options.next(connection)
    if (request === null) this.exhausted = true
    else this.run.send(connection, request, nowMicros())
  }

  /** A connection that is not refilled at once never will be. */
  finished(): boolean {
    return true
  }

  stopped(): void {
    this.exhausted = true
  }
}

class OpenLoop implements Loop {
  private readonly backlog: Backlog
  private readonly idle: number[] = []
  private readonly intervalMicros: number
  private readonly scheduledMax: number
  private startedAt = 0
  private scheduled = 0
  private exhausted = false
  private timer: NodeJS.Timeout | null = null

  constructor(
    private readonly run: Run,
    private readonly options: OpenLoopOptions,
  ) {
    const { ratePerSecond, durationMs, warmupMs = 0, backlogMax = BACKLOG_MAX } = options
    assert(ratePerSecond > 0, 'an open loop needs a rate')
    this.backlog = new Backlog(backlogMax)
    this.intervalMicros = 1e6 / ratePerSecond
    this.scheduledMax = Math.round(((warmupMs + durationMs) / 1000) * ratePerSecond)
  }

  started(startMicros: number): void {
    this.startedAt = startMicros
    setSharpNaps(true)
    this.tick()
  }

  free(connection: number): void {
    this.idle.push(connection)
    this.dispatch()
  }

  finished(): boolean {
    return this.run.alive === 0 || this.exhausted || (this.scheduleEnded() && this.backlog.size === 0)
  }

  stopped(): void {
    this.exhausted = true
    setSharpNaps(false)
    if (this.timer !== null) clearTimeout(this.timer)
    while (this.backlog.size > 0) this.run.drop(this.backlog.take())
  }

  private scheduleEnded(): boolean {
    return this.scheduled >= this.scheduledMax
  }

  private dueAt(ordinal: number): number {
    return this.startedAt + ordinal * this.intervalMicros
  }

  private readonly tick = (): void => {
    if (this.exhausted) return
    const now = nowMicros()
    while (!this.scheduleEnded() && this.dueAt(this.scheduled) <= now) {
      const due = this.dueAt(this.scheduled++)
      if (!this.backlog.add(due)) this.run.drop(due)
    }
    this.dispatch()
    if (this.finished()) this.run.endIfFinished()
    else if (!this.scheduleEnded()) this.waitUntil(this.dueAt(this.scheduled))
  }

  private dispatch(): void {
    if (this.backlog.size === 0 || this.idle.length === 0) return
    const now = nowMicros()
    const tooLate = now > this.dueAt(this.scheduledMax) + BACKLOG_DRAIN_MICROS
    while (this.backlog.size > 0 && this.idle.length > 0 && !this.exhausted) {
      if (tooLate) this.run.drop(this.backlog.take())
      else this.dispatchOne(now)
    }
  }

  private dispatchOne(now: number): void {
    const connection = this.idle.shift() ?? 0
    const request = this.options.next(connection)
    if (request === null) {
      this.backlog.clear()
      this.exhausted = true
      return
    }
    const due = this.backlog.take()
    if (now - due > LATE_AFTER_MICROS && this.run.isMeasured(due)) this.run.tally.late++
    this.run.send(connection, request, due)
  }

  private waitUntil(dueMicros: number): void {
    const waitMicros = dueMicros - nowMicros()
    if (waitMicros > TIMER_FROM_MICROS) {
      this.timer = setTimeout(this.tick, Math.floor((waitMicros - TIMER_FROM_MICROS) / 1000))
      return
    }
    if (waitMicros > 0) {
      const before = nowMicros()
      nap(waitMicros)
      this.run.meter.napped(nowMicros() - before)
    }
    setImmediate(this.tick)
  }
}

/** The due times of requests that wait for a connection, oldest first. */
class Backlog {
  size = 0
  private first = 0
  private readonly due: Float64Array

  constructor(sizeMax: number) {
    this.due = new Float64Array(sizeMax)
  }

  /** False when full. */
  add(dueMicros: number): boolean {
    if (this.size === this.due.length) return false
    this.due[(this.first + this.size++) % this.due.length] = dueMicros
    return true
  }

  take(): number {
    const due = this.due[this.first] ?? 0
    this.first = (this.first + 1) % this.due.length
    this.size--
    return due
  }

  clear(): void {
    this.size = 0
  }
}

/**
 * What closed and open loop share: the connections, the counting, the end of a run.
 *
 * L1 Every request sent after the warm-up is counted once in `requests` and once as an outcome.
 * L2 A run ends: when nothing has been answered for `patienceMs` what is in flight becomes UNKNOWN.
 */
import { assert } from '../../engine/assert.js'
import { DomainError } from '../../engine/errors.js'
import { KeepAliveClient, UNSENT } from './http-client.js'
import { GeneratorMeter, type LoadResult, nowMicros, Tally } from './result.js'

export interface LoadOptions {
  readonly host: string
  readonly port: number
  readonly connections: number
  /** The request a connection (0 … connections - 1) is about to send; null ends the run. */
  readonly next: (connection: number) => Buffer | string | null
  /**
   * Called for every outcome, warm-up included. `status` may be UNKNOWN or UNSENT (http-client.ts). `body` is null
   * unless `wantBody`, and valid during the call only. `connection` tells which request of `next` this was.
   */
  readonly onResponse?: (status: number, latencyMicros: number, body: Buffer | null, connection: number) => void
  readonly wantBody?: boolean
  /** Load before measuring starts; 0 by default. */
  readonly warmupMs?: number
  /** How long the run waits when nothing is answered any more; 10 s by default. */
  readonly patienceMs?: number
  /** See {@link KeepAliveClient}, C4. */
  readonly reconnectsMax?: number
}

/** What a loop does with the connections of its run. */
export interface Loop {
  /** Called once, when every connection has been tried. */
  started(startMicros: number): void
  /** A connection can take a request. */
  free(connection: number): void
  /** Nothing is in flight: is that the end? */
  finished(): boolean
  /** The run is over, whatever the loop still had in mind. */
  stopped(): void
}

const PATIENCE_MS = 10_000
const CONNECTIONS_MAX = 50_000

export class Run {
  readonly tally = new Tally()
  readonly meter = new GeneratorMeter()
  private readonly loop: Loop
  private readonly clients: KeepAliveClient[]
  /** Per connection: the moment its request's latency counts from. */
  private readonly since: Float64Array
  private measuredFrom = 0
  private inFlight = 0
  private quietSince = 0
  private lastAnswerAt = 0
  private over = false
  private readonly timers: NodeJS.Timeout[] = []
  private onEnd: (() => void) | null = null

  constructor(
    private readonly options: LoadOptions,
    makeLoop: (run: Run) => Loop,
  ) {
    this.loop = makeLoop(this)
    const { connections, host, port, wantBody = false, reconnectsMax } = options
    assert(connections > 0 && connections <= CONNECTIONS_MAX, `1 to ${CONNECTIONS_MAX} connections`)
    const client = { host, port, wantBody, ...(reconnectsMax === undefined ? {} : { reconnectsMax }) }
    this.since = new Float64Array(connections)
    this.clients = Array.from(
      this.since,
      (_, connection) => new KeepAliveClient(client, (status, body) => this.outcome(connection, status, body)),
    )
  }

  /** Connections still usable. */
  get alive(): number {
    return this.clients.length - this.tally.connectionsLost
  }

  /** Connects, drives the loop to its end and reports. */
  async complete(): Promise<LoadResult> {
    await this.connect()
    const { warmupMs = 0, patienceMs = PATIENCE_MS } = this.options
    const startedAt = nowMicros()
    this.measuredFrom = startedAt + warmupMs * 1000
    this.quietSince = startedAt
    this.meter.restart()
    if (warmupMs > 0) this.timers.push(setTimeout(() => this.meter.restart(), warmupMs))
    this.timers.push(setInterval(() => this.checkPatience(patienceMs * 1000), patienceMs / 4))
    await new Promise<void>((resolve) => {
      this.onEnd = resolve
      this.loop.started(startedAt)
      this.clients.forEach((client, connection) => {
        if (!client.closed) this.loop.free(connection)
      })
      this.endIfFinished()
    })
    const until = this.lastAnswerAt || nowMicros()
    return this.tally.result(Math.max(0, until - this.measuredFrom) / 1e6, this.meter.read())
  }

  /** Sends a request whose latency counts from `sinceMicros`, its due time in an open loop. */
  send(connection: number, request: Buffer | string, sinceMicros: number): void {
    if (this.inFlight === 0) this.quietSince = nowMicros()
    this.inFlight++
    this.since[connection] = sinceMicros
    if (this.isMeasured(sinceMicros)) this.tally.requests++ // L1
    this.clients[connection]?.send(request)
  }

  /** Counts a request that was due but will not be sent. */
  drop(dueMicros: number): void {
    if (!this.isMeasured(dueMicros)) return
    this.tally.requests++ // L1
    this.tally.outcome(UNSENT, 0)
  }

  isMeasured(micros: number): boolean {
    return micros >= this.measuredFrom
  }

  endIfFinished(): void {
    if (this.inFlight > 0 || this.onEnd === null || !(this.over || this.loop.finished())) return
    for (const timer of this.timers) clearTimeout(timer)
    this.stop()
    this.onEnd()
    this.onEnd = null
  }

  private async connect(): Promise<void> {
    const opened = await Promise.all(this.clients.map((client) => client.open()))
    this.tally.connectionsLost = opened.filter((open) => !open).length
    if (this.alive > 0) return
    const { host, port } = this.options
    throw new DomainError('unavailable', 'load_target_unreachable', `nothing accepts connections at ${host}:${port}`)
  }

  private outcome(connection: number, status: number, body: Buffer | null): void {
    const now = nowMicros()
    const since = this.since[connection] ?? now
    this.inFlight--
    this.quietSince = now
    if (status > 0) this.lastAnswerAt = now
    if (this.isMeasured(since)) this.tally.outcome(status, now - since) // L1
    this.options.onResponse?.(status, now - since, body, connection)
    if (!this.over) {
      if (this.clients[connection]?.closed) this.tally.connectionsLost++
      else this.loop.free(connection)
    }
    if (this.inFlight === 0) this.endIfFinished()
  }

  /** L2 */
  private checkPatience(patienceMicros: number): void {
    if (this.inFlight === 0 || nowMicros() - this.quietSince < patienceMicros) return
    this.stop()
  }

  private stop(): void {
    if (this.over) return
    this.over = true
    this.loop.stopped()
    for (const client of this.clients) client.close()
  }
}

/**
 * Keeps a connection to the server: one at a time, again and again until the session ends.
 *
 * X2 Comes back from every loss, later each time, at times that differ from client to client. A token that has expired is
 *    replaced at once.
 */
import { asChatError, type ChatError, isFinal } from './errors.js'
import type { Timers } from './timers.js'
import type { Connection, Wire } from './wire.js'

const BACK_OFF_MS = 1_000
const BACK_OFF_MS_MAX = 30_000
/** A connection that lasted so long was a good one. */
const STEADY_MS = 10_000

type State =
  | { readonly is: 'idle' }
  | { readonly is: 'connecting'; connection: Connection | null }
  | { readonly is: 'online'; readonly connection: Connection; readonly sinceMs: number }
  | { readonly is: 'waiting'; readonly callOff: () => void; readonly untilMs: number }
  | { readonly is: 'ended'; readonly code: string }

/** What the outside is told of it. */
export type LinkState =
  | { readonly is: 'idle' | 'connecting' | 'online' }
  | { readonly is: 'waiting'; readonly untilMs: number }
  | { readonly is: 'ended'; readonly code: string }

export interface LinkOptions {
  readonly wire: Wire
  readonly token: () => string | Promise<string>
  readonly timers: Timers
  readonly opened: (connection: Connection) => void
  readonly closed: () => void
  readonly said: (event: string, data: unknown) => void
  readonly changed: (state: LinkState) => void
}

export class Link {
  #state: State = { is: 'idle' }
  #failures = 0
  /** Why the server is about to close the connection. */
  #endCode: string | null = null

  constructor(readonly options: LinkOptions) {}

  get state(): LinkState {
    const state = this.#state
    if (state.is === 'ended' || state.is === 'waiting') return state
    return { is: state.is }
  }

  /** Connects now, if it is not connected. */
  start(): void {
    if (this.#state.is === 'connecting' || this.#state.is === 'online') return
    if (this.#state.is === 'waiting') this.#state.callOff()
    void this.#connect()
  }

  /** Only `start` brings it back. */
  stop(): void {
    this.#leave({ is: 'idle' })
  }

  /** The network is known to be gone: whatever the connection believes. */
  lost(): void {
    if (this.#state.is === 'connecting' || this.#state.is === 'online') this.#retry(null)
  }

  async #connect(): Promise<void> {
    const mine: State = { is: 'connecting', connection: null }
    this.#endCode = null
    this.#become(mine)
    let token: string
    try {
      token = await this.options.token()
    } catch (cause) {
      if (this.#state === mine) this.#refused(asChatError(cause))
      return
    }
    if (this.#state !== mine) return
    const connection = this.options.wire(token, {
      opened: () => {
        if (this.#state !== mine) return
        this.#become({ is: 'online', connection, sinceMs: this.options.timers.now() })
        this.options.opened(connection)
      },
      said: (event, data) => {
        if (this.#isOf(connection)) this.#hear(event, data)
      },
      closed: (refusal) => {
        if (this.#isOf(connection)) this.#closed(refusal)
      },
    })
    mine.connection = connection
  }

  #isOf(connection: Connection): boolean {
    return (this.#state.is === 'connecting' || this.#state.is === 'online') && this.#state.connection === connection
  }

  #hear(event: string, data: unknown): void {
    if (event === 'session:ended') this.#endCode = codeOf(data)
    this.options.said(event, data)
  }

  #closed(refusal: ChatError | null): void {
    if (refusal !== null) this.#refused(refusal)
    else if (this.#endCode === null) this.#retry(null)
    else if (this.#endCode === 'token_expired') this.#retry(0)
    else this.#leave({ is: 'ended', code: this.#endCode })
  }

  #refused(error: ChatError): void {
    if (isFinal(error)) this.#leave({ is: 'ended', code: error.code })
    else this.#retry(error.code === 'token_expired' && this.#failures === 0 ? 0 : null, error.retryAfterMs ?? 0)
  }

  #retry(soonerMs: number | null, atLeastMs = 0): void {
    const { timers } = this.options
    if (this.#state.is === 'online' && timers.now() - this.#state.sinceMs >= STEADY_MS) this.#failures = 0
    const spreadMs = Math.min(BACK_OFF_MS_MAX, BACK_OFF_MS * 2 ** this.#failures)
    const waitMs = soonerMs ?? Math.max(atLeastMs, spreadMs * (0.25 + 0.75 * timers.random()))
    this.#failures += 1
    const callOff = timers.after(waitMs, () => this.start())
    this.#leave({ is: 'waiting', callOff, untilMs: timers.now() + waitMs })
  }

  /** Ends what there is; the connection that is closed here is not heard any more. */
  #leave(next: State): void {
    const before = this.#state
    this.#state = next
    if (before.is === 'waiting') before.callOff()
    if (before.is === 'connecting' || before.is === 'online') before.connection?.close()
    if (before.is === 'online') this.options.closed()
    this.options.changed(this.state)
  }

  #become(state: State): void {
    this.#state = state
    this.options.changed(this.state)
  }
}

function codeOf(data: unknown): string {
  return typeof data === 'object' && data !== null && 'code' in data ? String(data.code) : 'session_ended'
}

/**
 * What we say and what is not known yet to have been said, in order, one at a time.
 *
 * X1 A message keeps its `client_id` until an answer to it is heard, so it is posted once; it is listed here until the
 *    channel has it. What was refused was not posted, and is tried again under another id: the server remembers answers.
 *    B1 `PENDING_MAX` wait at most.
 */
import { asChatError, ChatError, isUnheard } from './errors.js'
import type { Timers } from './timers.js'

export interface Draft {
  readonly text: string
  readonly media?: { readonly type: 'gif' | 'emote' | 'image'; readonly url?: string; readonly code?: string }
  /** The id of a message of the same channel. */
  readonly reply_to?: string
  /** As in ISO 639-1. */
  readonly language?: string
}

export interface Sent {
  readonly id: string
  readonly offset: number
  readonly number: number
}

export interface PendingMessage {
  readonly client_id: string
  readonly draft: Draft
  readonly since: number
  /** `waiting`: for the connection, or because we were too fast. `failed`: the server refused it. */
  readonly state: 'sending' | 'waiting' | 'failed'
  readonly error: ChatError | null
}

interface Entry {
  pending: PendingMessage
  /** It was not sent when it was written: it waits where others are told to be slower. */
  isLate: boolean
  sent: Sent | null
  settle: { resolve: (sent: Sent) => void; reject: (error: ChatError) => void } | null
}

export interface OutboxOptions {
  readonly timers: Timers
  readonly newId: () => string
  readonly post: (draft: Draft & { readonly client_id: string }) => Promise<Sent>
  readonly changed: () => void
}

const PENDING_MAX = 50
const SOON_MS = 1_000
/** Being told to wait for longer than this is a refusal. */
const WAIT_MS_MAX = 60_000

export class Outbox {
  #entries: Entry[] = []
  #isOpen = false
  #isSending = false
  #callOff: (() => void) | null = null
  /** Since we were told to be slower: so long between two messages. */
  #spacingMs = 0

  constructor(readonly options: OutboxOptions) {}

  get pending(): readonly PendingMessage[] {
    return this.#entries.map(({ pending }) => pending)
  }

  /** Resolves once it is posted; rejects with the server's refusal, and stays in the list as failed. */
  send(draft: Draft): Promise<Sent> {
    const { timers, newId, changed } = this.options
    if (this.#entries.length >= PENDING_MAX) {
      return Promise.reject(new ChatError('too_many_waiting', 'Too many messages wait to be sent already.'))
    }
    const isLate = !this.#isOpen || this.#isSending || this.#callOff !== null
    const state = isLate ? ('waiting' as const) : ('sending' as const)
    const pending = { client_id: newId(), draft, since: timers.now(), state, error: null }
    return new Promise((resolve, reject) => {
      this.#entries.push({ pending, isLate, sent: null, settle: { resolve, reject } })
      changed()
      void this.#flush()
    })
  }

  /** Sends again what was refused, from now on under another `client_id`. */
  retry(clientId: string): void {
    const entry = this.#find(clientId)
    if (entry?.pending.state !== 'failed') return
    this.#again(entry, null)
    void this.#flush()
  }

  /** Forgets what was refused. */
  discard(clientId: string): void {
    const entry = this.#find(clientId)
    if (entry?.pending.state === 'failed') this.#remove(entry)
  }

  /** The channel is up to date: what is still here was not heard of, or not posted. */
  open(): void {
    this.#isOpen = true
    void this.#flush()
  }

  /** The connection is gone. */
  close(): void {
    this.#isOpen = false
    this.#wake()
    for (const entry of this.#entries) {
      if (entry.pending.state !== 'sending' || entry.sent !== null) continue
      entry.isLate = true
      this.#show(entry, 'waiting', null)
    }
  }

  /** X1 The channel has a message of ours. */
  seen(clientId: string, sent: Sent): void {
    const entry = this.#find(clientId)
    if (entry === undefined) return
    entry.settle?.resolve(sent)
    this.#remove(entry)
  }

  /** X1 The channel is at this offset: what was posted up to it is in the channel, or is gone already. */
  reached(offset: number): void {
    for (const entry of [...this.#entries]) {
      if (entry.sent !== null && entry.sent.offset <= offset) this.#remove(entry)
    }
  }

  /** The channel is closed to us. */
  refuseAll(error: ChatError): void {
    for (const entry of [...this.#entries]) if (entry.sent === null) this.#fail(entry, error)
  }

  async #flush(): Promise<void> {
    if (this.#isSending || !this.#isOpen || this.#callOff !== null) return
    const entry = this.#entries.find(({ pending, sent }) => pending.state !== 'failed' && sent === null)
    if (entry === undefined) {
      this.#spacingMs = 0
      return
    }
    this.#isSending = true
    this.#show(entry, 'sending', null)
    try {
      const { draft, client_id } = entry.pending
      const sent = await this.options.post({ ...draft, client_id })
      entry.sent = sent
      entry.settle?.resolve(sent)
      if (this.#spacingMs > 0) this.#pause(this.#spacingMs)
      this.options.changed()
    } catch (cause) {
      this.#refused(entry, asChatError(cause))
    } finally {
      this.#isSending = false
    }
    void this.#flush()
  }

  #refused(entry: Entry, error: ChatError): void {
    if (!this.#entries.includes(entry)) return
    if (isUnheard(error)) {
      entry.isLate = true
      this.#show(entry, 'waiting', null)
      if (this.#isOpen) this.#pause(SOON_MS)
      return
    }
    const { retryAfterMs } = error
    if (entry.isLate && retryAfterMs !== null && retryAfterMs <= WAIT_MS_MAX) {
      this.#spacingMs = retryAfterMs
      this.#again(entry, error)
      this.#pause(retryAfterMs)
      return
    }
    this.#fail(entry, error)
  }

  /** X1 It was refused, and will be sent as if for the first time. */
  #again(entry: Entry, error: ChatError | null): void {
    entry.pending = { ...entry.pending, client_id: this.options.newId() }
    this.#show(entry, 'waiting', error)
  }

  #fail(entry: Entry, error: ChatError): void {
    entry.settle?.reject(error)
    entry.settle = null
    this.#show(entry, 'failed', error)
  }

  #pause(ms: number): void {
    this.#wake()
    this.#callOff = this.options.timers.after(ms, () => {
      this.#callOff = null
      void this.#flush()
    })
  }

  #wake(): void {
    this.#callOff?.()
    this.#callOff = null
  }

  #find(clientId: string): Entry | undefined {
    return this.#entries.find(({ pending }) => pending.client_id === clientId)
  }

  #remove(entry: Entry): void {
    this.#entries = this.#entries.filter((each) => each !== entry)
    this.options.changed()
  }

  #show(entry: Entry, state: PendingMessage['state'], error: ChatError | null): void {
    entry.pending = { ...entry.pending, state, error }
    this.options.changed()
  }
}

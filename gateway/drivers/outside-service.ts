/**
 * JSON over HTTP with a service of somebody else. Requests must be safe to repeat: one whose answer was lost is sent
 * again.
 *
 * H1 A call ends: every attempt has a timeout that covers the body, attempts and the waits between them are limited.
 * H2 The service sets the pace: it is asked again no earlier than its Retry-After says.
 * H3 What it answers is believed only if it has the expected shape; its size is limited (B1).
 * H4 The key goes to the configured address and nowhere else: redirects are not followed.
 */
import type { Logger } from 'pino'
import { z } from 'zod'
import type { Environment } from '../../engine/store.js'

const BACKOFF_FIRST_MS = 500
const RETRY_WAIT_MAX_MS = 10_000
const MESSAGE_LENGTH_MAX = 200
const WARN_INTERVAL_MS = 60_000
const TEMPORARY_STATUSES = new Set([408, 425, 429])

/** The service did not do what it was asked. The message is for operators: it may quote the service. */
export class ServiceError extends Error {
  override readonly name = 'ServiceError'

  constructor(
    message: string,
    /** Whether the same request can succeed later. */
    readonly isTemporary: boolean,
    readonly retryAfterMs?: number,
  ) {
    super(message.slice(0, MESSAGE_LENGTH_MAX))
  }
}

/** What a service says of a refusal, and whether it passes by itself where the status alone does not tell. */
export interface Refusal {
  readonly text: string
  readonly isTemporary?: boolean
}

export interface ServiceOptions {
  /** As logs call it. */
  readonly name: string
  readonly baseUrl: string
  readonly headers: Readonly<Record<string, string>>
  readonly environment: Pick<Environment, 'now' | 'wakeAt'>
  readonly log: Pick<Logger, 'warn'>
  /** For one attempt, with its body. */
  readonly timeoutMs: number
  readonly attemptsMax: number
  readonly answerBytesMax: number
  /** Reads the body of an answer that is no success; undefined where it is not of the service's form. */
  readonly explain: (body: unknown) => Refusal | undefined
}

/** What a client of a service needs of its operator: an account there. */
export interface AccountOptions {
  readonly apiKey: string
  readonly baseUrl: string
  readonly environment: Pick<Environment, 'now' | 'wakeAt'>
  readonly log: Pick<Logger, 'warn'>
  /** For one attempt. */
  readonly timeoutMs?: number
}

export interface ServiceRequest<Answer> {
  readonly path: string
  /** Sent as JSON by POST; without it the request is a GET. */
  readonly body?: object
  readonly answer: z.ZodType<Answer>
  readonly signal?: AbortSignal
}

export class OutsideService {
  #warnedAtMs = Number.NEGATIVE_INFINITY

  constructor(readonly options: ServiceOptions) {}

  /** Asks until there is an answer, a final refusal or no attempt left. Rejects with {@link ServiceError}. */
  async ask<Answer>(request: ServiceRequest<Answer>): Promise<Answer> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.askOnce(request)
      } catch (error) {
        const waitMs = this.#retryWaitMs(error, attempt)
        if (waitMs === null) throw this.#warned(error)
        await this.#wait(waitMs)
      }
    }
  }

  /** Asks once. Rejects with {@link ServiceError}. */
  async askOnce<Answer>(request: ServiceRequest<Answer>): Promise<Answer> {
    const { name, explain } = this.options
    const { response, text } = await this.#exchange(request)
    const body = parseJson(text)
    if (!response.ok) {
      const { text = 'no readable error', isTemporary } = explain(body) ?? {}
      const isOfTheMoment = response.status >= 500 || TEMPORARY_STATUSES.has(response.status)
      const retryAfterMs = readRetryAfter(response.headers, this.options.environment.now())
      const problem = `${name} answered ${response.status}: ${text}`
      throw new ServiceError(problem, isTemporary ?? isOfTheMoment, retryAfterMs)
    }
    const parsed = request.answer.safeParse(body)
    if (parsed.success) return parsed.data
    throw new ServiceError(`${name} gave an unreadable answer: ${z.prettifyError(parsed.error)}`, true)
  }

  async #exchange({ path, body, signal }: ServiceRequest<unknown>) {
    const { name, baseUrl, headers, timeoutMs, answerBytesMax } = this.options
    const timeout = AbortSignal.timeout(timeoutMs) // H1
    try {
      const response = await fetch(`${baseUrl}${path}`, {
        method: body === undefined ? 'GET' : 'POST',
        headers: { ...headers, accept: 'application/json', ...(body && { 'content-type': 'application/json' }) },
        ...(body && { body: JSON.stringify(body) }),
        redirect: 'error', // H4
        signal: signal === undefined ? timeout : AbortSignal.any([timeout, signal]),
      })
      return { response, text: await readText(response, answerBytesMax) }
    } catch (error) {
      throw new ServiceError(`${name} was not reached: ${reasonOf(error)}`, true)
    }
  }

  /** Null when there is no sense in asking again. */
  #retryWaitMs(error: unknown, attempt: number): number | null {
    if (!(error instanceof ServiceError) || !error.isTemporary || attempt >= this.options.attemptsMax) return null
    const waitMs = Math.max(BACKOFF_FIRST_MS * 2 ** (attempt - 1), error.retryAfterMs ?? 0) // H2
    return waitMs > RETRY_WAIT_MAX_MS ? null : waitMs
  }

  #wait(ms: number): Promise<void> {
    const { environment } = this.options
    return new Promise((resolve) => environment.wakeAt(environment.now() + ms, resolve))
  }

  /** A service that is down fails every call; one line a minute says so. */
  #warned(error: unknown): unknown {
    const { name, environment, log } = this.options
    const nowMs = environment.now()
    if (Math.abs(nowMs - this.#warnedAtMs) >= WARN_INTERVAL_MS) {
      this.#warnedAtMs = nowMs
      log.warn({ err: error }, `${name} does not do what it is asked`)
    }
    return error
  }
}

async function readText(response: Response, bytesMax: number): Promise<string> {
  const reader = response.body?.getReader()
  const chunks: Uint8Array[] = []
  let bytes = 0
  for (let part = await reader?.read(); part?.value !== undefined; part = await reader?.read()) {
    bytes += part.value.byteLength
    if (bytes > bytesMax) {
      await reader?.cancel()
      throw new Error(`the answer is larger than ${bytesMax} bytes`)
    }
    chunks.push(part.value)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Seconds or a date, as RFC 9110 has it. */
function readRetryAfter(headers: Headers, nowMs: number): number | undefined {
  const text = headers.get('retry-after')?.trim()
  if (!text) return undefined
  const seconds = Number(text)
  const waitMs = Number.isNaN(seconds) ? Date.parse(text) - nowMs : seconds * 1_000
  return Number.isFinite(waitMs) ? Math.max(0, Math.ceil(waitMs)) : undefined
}

/** fetch says "fetch failed" and keeps what happened in the cause. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message
}

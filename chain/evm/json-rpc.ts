/**
 * JSON-RPC over HTTP, in batches. Ours and not the transport of viem, because that one sorts the answers of a batch and
 * gives them out by position: with one answer missing, every payout behind it would get the receipt of its neighbour.
 * Here an answer belongs to the call whose id it carries, and a call without one has not been answered.
 */
import { performance } from 'node:perf_hooks'

export interface Call {
  readonly method: string
  readonly params: readonly unknown[]
}

export type Answer =
  | { readonly kind: 'result'; readonly result: unknown }
  /** The node answered that it will not or cannot. */
  | { readonly kind: 'error'; readonly code: number; readonly message: string; readonly data: unknown }
  /** Nobody answered this call; what it asked for may have happened. */
  | { readonly kind: 'silent'; readonly message: string }

export interface JsonRpcOptions {
  readonly url: string
  readonly timeoutMs: number
  /** Calls in one HTTP request. */
  readonly batchSizeMax: number
}

export class JsonRpc {
  #nextId = 1
  /** Of the last request that was answered. */
  latencyMs: number | null = null

  readonly #url: string
  readonly #headers: Readonly<Record<string, string>>

  constructor(private readonly options: JsonRpcOptions) {
    const url = new URL(options.url)
    const { username, password } = url
    const credentials = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString(
      'base64',
    )
    // `fetch` refuses addresses that carry a password.
    url.username = ''
    url.password = ''
    this.#url = url.href
    this.#headers = {
      'content-type': 'application/json',
      ...(username === '' ? {} : { authorization: `Basic ${credentials}` }),
    }
  }

  /** Never throws. Answers in the order of the calls; long lists go as several requests, all at once. */
  async all(calls: readonly Call[]): Promise<readonly Answer[]> {
    return (await Promise.all(this.#chunks(calls).map((chunk) => this.#request(chunk)))).flat()
  }

  /**
   * The same, one request after another: for transactions, that nodes like to see in the order of their nonces. What
   * would follow a request without an answer is not sent.
   */
  async inOrder(calls: readonly Call[]): Promise<readonly Answer[]> {
    const answers: Answer[] = []
    for (const chunk of this.#chunks(calls)) {
      const goesOn = answers.every(({ kind }) => kind !== 'silent')
      answers.push(...(goesOn ? await this.#request(chunk) : silent(chunk, 'it was not sent')))
    }
    return answers
  }

  #chunks(calls: readonly Call[]): readonly (readonly Call[])[] {
    const { batchSizeMax } = this.options
    const count = Math.ceil(calls.length / batchSizeMax)
    return Array.from({ length: count }, (_, i) => calls.slice(i * batchSizeMax, (i + 1) * batchSizeMax))
  }

  async #request(calls: readonly Call[]): Promise<readonly Answer[]> {
    const firstId = this.#nextId
    this.#nextId += calls.length
    const body = calls.map(({ method, params }, i) => ({ jsonrpc: '2.0', id: firstId + i, method, params }))
    const startedAt = performance.now()
    try {
      const response = await fetch(this.#url, {
        method: 'POST',
        headers: this.#headers,
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(this.options.timeoutMs), // covers the body as well
      })
      const text = await response.text()
      if (!response.ok) return silent(calls, `HTTP status ${response.status}`)
      this.latencyMs = Math.round(performance.now() - startedAt)
      return matchById(calls, firstId, JSON.parse(text))
    } catch (error) {
      return silent(calls, reason(error))
    }
  }
}

const silent = (calls: readonly Call[], message: string): readonly Answer[] =>
  calls.map(() => ({ kind: 'silent', message }))

/** Without the address asked, which may carry the key of an account. */
function reason(error: unknown): string {
  if (!(error instanceof Error)) return 'the request failed'
  if (error.name === 'TimeoutError') return 'no answer in time'
  if (error instanceof SyntaxError) return 'the answer is no JSON'
  const cause = error.cause as { readonly code?: string } | undefined
  return cause?.code ?? error.message
}

function matchById(calls: readonly Call[], firstId: number, parsed: unknown): readonly Answer[] {
  if (!Array.isArray(parsed)) {
    const whole = toAnswer(parsed)
    return silent(calls, whole.kind === 'error' ? `the batch was refused: ${whole.message}` : 'the answer is no batch')
  }
  const byId = new Map<unknown, unknown>(parsed.map((item) => [(item as { id?: unknown } | null)?.id, item]))
  return calls.map((_, i) => toAnswer(byId.get(firstId + i)))
}

function toAnswer(item: unknown): Answer {
  if (typeof item !== 'object' || item === null) return { kind: 'silent', message: 'the batch has no such answer' }
  if ('error' in item && typeof item.error === 'object' && item.error !== null) {
    const { code, message, data } = item.error as { code?: unknown; message?: unknown; data?: unknown }
    return { kind: 'error', code: Number(code), message: String(message), data }
  }
  if (!('result' in item)) return { kind: 'silent', message: 'neither result nor error in the answer' }
  return { kind: 'result', result: item.result }
}

/**
 * A signer in a process of its own, through its socket. A request that was cut off is asked again: the same intent is
 * signed once, however often it is asked for (S2, S4).
 */
import { Agent, request as httpRequest } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { z } from 'zod'
import { SignerUnavailable } from './errors.js'
import type { SignerStatus } from './service.js'
import type { Signer, SigningRequest, WalletName } from './signer.js'
import { addressSchema, failureSchema, fromFailure, paths, signedSchema, statusSchema } from './wire.js'

const CONNECTIONS_MAX = 8
const CALL_TIMEOUT_MS = 30_000
/** How long a signer that is being restarted is waited for. */
const RECONNECT_PATIENCE_MS = 3_000
const RECONNECT_DELAY_MIN_MS = 25
const RECONNECT_DELAY_MAX_MS = 500
const CONNECTION_ERRORS = new Set(['ECONNREFUSED', 'ECONNRESET', 'ENOENT', 'EPIPE', 'ENOTSOCK'])

export interface SignerClientOptions {
  /** SIGNER_SOCKET. */
  readonly socketPath: string
  readonly callTimeoutMs?: number
  readonly reconnectPatienceMs?: number
}

interface Answer {
  readonly status: number
  readonly body: string
}

export class SignerClient implements Signer {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS_MAX })

  constructor(private readonly options: SignerClientOptions) {}

  async address(wallet: WalletName): Promise<string> {
    const path = `${paths.address}?${new URLSearchParams({ wallet })}`
    return (await this.#call('GET', path, addressSchema)).address
  }

  /** Throws `SignerRefused`, `SignerUnavailable`. */
  async sign(requests: readonly SigningRequest[]): Promise<readonly string[]> {
    const body = { requests: requests.map(({ amount, ...rest }) => ({ ...rest, amount: amount.toString() })) }
    const { signed } = await this.#call('POST', paths.sign, signedSchema, JSON.stringify(body))
    if (signed.length === requests.length) return signed
    throw wrongAnswer(`${signed.length} signatures for ${requests.length} requests`)
  }

  status(): Promise<SignerStatus> {
    return this.#call('GET', paths.status, statusSchema)
  }

  async close(): Promise<void> {
    this.#agent.destroy()
  }

  async #call<Schema extends z.ZodType>(
    method: 'GET' | 'POST',
    path: string,
    schema: Schema,
    body?: string,
  ): Promise<z.output<Schema>> {
    const { status, body: text } = await this.#insist(method, path, body)
    let content: unknown
    try {
      content = JSON.parse(text)
    } catch {
      throw wrongAnswer(`status ${status}, and no JSON`)
    }
    if (status !== 200) {
      const failure = failureSchema.safeParse(content)
      throw failure.success ? fromFailure(failure.data) : wrongAnswer(`status ${status}`)
    }
    const parsed = schema.safeParse(content)
    if (!parsed.success) throw wrongAnswer('contents of another form')
    return parsed.data
  }

  /** Asks until there is an answer, or no time left. */
  async #insist(method: string, path: string, body: string | undefined): Promise<Answer> {
    const { socketPath, callTimeoutMs = CALL_TIMEOUT_MS, reconnectPatienceMs = RECONNECT_PATIENCE_MS } = this.options
    const signal = AbortSignal.timeout(callTimeoutMs)
    const startedAt = performance.now()
    for (let delayMs = RECONNECT_DELAY_MIN_MS; ; delayMs = Math.min(delayMs * 2, RECONNECT_DELAY_MAX_MS)) {
      try {
        return await this.#ask(method, path, body, signal)
      } catch (cause) {
        if (signal.aborted) {
          const message = `The signer at ${socketPath} has not answered for ${callTimeoutMs} ms. Ask again; see whether it is overloaded or its KMS is slow.`
          throw new SignerUnavailable('signer_timeout', message, { cause })
        }
        const isOfConnection = CONNECTION_ERRORS.has((cause as NodeJS.ErrnoException).code ?? '')
        if (!isOfConnection || performance.now() - startedAt > reconnectPatienceMs) throw unreachable(socketPath, cause)
        await sleep(delayMs)
      }
    }
  }

  #ask(method: string, path: string, body: string | undefined, signal: AbortSignal): Promise<Answer> {
    const { socketPath } = this.options
    return new Promise((resolve, reject) => {
      const headers = body === undefined ? {} : { 'content-length': Buffer.byteLength(body) }
      const request = httpRequest({ socketPath, method, path, headers, agent: this.#agent, signal }, (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.once('error', reject)
        response.once('end', () =>
          resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString('utf8') }),
        )
      })
      request.once('error', reject)
      request.end(body)
    })
  }
}

function unreachable(socketPath: string, cause: unknown): SignerUnavailable {
  const why = cause instanceof Error ? cause.message : String(cause)
  return new SignerUnavailable(
    'signer_unreachable',
    `No signer answers at ${socketPath} (${why}). Start it with \`comptroller signer\`, with the same SIGNER_SOCKET; what was asked for may be asked again.`,
    { cause },
  )
}

const wrongAnswer = (what: string) =>
  new SignerUnavailable('signer_answer_wrong', `The signer answered with ${what}. Are both of the same version?`)

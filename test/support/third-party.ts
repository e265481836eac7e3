/** Local servers that speak the APIs of OpenAI, Google and 7TV, do wrong what they are told to, and note all requests. */
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { pino } from 'pino'

interface TestScope {
  teardown(handler: () => unknown): unknown
}

/** Time that passes only when told to, and that can be waited for until somebody waits for it. */
export class TestTime {
  #nowMs = Date.UTC(2026, 10, 21)
  readonly #timers = new Set<{ at: number; callback: () => void }>()
  #onTimer = () => {}

  readonly now = () => this.#nowMs

  readonly wakeAt = (at: number, callback: () => void) => {
    const timer = { at, callback }
    this.#timers.add(timer)
    this.#onTimer()
    return () => void this.#timers.delete(timer)
  }

  get timers(): number {
    return this.#timers.size
  }

  pass(ms: number): void {
    const untilMs = this.#nowMs + ms
    for (;;) {
      const [next] = [...this.#timers].filter(({ at }) => at <= untilMs).sort((a, b) => a.at - b.at)
      if (next === undefined) break
      this.#timers.delete(next)
      this.#nowMs = Math.max(this.#nowMs, next.at)
      next.callback()
    }
    this.#nowMs = untilMs
  }

  /** Lets the next timer ring, as soon as there is one; resolves with how long it had been set for. */
  async ring(): Promise<number> {
    await this.planned()
    const waitMs = Math.min(...[...this.#timers].map(({ at }) => at)) - this.#nowMs
    this.pass(waitMs)
    return waitMs
  }

  /** Resolves when there is a timer. */
  async planned(): Promise<void> {
    if (this.#timers.size > 0) return
    await new Promise<void>((resolve) => {
      this.#onTimer = resolve
    })
  }
}

export interface LogLine {
  readonly msg: string
  readonly err?: { readonly message: string }
}

export function recordingLog() {
  const lines: LogLine[] = []
  return { lines, log: pino({ level: 'info' }, { write: (line: string) => lines.push(JSON.parse(line)) }) }
}

export interface Received {
  readonly target: string
  readonly headers: IncomingHttpHeaders
  readonly body: unknown
}

interface Answer {
  readonly status: number
  readonly body: unknown
}

/** What the server does instead of answering as the API would. */
export type Fault =
  | { readonly status: number; readonly body?: unknown; readonly headers?: Record<string, string> }
  | { readonly raw: string }
  | 'hang up'
  | 'silence'
  | 'half an answer'
  | 'half an answer, then silence'

export interface ThirdParty {
  readonly baseUrl: string
  readonly received: Received[]
  /** Each is done once, in turn; without any the API is spoken. */
  readonly faults: Fault[]
  /** Resolves with the next request. */
  asked(): Promise<void>
}

async function serve(t: TestScope, speak: (request: Received) => Answer, faults: Fault[]): Promise<ThirdParty> {
  const received: Received[] = []
  let onRequest = () => {}
  const asked = () =>
    new Promise<void>((resolve) => {
      onRequest = resolve
    })
  const server = createServer(async (request, response) => {
    const target = `${request.method} ${request.url}`
    const one = { target, headers: request.headers, body: await bodyOf(request) }
    received.push(one)
    onRequest()
    const fault = faults.shift()
    if (fault === undefined) reply(response, speak(one))
    else fail(response, fault, speak(one))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, received, faults, asked }
}

async function bodyOf(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk)
  return chunks.length === 0 ? undefined : JSON.parse(Buffer.concat(chunks).toString())
}

function reply(response: ServerResponse, { status, body }: Answer, headers: Record<string, string> = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers })
  response.end(JSON.stringify(body ?? {}))
}

function fail(response: ServerResponse, fault: Fault, answer: Answer): void {
  if (typeof fault === 'object') {
    if ('raw' in fault) response.end(fault.raw)
    else reply(response, { status: fault.status, body: fault.body }, fault.headers)
  } else if (fault === 'hang up') response.destroy()
  else if (fault !== 'silence') replyHalf(response, fault, answer)
}

function replyHalf(response: ServerResponse, fault: Fault, answer: Answer): void {
  const text = JSON.stringify(answer.body)
  response.writeHead(answer.status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) })
  response.write(text.slice(0, text.length / 2), () => {
    if (fault === 'half an answer') response.destroy()
  })
}

export const openAiKey = 'sk-test'

/** Flags texts that speak of killing, and most surely those of wiping out. */
export function startOpenAi(t: TestScope, ...faults: Fault[]): Promise<ThirdParty> {
  const refusal = (status: number, message: string, code: string) => ({
    status,
    body: { error: { message, type: 'invalid_request_error', param: null, code } },
  })
  const review = (text: string) => {
    const isViolent = /kill/.test(text)
    const isWorse = /wipe out/.test(text)
    const scores = { hate: 0.0075, violence: isViolent ? 0.96 : 0.001, 'violence/graphic': 0.02, illicit: null }
    return {
      flagged: isViolent || isWorse,
      categories: {
        ...{ hate: false, violence: isViolent, 'violence/graphic': false, illicit: null },
        'hate/threatening': isWorse,
      },
      category_scores: { ...scores, 'hate/threatening': isWorse ? 0.98 : 0.001 },
      category_applied_input_types: { hate: ['text'], violence: ['text'], 'violence/graphic': ['text'], illicit: [] },
    }
  }
  const speak = ({ target, headers, body }: Received) => {
    if (target !== 'POST /moderations') return refusal(404, 'Unknown request URL', 'unknown_url')
    if (headers.authorization !== `Bearer ${openAiKey}`) return refusal(401, 'Incorrect API key', 'invalid_api_key')
    const { model, input } = body as { model?: string; input?: string[] }
    if (model !== 'omni-moderation-latest') return refusal(404, 'No such model', 'model_not_found')
    if (!Array.isArray(input) || input.length === 0 || input.includes('') || !input.every(isWellFormed)) {
      return refusal(400, "'$.input' is invalid", 'invalid_input')
    }
    return { status: 200, body: { id: 'modr-1', model, results: input.map(review) } }
  }
  return serve(t, speak, faults)
}

export const googleKey = 'AIza-test'

/** Translates by putting the language in front; every text is Spanish. */
export function startGoogle(t: TestScope, ...faults: Fault[]): Promise<ThirdParty> {
  const speak = ({ target: path, headers, body }: Received) => {
    if (path !== 'POST /language/translate/v2') return googleRefusal(404, 'Not Found', 'notFound')
    if (headers['x-goog-api-key'] !== googleKey) return googleRefusal(400, 'API key not valid.', 'badRequest')
    const { q, target, format } = body as { q?: string[]; target?: string; format?: string }
    if (!Array.isArray(q) || q.length > 128) return googleRefusal(400, 'Too many text segments', 'invalid')
    if (!q.every(isWellFormed)) return googleRefusal(400, 'Invalid JSON payload received.', 'parseError')
    if (!/^(en|es|pt|de)$/.test(String(target))) return googleRefusal(400, 'Invalid Value', 'invalid')
    if (format !== 'text') return googleRefusal(400, 'HTML comes back escaped', 'invalid')
    const translations = q.map((text) => ({ translatedText: `${target}: ${text}`, detectedSourceLanguage: 'es' }))
    return { status: 200, body: { data: { translations } } }
  }
  return serve(t, speak, faults)
}

export function googleRefusal(code: number, message: string, reason: string) {
  return { status: code, body: { error: { code, message, errors: [{ message, domain: 'global', reason }] } } }
}

function isWellFormed(text: string): boolean {
  return !/\p{Surrogate}/u.test(text)
}

/** An emote as 7TV lists it. */
export function sevenTvEmote(name: string, { id = `01${name}`, host = '//cdn.7tv.app', data = {} } = {}) {
  const files = ['1x.avif', '1x.webp', '2x.avif', '2x.webp'].map((file) => ({
    name: file,
    static_name: file.replace('.', '_static.'),
    width: 64,
    height: 64,
    frame_count: 12,
    size: 7_000,
    format: file.endsWith('avif') ? 'AVIF' : 'WEBP',
  }))
  const url = `${host}/emote/${id}`
  const about = { id, name, flags: 0, lifecycle: 3, state: ['LISTED'], listed: true, animated: true }
  return { id, name, flags: 0, timestamp: 1, actor_id: null, data: { ...about, host: { url, files }, ...data } }
}

/** Serves the emotes of `sets`, which may change. */
export function startSevenTv(t: TestScope, sets: Record<string, unknown[]>, ...faults: Fault[]): Promise<ThirdParty> {
  const speak = ({ target }: Received) => {
    const [, id = ''] = /^GET \/emote-sets\/(\w+)$/.exec(target) ?? []
    const emotes = sets[id]
    if (emotes === undefined) {
      return {
        status: 404,
        body: { status_code: 404, status: 'Not Found', error: 'Unknown Emote Set', error_code: 70440 },
      }
    }
    const about = {
      id: '01GLOBAL',
      name: 'A set',
      flags: 2,
      tags: [],
      immutable: false,
      privileged: true,
      capacity: 50,
    }
    const listed = emotes.length === 0 ? {} : { emotes, emote_count: emotes.length }
    return { status: 200, body: { ...about, ...listed, owner: null } }
  }
  return serve(t, speak, faults)
}

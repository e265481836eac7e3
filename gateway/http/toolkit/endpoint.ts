import type { HttpRequest, HttpResponse } from 'uWebSockets.js'
import { isUtf8 } from 'node:buffer'
import type { z } from 'zod'
import { DomainError } from '../../../engine/errors.js'
import type { Plan, ServerContext } from './context.js'
import { Exchange } from './exchange.js'
import type { Principal } from './principal.js'
import { type FieldError, HttpProblem } from './problem.js'
import { singleHeadersOf } from './single-headers.js'
import { NOT_TEXT, unkeepableText } from './text.js'
import { UploadStream } from './upload.js'

const FIELD_ERRORS_MAX = 20
const IDEMPOTENCY_KEY = /^[\x21-\x7e]{1,128}$/
const STOPPING_RETRY_AFTER_MS = 2_000

/** What of the request head is needed later; uWS frees it when its callback returns. */
interface Head {
  readonly token: string | undefined
  readonly contentType: string
  /** uWS takes bytes beyond ASCII off the ends of a value: a key of nothing else is empty. */
  readonly idempotencyKey: string | undefined
  readonly params: readonly string[]
  readonly query: string
}

/** The uWS handler of a route. It stays synchronous as long as authentication and the handler do. */
export function endpoint(plan: Plan, server: ServerContext): (res: HttpResponse, req: HttpRequest) => void {
  return (res, req) => {
    const exchange = new Exchange(res, plan, server)
    try {
      begin(exchange, req)
    } catch (error) {
      exchange.fail(error)
    }
    exchange.leaveCallback()
  }
}

function begin(exchange: Exchange, req: HttpRequest): void {
  if (!identify(exchange, req)) return
  const head = readHead(exchange, req)
  if (exchange.server.stopping) throw stopping()
  if (exchange.server.inFlight > exchange.server.inFlightMax) throw overloaded()
  const principal = authenticate(exchange, head.token)
  if (principal instanceof Promise) {
    beginLater(exchange, head, principal)
    return
  }
  exchange.principal = principal
  accept(exchange, head)
  const { route } = exchange.plan
  if (route.upload !== undefined) {
    receiveUpload(exchange)
    run(exchange)
  } else if (route.body !== undefined) {
    receiveJson(exchange, (text) => runWithBody(exchange, text))
  } else {
    run(exchange)
  }
}

/** The token takes time to check: the body is received meanwhile, because uWS drops what nobody listens to. */
function beginLater(exchange: Exchange, head: Head, pending: Promise<Principal | undefined>): void {
  const { route } = exchange.plan
  const body = route.body === undefined ? undefined : new Promise<string>((resolve) => receiveJson(exchange, resolve))
  if (route.upload !== undefined) receiveUpload(exchange)
  const proceed = async () => {
    exchange.principal = await pending
    if (exchange.done) return
    accept(exchange, head)
    if (body === undefined) run(exchange)
    else runWithBody(exchange, await body)
  }
  proceed().catch((error: unknown) => exchange.fail(error))
}

/**
 * Learns what must be read before anything can be refused: address, origin and declared headers. False when the request
 * contradicts itself and is refused already.
 */
export function identify(exchange: Exchange, req: HttpRequest): boolean {
  const { server, plan } = exchange
  const { repeated, keySent } = singleHeadersOf(req)
  exchange.keySent = keySent
  if (server.clients.trustsProxies && req.getHeader('x-forwarded-for') !== '') {
    exchange.client = server.clients.ofRequest(exchange.res, req)
  }
  if (server.corsHeaders !== undefined) exchange.corsHeaders = server.corsHeaders.get(req.getHeader('origin'))
  const { headers } = plan.route
  if (headers !== undefined) {
    exchange.declaredHeaders = new Map(
      headers.map((name) => [name, req.getHeader(name)] as const).filter(([, v]) => v !== ''),
    )
  }
  if (repeated === undefined) return true
  exchange.failAndEnd(new HttpProblem(400, 'repeated_header', `The header ${repeated} may be sent once.`))
  return false
}

function readHead({ plan, keySent }: Exchange, req: HttpRequest): Head {
  const authorization = req.getHeader('authorization')
  return {
    token: authorization === '' ? undefined : bearerToken(authorization),
    contentType: plan.bodyType === undefined ? '' : req.getHeader('content-type'),
    idempotencyKey: keySent && plan.route.method !== 'GET' ? req.getHeader('idempotency-key') : undefined,
    params: plan.paramNames.length === 0 ? [] : plan.paramNames.map((_, index) => req.getParameter(index) ?? ''),
    query: plan.route.query === undefined ? '' : req.getQuery(),
  }
}

function bearerToken(authorization: string): string | undefined {
  if (authorization.startsWith('Bearer ')) return authorization.slice(7).trim()
  return /^bearer\s+(\S+)\s*$/i.exec(authorization)?.[1]
}

function authenticate(
  exchange: Exchange,
  token: string | undefined,
): Principal | undefined | Promise<Principal | undefined> {
  const { plan, server } = exchange
  if (plan.route.who === 'public') return recognise(exchange, token)
  if (token === undefined) {
    exchange.countAddress()
    throw new DomainError('unauthorized', 'unauthorized', 'Send an access token: Authorization: Bearer …')
  }
  let principal: Principal | Promise<Principal>
  try {
    principal = server.authenticate(token, exchange)
  } catch (error) {
    exchange.countAddress()
    throw error
  }
  if (principal instanceof Promise) exchange.countAddress()
  return principal
}

/** On public routes a token is optional, and one that is no good (any more) is as good as none. */
function recognise(
  exchange: Exchange,
  token: string | undefined,
): Principal | undefined | Promise<Principal | undefined> {
  exchange.countAddress()
  if (token === undefined) return undefined
  try {
    const principal = exchange.server.authenticate(token, exchange)
    return principal instanceof Promise ? principal.catch(anonymousIfUnauthorized) : principal
  } catch (error) {
    return anonymousIfUnauthorized(error)
  }
}

function anonymousIfUnauthorized(error: unknown): undefined {
  if (error instanceof DomainError && error.kind === 'unauthorized') return undefined
  throw error
}

/** Everything about the request except its body is checked here, in the order of who may know what. */
function accept(exchange: Exchange, head: Head): void {
  const { plan, principal } = exchange
  const { route } = plan
  exchange.countRoute()
  if (route.who === 'admin' && principal?.role !== 'admin') {
    throw new DomainError('forbidden', 'admin_only', 'Only administrators may do this.')
  }
  if (head.idempotencyKey !== undefined) exchange.idempotencyKey = checkIdempotencyKey(head.idempotencyKey)
  if (plan.bodyType !== undefined) checkContentType(head.contentType, plan.bodyType)
  if (route.params !== undefined) exchange.params = validate(route.params, paramsOf(plan, head.params), 'path')
  if (route.query !== undefined) exchange.query = validate(route.query, queryOf(head.query), 'query')
}

function checkIdempotencyKey(key: string): string {
  if (IDEMPOTENCY_KEY.test(key)) return key
  const message = 'An Idempotency-Key is 1 to 128 visible ASCII characters.'
  throw new DomainError('invalid', 'invalid_idempotency_key', message, { field: 'Idempotency-Key' })
}

function checkContentType(contentType: string, expected: string): void {
  if (contentType === expected) return
  if (contentType.split(';', 1)[0]?.trim().toLowerCase() === expected) return
  throw new HttpProblem(415, 'unsupported_media_type', `Send the body as ${expected}.`)
}

function paramsOf({ paramNames }: Plan, raw: readonly string[]): Record<string, string> {
  const params: Record<string, string> = {}
  for (let index = 0; index < paramNames.length; index++) params[paramNames[index] ?? ''] = decoded(raw[index] ?? '')
  return params
}

function decoded(segment: string): string {
  if (!segment.includes('%')) return segment
  try {
    return decodeURIComponent(segment)
  } catch {
    throw new HttpProblem(400, 'malformed_path', 'The path is not valid percent-encoded UTF-8.')
  }
}

/** A key given more than once becomes an array, for the schema to take or refuse. */
function queryOf(raw: string): Record<string, string | string[]> {
  const query: Record<string, string | string[]> = Object.create(null)
  for (const [key, value] of new URLSearchParams(raw)) {
    const earlier = query[key]
    query[key] = earlier === undefined ? value : [earlier, value].flat()
  }
  return query
}

function receiveJson(exchange: Exchange, received: (text: string) => void): void {
  const { bodyBytesMax } = exchange.server
  let chunks: Buffer[] | undefined
  let size = 0
  exchange.watchAbort()
  exchange.res.onData((chunk, isLast) => {
    if (!exchange.open) return
    exchange.corked = true
    size += chunk.byteLength
    if (size > bodyBytesMax) {
      refuseLarge(exchange, bodyBytesMax)
    } else if (!isLast) {
      chunks ??= []
      chunks.push(Buffer.from(chunk.slice(0)))
    } else {
      const bytes = chunks === undefined ? Buffer.from(chunk) : Buffer.concat([...chunks, Buffer.from(chunk)], size)
      if (isUtf8(bytes)) received(bytes.toString())
      else exchange.fail(malformedJson('The body is not UTF-8.'))
    }
    exchange.corked = false
  })
}

function receiveUpload(exchange: Exchange): void {
  const { uploadBytesMax } = exchange.server
  const upload = new UploadStream(exchange.res)
  let size = 0
  exchange.upload = upload
  exchange.body = upload
  exchange.watchAbort()
  exchange.res.onData((chunk, isLast) => {
    if (exchange.done) return
    size += chunk.byteLength
    if (size > uploadBytesMax) refuseLarge(exchange, uploadBytesMax)
    else upload.receive(chunk, isLast)
  })
}

function refuseLarge(exchange: Exchange, bytesMax: number): void {
  exchange.fail(new HttpProblem(413, 'body_too_large', `The body is larger than ${bytesMax} bytes.`))
}

const malformedJson = (message: string) => new HttpProblem(400, 'malformed_json', message)

function runWithBody(exchange: Exchange, text: string): void {
  const schema = exchange.plan.route.body
  try {
    const value = parseJson(text)
    // Only an escape can say what UTF-8 cannot, and most bodies have none.
    exchange.body = schema === undefined ? value : validate(schema, value, 'body', text.includes('\\u'))
  } catch (error) {
    exchange.fail(error)
    return
  }
  run(exchange)
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw malformedJson('The body is not valid JSON.')
  }
}

/** Calls the handler; an answer that is there at once is sent at once. */
function run(exchange: Exchange): void {
  let result: unknown
  try {
    result = exchange.plan.route.handle(exchange as never)
  } catch (error) {
    exchange.fail(error)
    return
  }
  if (result instanceof Promise) {
    result.then(
      (value) => exchange.succeed(value),
      (error: unknown) => exchange.fail(error),
    )
  } else {
    exchange.succeed(result)
  }
}

/** Parses `value`, or throws 422 `invalid_input` naming every invalid field. */
function validate<T>(schema: z.ZodType<T>, value: unknown, part: string, checkText = true): T {
  const result = schema.safeParse(value)
  if (!result.success) throw invalidInput(part, schemaErrors(result.error, part))
  const field = checkText ? unkeepableText(result.data) : undefined
  if (field !== undefined) throw invalidInput(part, [{ field, message: NOT_TEXT }])
  return result.data
}

function invalidInput(part: string, errors: readonly FieldError[]): HttpProblem {
  const message = `The ${part} is not valid: ${errors[0]?.field}: ${errors[0]?.message}`
  return new HttpProblem(422, 'invalid_input', message, { errors })
}

function schemaErrors({ issues }: z.ZodError, part: string): FieldError[] {
  return issues.slice(0, FIELD_ERRORS_MAX).map(({ path, message }) => ({ field: path.join('.') || part, message }))
}

function overloaded(): DomainError {
  return new DomainError('unavailable', 'overloaded', 'Too many requests are being worked on; try again.')
}

function stopping(): DomainError {
  const message = 'This server is stopping; try again.'
  return new DomainError('unavailable', 'stopping', message, { retryAfterMs: STOPPING_RETRY_AFTER_MS })
}

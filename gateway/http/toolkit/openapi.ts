import { z } from 'zod'
import { createDocument, type ZodOpenApiOperationObject, type ZodOpenApiResponsesObject } from 'zod-openapi'
import { problemSchema } from './problem.js'
import { isStream, type Route, type RouteError } from './route.js'

export interface ApiInfo {
  readonly title: string
  readonly version: string
  readonly description?: string
}

const idempotencyHeader = z.object({
  'Idempotency-Key': z.string().min(1).max(128).optional().meta({
    description: 'Names this request; sending it again with the same key has one effect and the same answer.',
  }),
})

/** The refusals of requests that no route takes, besides those of every route. */
export const unmatchedErrors: readonly RouteError[] = [
  { status: 404, code: 'no_such_path', when: 'There is nothing at this path.' },
  { status: 405, code: 'method_not_allowed', when: 'The path exists, but not for this method; see Allow.' },
]

/** Why any request may have to be sent again later. */
const unavailable: readonly (readonly [code: string, when: string])[] = [
  ['overloaded', 'Too many requests are being worked on.'],
  ['busy', 'Too many passwords or tokens are being checked.'],
  ['stopping', 'This server is stopping; another will answer.'],
  ['not_running', 'This server is starting or stopping.'],
  ['write_behind_lag', 'The database is too far behind.'],
  ['storage_unavailable', 'The database does not answer.'],
  ['journal_backlog', 'The journal cannot keep up.'],
  ['disk_full', 'This server is short of disk space.'],
]

/** The refusals every route shares, by what the route declares. */
export function commonErrors(route: Route): RouteError[] {
  const errors: RouteError[] = [{ status: 429, code: 'rate_limited', when: 'Too many requests; see Retry-After.' }]
  const add = (status: number, code: string, when: string) => errors.push({ status, code, when })
  const readsBody = route.body !== undefined || route.upload !== undefined
  add(400, 'repeated_header', 'A header that may come once, such as Content-Length, came twice.')
  if (route.who !== 'public') add(401, 'unauthorized', 'The access token is missing or wrong.')
  if (route.who !== 'public') add(401, 'token_expired', 'The access token has expired: refresh it.')
  if (route.who !== 'public') add(401, 'session_ended', 'The session has ended: log in again.')
  if (route.who !== 'public') add(403, 'account_suspended', 'The account is suspended.')
  if (route.who === 'admin') add(403, 'admin_only', 'The caller is not an administrator.')
  if (route.method !== 'GET') add(400, 'invalid_idempotency_key', 'The Idempotency-Key header has a wrong form.')
  if (route.params !== undefined) add(400, 'malformed_path', 'The path is not valid percent-encoded UTF-8.')
  if (route.body !== undefined) add(400, 'malformed_json', 'The body is not JSON in UTF-8.')
  if (readsBody) add(413, 'body_too_large', 'The body is larger than this server accepts.')
  if (readsBody) add(415, 'unsupported_media_type', 'The body has another content type than the one documented.')
  if (route.body !== undefined || route.params !== undefined || route.query !== undefined) {
    add(422, 'invalid_input', 'Path, query or body break their schema; `errors` names each field.')
  }
  add(500, 'internal', 'Something went wrong on our side.')
  for (const [code, when] of unavailable) add(503, code, when)
  return errors
}

/** The OpenAPI 3.1 document of the routes. */
export function openApiDocument(routes: readonly Route[], info: ApiInfo): ReturnType<typeof createDocument> {
  const paths: Record<string, Record<string, ZodOpenApiOperationObject>> = {}
  for (const route of routes) {
    const path = route.path.replace(/:(\w+)/g, '{$1}')
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operationOf(route) }
  }
  return createDocument({
    openapi: '3.1.0',
    info: { ...info },
    tags: [...new Set(routes.map(({ tag }) => tag))].map((name) => ({ name })),
    paths,
    components: {
      schemas: { Problem: problemSchema },
      securitySchemes: { bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' } },
    },
  })
}

function operationOf(route: Route): ZodOpenApiOperationObject {
  const { params, query, body, upload } = route
  return {
    operationId: operationId(route),
    tags: [route.tag],
    summary: route.summary,
    description: [route.description, whoMayCall[route.who]].filter(Boolean).join('\n\n'),
    security: route.who === 'public' ? [] : [{ bearer: [] }],
    requestParams: {
      ...(params && { path: params }),
      ...(query && { query }),
      ...(route.method !== 'GET' && { header: idempotencyHeader }),
    },
    ...(body && { requestBody: { required: true, content: { 'application/json': { schema: body } } } }),
    ...(upload && { requestBody: { required: true, content: { 'text/csv': { schema: { type: 'string' } } } } }),
    responses: { ...successOf(route), ...refusalsOf(route) },
  }
}

const whoMayCall = { public: 'Open to everyone.', member: 'For members.', admin: 'For administrators.' }

function operationId({ method, path }: Route): string {
  const words = path.split(/[^\w]+/).filter(Boolean)
  return method.toLowerCase() + words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('')
}

function successOf({ response, status = 200, summary }: Route): ZodOpenApiResponsesObject {
  const code = String(status) as '200'
  if (isStream(response))
    return { [code]: { description: summary, content: { [response.stream]: { schema: { type: 'string' } } } } }
  if (response instanceof z.ZodUndefined) return { [code]: { description: 'Done; the answer has no body.' } }
  return { [code]: { description: summary, content: { 'application/json': { schema: response } } } }
}

/** One response per status, naming the codes it can carry. */
function refusalsOf(route: Route): ZodOpenApiResponsesObject {
  const byStatus = new Map<number, RouteError[]>()
  for (const error of [...commonErrors(route), ...(route.errors ?? [])]) {
    byStatus.set(error.status, [...(byStatus.get(error.status) ?? []), error])
  }
  const entries = [...byStatus].map(([status, errors]) => {
    const description = errors.map(({ code, when }) => `\`${code}\`: ${when}`).join('\n\n')
    return [status, { description, content: { 'application/problem+json': { schema: problemSchema } } }] as const
  })
  return Object.fromEntries(entries)
}

import t, { type Test } from 'tap'
import { z } from 'zod'
import { DomainError, type ErrorKind } from '../engine/errors.js'
import { problemSchema } from '../gateway/http/toolkit/problem.js'
import { attachment, defineRoute, reply } from '../gateway/http/toolkit/route.js'
import { inFlight, rawExchange, startHttp } from './support/http.js'

const common = { tag: 'Test', summary: 'An example' } as const
const scanBody = z.object({ code: z.string().min(4), count: z.int().positive() }).meta({ id: 'ScanRequest' })

const submit = defineRoute({
  ...common,
  method: 'POST',
  path: '/v1/scans/:shop',
  who: 'member',
  params: z.object({ shop: z.string().regex(/^[a-z ]+$/) }),
  query: z.object({ dry: z.stringbool().optional(), tag: z.array(z.string()).optional() }),
  body: scanBody,
  headers: ['user-agent'],
  status: 201,
  response: z.object({ shop: z.string(), code: z.string(), dry: z.boolean(), by: z.string(), key: z.string() }),
  errors: [{ status: 409, code: 'code_used', when: 'Somebody scanned the code before.' }],
  handle: ({ params, query, body, principal, idempotencyKey }) => ({
    shop: params.shop,
    code: body.code,
    dry: query.dry ?? false,
    by: principal.userId,
    key: idempotencyKey ?? 'none',
  }),
})

const echo = defineRoute({
  ...common,
  method: 'GET',
  path: '/v1/echo/:text',
  who: 'public',
  params: z.object({ text: z.string() }),
  headers: ['accept-language', 'x-absent'],
  response: z.object({ text: z.string(), who: z.string(), language: z.string(), absent: z.boolean() }),
  handle: (request) => ({
    text: request.params.text,

    who: request.principal?.userId ?? 'nobody',
    language: request.header('accept-language') ?? 'any',
    absent: request.header('x-absent') === undefined,
  }),
})

const post = (url: string, body: string, headers: Record<string, string> = {}) =>
  fetch(url, {
    method: 'POST',
    body,
    headers: { authorization: 'Bearer member', 'content-type': 'application/json', ...headers },
  })

/** Checks that an answer is a well-formed problem of this status and code, and returns it. */
async function problem(test: Test, answer: Response, status: number, code: string) {
  test.equal(answer.status, status, code)
  test.equal(answer.headers.get('content-type'), 'application/problem+json')
  const body = problemSchema.parse(await answer.json())
  test.match(body, { status, code, type: `/docs/errors#${code}`, instance: /^\S+-\w+$/ })
  return body
}

t.test('a request that breaks its schema is answered with every invalid field', async (t) => {
  const { url } = await startHttp(t, [submit])
  const body = await problem(t, await post(`${url}/v1/scans/ny`, '{"code":"x","count":-1}'), 422, 'invalid_input')
  t.same(
    body.errors?.map(({ field }) => field),
    ['code', 'count'],
  )
  const deep = await problem(t, await post(`${url}/v1/scans/ny`, '[]'), 422, 'invalid_input')
  t.equal(deep.errors?.[0]?.field, 'body')
  const path = await problem(t, await post(`${url}/v1/scans/N1`, '{}'), 422, 'invalid_input')
  t.equal(path.errors?.[0]?.field, 'shop')
  const good = '{"code":"abcd","count":1,"__proto__":{"admin":true}}'
  const query = await problem(t, await post(`${url}/v1/scans/ny?dry=1&dry=0`, good), 422, 'invalid_input')
  t.equal(query.errors?.[0]?.field, 'dry')
  const answer = await post(`${url}/v1/scans/new%20york?dry=yes&tag=a&tag=b&__proto__=x`, good)
  t.equal(answer.status, 201)
  t.same(await answer.json(), { shop: 'new york', code: 'abcd', dry: true, by: 'u1', key: 'none' })
  await problem(t, await post(`${url}/v1/scans/%ff`, good), 400, 'malformed_path')
})

t.test('bodies that are not what they claim are refused, whatever their size', async (t) => {
  const { url, metrics } = await startHttp(t, [submit], { bodyBytesMax: 1_000 })
  const path = `${url}/v1/scans/ny`
  await problem(t, await post(path, '{"code":'), 400, 'malformed_json')
  await problem(t, await post(path, ''), 400, 'malformed_json')
  const latin1 = new Uint8Array(Buffer.from('{"code":"caf\xe9s","count":1}', 'latin1'))
  const headers = { authorization: 'Bearer member', 'content-type': 'application/json' }
  await problem(t, await fetch(path, { method: 'POST', headers, body: latin1 }), 400, 'malformed_json')
  await problem(t, await post(path, '{}', { 'content-type': 'text/plain' }), 415, 'unsupported_media_type')
  await problem(t, await post(path, '{}', { 'content-type': 'application/jsonx' }), 415, 'unsupported_media_type')
  const withCharset = { 'content-type': 'Application/JSON; charset=utf-8' }
  t.equal((await post(path, '{"code":"abcd","count":1}', withCharset)).status, 201)
  await problem(t, await post(path, `"${'x'.repeat(999)}"`), 413, 'body_too_large')
  await problem(t, await post(path, 'x'.repeat(20_000_000)), 413, 'body_too_large')
  t.equal(await inFlight(metrics), 0)
})

t.test('an idempotency key is 1 to 128 visible characters or refused', async (t) => {
  const { url } = await startHttp(t, [submit])
  const send = (key: string) => post(`${url}/v1/scans/ny`, '{"code":"abcd","count":1}', { 'idempotency-key': key })
  t.match(await (await send('a~!Z'.repeat(32))).json(), { key: 'a~!Z'.repeat(32) })
  for (const key of ['x'.repeat(129), 'two words', 'ca\xe9fe']) {
    t.match(await problem(t, await send(key), 400, 'invalid_idempotency_key'), { field: 'Idempotency-Key' })
  }
})

t.test('every kind of refusal has its status; what is unexpected is logged and not told', async (t) => {
  const kinds: readonly (readonly [ErrorKind, number])[] = [
    ['invalid', 400],
    ['unauthorized', 401],
    ['forbidden', 403],
    ['not_found', 404],
    ['conflict', 409],
    ['unprocessable', 422],
    ['too_many', 429],
    ['unavailable', 503],
  ]
  const routes = kinds.map(([kind]) =>
    defineRoute({
      ...common,
      method: 'GET',
      path: `/${kind}`,
      who: 'public',
      response: z.undefined(),
      handle: async () => {
        throw new DomainError(kind, `some_${kind}`, `because ${kind}`, { field: 'x', retryAfterMs: 1_001 })
      },
    }),
  )
  const leaky = defineRoute({
    ...common,
    method: 'GET',
    path: '/throws',
    who: 'public',
    response: z.undefined(),
    handle: () => {
      throw new Error('password=hunter2')
    },
  })
  const { url, failures } = await startHttp(t, [...routes, leaky])
  for (const [kind, status] of kinds) {
    const answer = await fetch(`${url}/${kind}`)
    const waits = answer.headers.get('retry-after')
    t.match(await problem(t, answer, status, `some_${kind}`), { detail: `because ${kind}`, field: 'x', retry_after: 2 })
    t.equal(waits, '2', 'rounded up')
    t.equal(answer.headers.get('www-authenticate'), kind === 'unauthorized' ? 'Bearer' : null)
  }
  t.equal(failures.length, 0)
  const body = await problem(t, await fetch(`${url}/throws`), 500, 'internal')
  t.notMatch(JSON.stringify(body), /hunter2|stack/)
  t.match(failures, [{ err: { message: 'password=hunter2' }, requestId: body.instance }])
})

t.test('only the right principals get in, and whoever was let in is never cached', async (t) => {
  const secret = defineRoute({
    ...common,
    method: 'GET',
    path: '/secret',
    who: 'admin',
    response: z.object({ role: z.string() }),
    handle: ({ principal }) => ({ role: principal.role }),
  })
  const { url } = await startHttp(t, [secret, submit, echo])
  const get = (path: string, token?: string) =>
    fetch(url + path, token === undefined ? {} : { headers: { authorization: token } })
  const refusal = await get('/secret')
  t.equal(refusal.headers.get('www-authenticate'), 'Bearer')
  await problem(t, refusal, 401, 'unauthorized')
  await problem(t, await get('/secret', 'Basic admin'), 401, 'unauthorized')
  await problem(t, await get('/secret', 'Bearer stolen'), 401, 'unauthorized')
  await problem(t, await get('/secret', 'Bearer late'), 401, 'unauthorized')
  await problem(t, await get('/secret', 'Bearer member'), 403, 'admin_only')
  await problem(t, await get('/secret', 'Bearer late-member'), 403, 'admin_only')
  const answer = await get('/secret', 'bearer admin')
  t.same(await answer.json(), { role: 'admin' })
  t.match(Object.fromEntries(answer.headers), {
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
  })
  const body = '{"code":"abcd","count":1}'
  t.match(await (await post(`${url}/v1/scans/ny`, body, { authorization: 'Bearer late-member' })).json(), { by: 'u1' })
  const refused = await post(`${url}/v1/scans/ny`, body, { authorization: 'Bearer late-stolen' })
  await problem(t, refused, 401, 'unauthorized')
  t.match(await (await get('/v1/echo/x', 'Bearer admin')).json(), { who: 'a1', language: '*', absent: true })
  t.match(await (await get('/v1/echo/x', 'Bearer stolen')).json(), { who: 'nobody' }, 'a bad token is as good as none')
  t.match(await (await get('/v1/echo/x', 'Bearer late')).json(), { who: 'nobody' })
})

t.test('paths and methods nobody serves: 404, 405, HEAD, OPTIONS and cross-origin preflights', async (t) => {
  const { url, port } = await startHttp(t, [submit, echo], { allowedOrigins: ['https://app.example'] })
  await problem(t, await fetch(`${url}/nowhere`), 404, 'no_such_path')
  const wrong = await fetch(`${url}/v1/echo/x`, { method: 'DELETE' })
  t.equal(wrong.headers.get('allow'), 'OPTIONS, GET, HEAD')
  await problem(t, wrong, 405, 'method_not_allowed')
  t.match(await rawExchange(port, 'BREW /v1/echo/x HTTP/1.1\r\nHost: a\r\n\r\n'), /^HTTP\/1.1 405 /)
  const head = await fetch(`${url}/v1/echo/x`, { method: 'HEAD' })
  const full = await (await fetch(`${url}/v1/echo/x`)).text()
  t.match([head.status, head.headers.get('content-length'), await head.text()], [200, String(full.length), ''])
  t.equal((await fetch(`${url}/nowhere`, { method: 'HEAD' })).status, 404)
  const options = await fetch(`${url}/v1/echo/x`, { method: 'OPTIONS' })
  t.match([options.status, options.headers.get('access-control-allow-origin')], [204, null])
  const from = (origin: string, method = 'OPTIONS') => fetch(`${url}/v1/echo/x`, { method, headers: { origin } })
  const preflight = (await from('https://app.example')).headers
  t.equal(preflight.get('access-control-allow-origin'), 'https://app.example')
  t.equal(preflight.get('access-control-allow-methods'), 'OPTIONS, GET, HEAD')
  t.match(preflight.get('access-control-allow-headers'), /authorization/)
  t.equal((await from('https://app.example', 'GET')).headers.get('access-control-allow-origin'), 'https://app.example')
  t.equal((await from('https://evil.example', 'GET')).headers.get('access-control-allow-origin'), null)
})

t.test('nothing a client or handler says can add a header to an answer', async (t) => {
  const redirect = defineRoute({
    ...common,
    method: 'GET',
    path: '/redirect',
    who: 'public',
    query: z.object({ to: z.string() }),
    response: z.undefined(),
    handle: ({ query }) => reply(undefined, { status: 302, headers: { Location: query.to } }),
  })
  const { url, port } = await startHttp(t, [echo, redirect])
  const follow = (to: string) => fetch(`${url}/redirect?to=${encodeURIComponent(to)}`, { redirect: 'manual' })
  const found = { location: '/here', 'cache-control': 'no-store', 'content-length': '0' }
  t.match(Object.fromEntries((await follow('/here')).headers), found)
  const split = await follow('/here\r\nset-cookie: a=b')
  t.equal(split.headers.get('set-cookie'), null)
  await problem(t, split, 500, 'internal')
  const echoed = await rawExchange(port, 'GET /v1/echo/x%0d%0aset-cookie:%20a=b HTTP/1.1\r\nHost: a\r\n\r\n')
  t.match(echoed, /^HTTP\/1.1 200 /)
  t.notMatch(echoed, /\nset-cookie/i)
  const offered = attachment('"tägliche"\r\nset-cookie: a=b.csv')['content-disposition']
  t.match(offered, /^attachment; filename="[\w.-]+"; filename\*=UTF-8''[\w.%-]+$/)
})

t.test('requests that smuggle, overflow or are not HTTP end their connection, not the server', async (t) => {
  const { url, port } = await startHttp(t, [submit, echo])
  const hostile = {
    'both lengths':
      'POST /v1/scans/ny HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    'negative length': 'POST /v1/scans/ny HTTP/1.1\r\nHost: a\r\nContent-Length: -3\r\n\r\nabc',
    'huge header': `GET /v1/echo/x HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(100_000)}\r\n\r\n`,
    'old protocol': 'GET /v1/echo/x HTTP/1.0\r\n\r\n',
    noise: '\x16\x03\x01\x02\x00\x01\x00\r\n\r\n',
  }
  for (const [name, request] of Object.entries(hostile)) {
    t.match(await rawExchange(port, request), /^$|^HTTP\/1.1 (400|431|505) /, name)
  }
  const two = 'GET /v1/echo/1 HTTP/1.1\r\nHost: a\r\n\r\nGET /v1/echo/2 HTTP/1.1\r\nHost: a\r\n\r\n'
  t.match(await rawExchange(port, two), /"text":"1".*"text":"2"/s, 'pipelined requests are answered in order')
  t.equal((await fetch(`${url}/v1/echo/x`)).status, 200)
})

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { z } from 'zod'
import { defineRoute } from '../gateway/http/toolkit/route.js'
import { serveStatic } from '../gateway/http/toolkit/static.js'
import { rawExchange, startHttp } from './support/http.js'

const common = { tag: 'Scanning', summary: 'An example' } as const
const scan = z.object({ code: z.string(), at: z.iso.datetime() }).meta({ id: 'Scan' })
const routes = [
  defineRoute({
    ...common,
    method: 'POST',
    path: '/v1/shops/:shop/scans',
    who: 'member',
    params: z.object({ shop: z.string() }),
    body: z.object({ code: z.string() }),
    status: 201,
    response: scan,
    errors: [{ status: 409, code: 'code_used', when: 'Somebody <scanned> the code before.' }],
    handle: ({ body }) => ({ code: body.code, at: 'not a date' }),
  }),
  defineRoute({
    ...common,
    method: 'GET',
    path: '/v1/shops/:shop/scans',
    who: 'public',
    params: z.object({ shop: z.string() }),
    query: z.object({ limit: z.coerce.number().int().max(100).optional() }),
    response: z.array(scan),
    handle: () => [],
  }),
  defineRoute({
    ...common,
    method: 'PUT',
    path: '/v1/codes',
    who: 'admin',
    upload: 'csv',
    response: { stream: 'text/csv' },
    handle: ({ body }) => body,
  }),
  defineRoute({
    ...common,
    method: 'DELETE',
    path: '/v1/me',
    who: 'member',
    status: 204,
    response: z.undefined(),
    handle: () => undefined,
  }),
]

interface Operation {
  readonly operationId: string
  readonly security: readonly object[]
  readonly parameters?: readonly { readonly name: string; readonly in: string }[]
  readonly requestBody?: { readonly content: Record<string, unknown> }
  readonly responses: Record<string, { readonly description: string; readonly content?: Record<string, unknown> }>
}

interface Document {
  readonly openapi: string
  readonly paths: Record<string, Record<string, Operation>>
}

t.test('the OpenAPI document says of every route what the server does', async (t) => {
  const { url } = await startHttp(t, routes)
  const text = await (await fetch(`${url}/openapi.json`)).text()
  const document = JSON.parse(text) as Document
  t.match(document, { openapi: /^3\.1/, info: { title: 'Test <API>', version: '1.2.3' } })
  for (const { method, path } of routes) {
    const operation = document.paths[path.replace(/:(\w+)/g, '{$1}')]?.[method.toLowerCase()]
    t.ok(operation, `${method} ${path}`)
  }
  for (const path of ['/healthz', '/readyz', '/metrics', '/openapi.json']) t.ok(document.paths[path]?.get, path)
  const ids = Object.values(document.paths).flatMap((path) => Object.values(path).map(({ operationId }) => operationId))
  t.equal(new Set(ids).size, ids.length, 'operation ids are unique')
  const refs = [...text.matchAll(/"\$ref":"#\/([^"]+)"/g)].map(([, ref]) => ref ?? '')
  t.ok(refs.length > 5)
  for (const ref of new Set(refs)) {
    const target = ref.split('/').reduce<unknown>((node, key) => (node as Record<string, unknown>)?.[key], document)
    t.type(target, 'object', `#/${ref} resolves`)
  }
  t.match(document.paths['/v1/shops/{shop}/scans']?.post, {
    security: [{ bearer: [] }],
    parameters: [
      { name: 'shop', in: 'path' },
      { name: 'Idempotency-Key', in: 'header' },
    ],
    requestBody: { content: { 'application/json': {} } },
    responses: {
      201: { content: { 'application/json': { schema: { $ref: '#/components/schemas/Scan' } } } },
      409: { description: /`code_used`/, content: { 'application/problem+json': {} } },
      413: { description: /`body_too_large`/ },
      422: { description: /`invalid_input`/ },
      429: { description: /`rate_limited`/ },
    },
  })
  const list = document.paths['/v1/shops/{shop}/scans']?.get
  t.same(list?.security, [])
  t.same(
    list?.parameters?.map(({ name }) => name),
    ['shop', 'limit'],
  )
  t.match(document.paths['/v1/codes']?.put, {
    requestBody: { content: { 'text/csv': {} } },
    responses: { 200: { content: { 'text/csv': {} } }, 403: { description: /`admin_only`/ } },
  })
  t.equal(document.paths['/v1/me']?.delete?.responses[204]?.content, undefined)
})

t.test('an answer that is not exactly what its schema documents fails where that is checked', async (t) => {
  const leaky = defineRoute({
    ...common,
    method: 'GET',
    path: '/leaky',
    who: 'public',
    response: z.object({ name: z.string(), seen: z.number().optional() }),
    handle: async () => ({ name: 'ann', seen: undefined, passwordHash: 'x' }),
  })
  const { url, failures } = await startHttp(t, [...routes, leaky], { checkResponses: true })
  t.equal((await fetch(`${url}/leaky`)).status, 500)
  t.match(failures.pop(), { err: { message: /does not document/ } })
  const headers = { authorization: 'Bearer member', 'content-type': 'application/json' }
  const answer = await fetch(`${url}/v1/shops/x/scans`, { method: 'POST', headers, body: '{"code":"x"}' })
  t.equal(answer.status, 500)
  t.match(failures, [{ err: { name: 'ZodError' } }])
  const deleted = await fetch(`${url}/v1/me`, { method: 'DELETE', headers })
  t.match([deleted.status, deleted.headers.get('content-type'), await deleted.text()], [204, null, ''])
})

t.test('the documentation pages load all they need from this server', async (t) => {
  const { url } = await startHttp(t, routes)
  const page = await fetch(`${url}/docs`)
  t.equal(page.url, `${url}/docs/`)
  t.match(page.headers.get('content-security-policy'), /default-src 'none'; script-src 'self'/)
  const html = await page.text()
  t.match(html, '<title>Test &#60;API&#62;</title>')
  const assets = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, asset]) => asset ?? '')
  t.equal(assets.length, 5)
  for (const asset of assets) {
    t.match(asset, /^[\w.-]+$/, 'is relative')
    const answer = await fetch(new URL(asset, page.url))
    t.equal(answer.status, 200, asset)
    t.match(answer.headers.get('content-type'), /^(text\/(css|javascript)|image\/png)/)
    t.ok((await answer.arrayBuffer()).byteLength > 100)
  }
  t.match(await (await fetch(`${url}/docs/start.js`)).text(), "new URL('../openapi.json', here)")
  const errors = await (await fetch(`${url}/docs/errors`)).text()
  t.match(
    errors,
    '<dt id="code_used"><code>code_used</code></dt><dd>409: Somebody &#60;scanned&#62; the code before.</dd>',
  )
  for (const code of ['invalid_input', 'rate_limited', 'not_ready', 'no_such_path'])
    t.match(errors, `<dt id="${code}">`)
})

t.test('static files: only what is there, typed, revalidated, and no way out of the directory', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'static-'))
  t.teardown(() => rmSync(directory, { recursive: true }))
  mkdirSync(join(directory, 'public', 'js'), { recursive: true })
  writeFileSync(join(directory, 'secret.txt'), 'secret')
  writeFileSync(join(directory, 'public', 'index.html'), '<h1>hello</h1>')
  writeFileSync(join(directory, 'public', 'js', 'app.js'), 'x'.repeat(3_000_000))
  const { url, port, server } = await startHttp(t, [])
  serveStatic(server.app, {
    urlPrefix: '/app',
    directory: join(directory, 'public'),
    headers: { 'x-frame-options': 'DENY' },
  })
  const page = await fetch(`${url}/app`)
  t.match([page.url, page.headers.get('content-type')], [`${url}/app/`, 'text/html; charset=utf-8'])
  t.equal(await page.text(), '<h1>hello</h1>')
  t.match(Object.fromEntries(page.headers), { 'x-frame-options': 'DENY', 'x-content-type-options': 'nosniff' })
  const etag = page.headers.get('etag') ?? ''
  const again = await fetch(`${url}/app/index.html`, { headers: { 'if-none-match': `"other", ${etag}` } })
  t.match([again.status, await again.text()], [304, ''])
  t.equal((await (await fetch(`${url}/app/js/app.js`)).text()).length, 3_000_000)
  const head = await fetch(`${url}/app/js/app.js`, { method: 'HEAD' })
  t.match([head.status, head.headers.get('content-length')], [200, '3000000'])
  for (const path of [
    '../secret.txt',
    '..%2fsecret.txt',
    '%2e%2e/secret.txt',
    'js/../../secret.txt',
    'js//app.js',
    '..\\secret.txt',
    'js/app.js%00',
    'js',
  ]) {
    t.match(await rawExchange(port, `GET /app/${path} HTTP/1.1\r\nHost: a\r\n\r\n`), /^HTTP\/1.1 404 /, path)
  }
  t.throws(() => serveStatic(server.app, { urlPrefix: '/x', files: { 'a.exe': '' } }), /no content type/)
})

t.test('health, readiness and metrics tell orchestrators the truth', async (t) => {
  const reasons: string[] = []
  const ready = () => ({ ok: reasons.length === 0, reasons })
  const { url } = await startHttp(t, routes, { ready })
  t.same(await (await fetch(`${url}/healthz`)).json(), { status: 'ok' })
  t.same(await (await fetch(`${url}/readyz`)).json(), { status: 'ok' })
  reasons.push('journal: disk full', 'postgres: behind')
  const refused = await fetch(`${url}/readyz`)
  t.match([refused.status, refused.headers.get('retry-after')], [503, '1'])
  t.match(await refused.json(), { code: 'not_ready', detail: 'Not ready: journal: disk full; postgres: behind' })
  t.equal((await fetch(`${url}/healthz`)).status, 200, 'still alive')
  await fetch(`${url}/v1/shops/a/scans`)
  await fetch(`${url}/v1/shops/b/scans?limit=1000`)
  const answer = await fetch(`${url}/metrics`)
  t.match(answer.headers.get('content-type'), /^text\/plain/)
  const metrics = await answer.text()
  const series = (suffix: string, labels: string) =>
    new RegExp(`^comptroller_http_request_duration_seconds_${suffix}\\{${labels}\\} (.+)$`, 'm').exec(metrics)?.[1]
  const route = 'route="/v1/shops/:shop/scans",method="GET"'
  t.equal(series('count', `${route},status="200"`), '1')
  t.equal(series('count', `${route},status="422"`), '1')
  t.equal(series('bucket', `${route},status="200",le="\\+Inf"`), '1')
  t.ok(Number(series('sum', `${route},status="200"`)) > 0)
  t.match(metrics, /^comptroller_http_requests_in_flight 1$/m, 'this one')
})

t.test('handlers are typed by what their route declares', (t) => {
  const base = { ...common, method: 'GET', path: '/x' } as const
  const tier = z.object({ tier: z.enum(['gold', 'silver']), names: z.array(z.string()) })
  defineRoute({ ...base, who: 'public', response: tier, handle: async () => ({ tier: 'gold', names: ['a'] }) })
  defineRoute({ ...base, who: 'member', response: z.undefined(), handle: async ({ principal }) => void principal.role })
  // @ts-expect-error a public caller may be unknown
  defineRoute({ ...base, who: 'public', response: z.string(), handle: ({ principal }) => principal.userId })
  // @ts-expect-error the header is not declared
  defineRoute({ ...base, who: 'public', response: z.string(), headers: ['accept'], handle: (r) => `${r.header('x')}` })
  // @ts-expect-error the answer is not what is documented
  defineRoute({ ...base, who: 'public', response: tier, handle: () => ({ tier: 'bronze', names: [] }) })
  // @ts-expect-error no body is declared
  defineRoute({ ...base, method: 'POST', who: 'public', response: z.string(), handle: ({ body }) => body.text })
  t.end()
})

t.test('a route that contradicts itself does not start', (t) => {
  const base = { ...common, method: 'GET', who: 'public', response: z.undefined(), handle: () => undefined } as const
  t.throws(() => defineRoute({ ...base, path: '/x/:id' }), /params differ/)
  t.throws(() => defineRoute({ ...base, path: '/x', params: z.object({ id: z.string() }) }), /params differ/)
  t.throws(() => defineRoute({ ...base, path: '/x', body: z.object({}) }), /reads no body/)
  t.throws(() => defineRoute({ ...base, method: 'POST', path: '/x', body: z.object({}), upload: 'csv' }), /exclude/)
  const byId = defineRoute({ ...base, path: '/x/:id', params: z.object({ id: z.string() }) })
  const byName = defineRoute({ ...base, path: '/x/:name', params: z.object({ name: z.string() }) })
  t.rejects(startHttp(t, [byId, byName]), /two routes/)
  t.rejects(startHttp(t, [defineRoute({ ...base, path: '/x', limit: 'unheard' })]), /no rate limit is named unheard/)
  t.end()
})

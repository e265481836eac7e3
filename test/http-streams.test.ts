import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import t from 'tap'
import { z } from 'zod'
import { attachment, defineRoute, type Route, reply } from '../gateway/http/toolkit/route.js'
import { inFlight, rawClient, startHttp, until } from './support/http.js'

const common = { tag: 'Test', summary: 'An example' } as const
const MEGABYTE = 1024 * 1024
const rows = `${'x'.repeat(99)}\n`.repeat(50)
const sha = (bytes: string | Uint8Array) => createHash('sha256').update(bytes).digest('hex')
const csvHead = (token: string, length: string) =>
  `PUT /import HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${token}\r\nContent-Type: text/csv\r\n${length}\r\n\r\n`

/** A promise resolved by hand. */
function gate() {
  let open = () => {}
  const passed = new Promise<void>((resolve) => {
    open = resolve
  })
  return { open, passed }
}

/** Resolves when `value` stays the same over many answers of the server, which therefore had time to change it. */
async function settled(url: string, value: () => number): Promise<number> {
  let before = Number.NaN
  for (let unchanged = 0; unchanged < 10; ) {
    await (await fetch(`${url}/healthz`)).text()
    unchanged = value() === before ? unchanged + 1 : 0
    before = value()
  }
  return before
}

const importing = (before: Promise<void>, seen: { bytes: number; errors: string[] }): Route =>
  defineRoute({
    ...common,
    method: 'PUT',
    path: '/import',
    who: 'member',
    upload: 'csv',
    response: z.object({ bytes: z.number(), sha: z.string() }),
    handle: async ({ body }) => {
      await before
      const hash = createHash('sha256')
      body.on('error', (error) => seen.errors.push(error.message))
      for await (const chunk of body) {
        hash.update(chunk)
        seen.bytes += chunk.length
      }
      return { bytes: seen.bytes, sha: hash.digest('hex') }
    },
  })

t.test('a JSON body arriving in slow, tiny, badly cut chunks is whole', async (t) => {
  const echo = defineRoute({
    ...common,
    method: 'POST',
    path: '/echo',
    who: 'member',
    body: z.object({ text: z.string() }),
    response: z.object({ text: z.string() }),
    handle: ({ body }) => body,
  })
  const { port, url } = await startHttp(t, [echo])
  const { socket, text } = rawClient(port)
  socket.setNoDelay(true)
  const head = 'POST /echo HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer member\r\nContent-Type: application/json\r\n'
  socket.write(`${head}Transfer-Encoding: chunked\r\n\r\n`)
  for (const byte of Buffer.from('{"text":"žluťoučký kůň 🐎"}')) {
    socket.write(Buffer.from([0x31, 0x0d, 0x0a, byte, 0x0d, 0x0a]))
    await (await fetch(`${url}/healthz`)).text()
  }
  socket.write('0\r\n\r\n')
  await until(() => text().includes('}'))
  t.match(Buffer.from(text(), 'latin1').toString(), '{"text":"žluťoučký kůň 🐎"}')
  socket.destroy()
})

t.test('an upload faster than its reader waits in the sender, and arrives whole', async (t) => {
  for (const token of ['member', 'late-member']) {
    const { open, passed } = gate()
    const seen = { bytes: 0, errors: [] as string[] }
    const { port, url } = await startHttp(t, [importing(passed, seen)])
    const content = Buffer.alloc(64 * MEGABYTE, rows)
    const { socket, text } = rawClient(port)
    socket.write(csvHead(token, `Content-Length: ${content.length}`))
    let sent = 0
    const send = () => {
      while (sent < content.length && socket.write(content.subarray(sent, sent + 65_536))) sent += 65_536
    }
    socket.on('drain', () => {
      sent += 65_536
      send()
    })
    send()
    t.ok((await settled(url, () => sent)) < 16 * MEGABYTE, `the sender was stopped (${token})`)
    open()
    await until(() => text().includes('}'))
    t.match(text(), `{"bytes":${content.length},"sha":"${sha(content)}"}`)
    socket.destroy()
  }
})

t.test('clients leaving in the middle of anything harm nobody', async (t) => {
  const seen = { bytes: 0, errors: [] as string[] }
  const aborts: string[] = []
  const waiting = defineRoute({
    ...common,
    method: 'GET',
    path: '/wait',
    who: 'member',
    response: z.object({ ip: z.string() }),
    handle: async (request) => {
      await new Promise<void>((resolve) => request.signal.addEventListener('abort', () => resolve()))
      aborts.push(`${request.ip} ${request.signal.aborted}`)
      return { ip: request.ip }
    },
  })
  const { port, url, metrics, failures } = await startHttp(t, [importing(Promise.resolve(), seen), waiting])
  const half: Record<string, string> = {
    'upload of known length': `${csvHead('member', 'Content-Length: 1000')}a,b\n`,
    'chunked upload': `${csvHead('member', 'Transfer-Encoding: chunked')}4\r\na,b\n\r\n`,
    'upload with a token being checked': `${csvHead('late-member', 'Content-Length: 1000')}a,b\n`,
    'half a chunk': `${csvHead('member', 'Transfer-Encoding: chunked')}ff\r\na,b\n`,
    'half a head': 'GET /wait HTTP/1.1\r\nHost',
    'an answer being made': 'GET /wait HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer member\r\n\r\n',
  }
  for (const [name, bytes] of Object.entries(half)) {
    for (const reset of [false, true]) {
      const { socket, ended } = rawClient(port)
      socket.write(bytes)
      await until(async () => name === 'half a head' || (await inFlight(metrics)) === 1)
      if (reset) socket.resetAndDestroy()
      else socket.destroy()
      await ended
      await until(async () => (await inFlight(metrics)) === 0)
      t.equal((await fetch(`${url}/healthz`)).status, 200, name)
    }
  }
  await until(() => aborts.length === 2)
  await until(() => seen.errors.length >= 6) // those whose token was checked in time
  t.same(new Set(seen.errors), new Set(['the client left']))
  t.same(aborts, ['unknown true', 'unknown true'])
  t.same(failures, [])
  t.match(await metrics.metrics(), /duration_seconds_count\{route="\/wait",method="GET",status="499"\} 2/)
})

t.test('an answer given before the upload ends reaches the sender', async (t) => {
  const picky = defineRoute({
    ...common,
    method: 'PUT',
    path: '/import',
    who: 'member',
    upload: 'csv',
    response: z.object({ first: z.string() }),
    handle: async ({ body }) => {
      for await (const chunk of body) return { first: String(chunk.subarray(0, 3)) }
      return { first: '' }
    },
  })
  const { port, metrics } = await startHttp(t, [picky])
  const put = async (token: string, bytes: number, type = 'text/csv') => {
    const { socket, text } = rawClient(port)
    socket.write(csvHead(token, `Content-Length: ${bytes}`).replace('text/csv', type))
    socket.write(Buffer.alloc(bytes, 'abc'))
    await until(() => text().includes('}') && socket.writableLength === 0)
    socket.destroy()
    return text()
  }
  t.match(await put('member', 3), '{"first":"abc"}')
  t.match(await put('member', 8 * MEGABYTE), '{"first":"abc"}')
  t.match(await put('late-member', 8 * MEGABYTE), '{"first":"abc"}')
  t.match(await put('stolen', 8 * MEGABYTE), /^HTTP\/1.1 401 .*unauthorized/s)
  t.match(await put('late-stolen', 8 * MEGABYTE), /^HTTP\/1.1 401 .*unauthorized/s)
  t.match(await put('member', 8 * MEGABYTE, 'text/plain'), /^HTTP\/1.1 415 /)
  t.equal(await inFlight(metrics), 0)
})

t.test('an answer that ignores a waiting upload lets its connection run on', async (t) => {
  const { open, passed } = gate()
  const ignoring = defineRoute({
    ...common,
    method: 'PUT',
    path: '/import',
    who: 'member',
    upload: 'csv',
    response: z.object({ ignored: z.boolean() }),
    handle: () => passed.then(() => ({ ignored: true })),
  })
  const { port, url } = await startHttp(t, [ignoring])
  const { socket, text } = rawClient(port)
  const bytes = 32 * MEGABYTE
  socket.write(csvHead('member', `Content-Length: ${bytes}`))
  for (let sent = 0; sent < bytes; sent += MEGABYTE) socket.write(Buffer.alloc(MEGABYTE))
  t.ok((await settled(url, () => socket.writableLength)) > MEGABYTE, 'the sender was stopped')
  open()
  socket.write('GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n')
  await until(() => text().includes('"status":"ok"'))
  t.match(text(), '{"ignored":true}')
  socket.destroy()
})

t.test('an upload larger than allowed is refused, its reader told, its connection still in step', async (t) => {
  const seen = { bytes: 0, errors: [] as string[] }
  const { port, failures } = await startHttp(t, [importing(Promise.resolve(), seen)], { uploadBytesMax: 100_000 })
  const { socket, text } = rawClient(port)
  socket.write(csvHead('member', 'Transfer-Encoding: chunked'))
  for (let sent = 0; sent < 200_000; sent += 10_000) socket.write(`2710\r\n${'x'.repeat(10_000)}\r\n`)
  await until(() => text().includes('}'))
  t.match(text(), /^HTTP\/1.1 413 .*"code":"body_too_large"/s)
  t.ok(seen.bytes <= 100_000)
  socket.write(`2710\r\n${'x'.repeat(10_000)}\r\n0\r\n\r\n${csvHead('member', 'Content-Length: 3')}a,b`)
  await until(() => text().includes('"sha"'))
  t.match(text(), `"sha":"${sha('a,b')}"`)
  t.same(failures, [])
  socket.destroy()
})

/** A CSV export in `blocks` pieces that tells how many were made and whether it was closed. */
function exporting(blocks: number, seen: { blocks: number; closed: boolean }): Route {
  return defineRoute({
    ...common,
    method: 'GET',
    path: '/export',
    who: 'public',
    response: { stream: 'text/csv; charset=utf-8' },
    handle: () => reply(makeBlocks(blocks, seen), { headers: attachment('scans of today.csv') }),
  })
}

async function* makeBlocks(blocks: number, seen: { blocks: number; closed: boolean }) {
  try {
    for (; seen.blocks < blocks; seen.blocks++) yield seen.blocks % 2 === 0 ? rows : Buffer.from(rows)
  } finally {
    seen.closed = true
  }
}

t.test('a download slower than its source stops the source, and arrives whole', async (t) => {
  const blocks = 20_000
  const seen = { blocks: 0, closed: false }
  const { url } = await startHttp(t, [exporting(blocks, seen)])
  const answer = await fetch(`${url}/export`)
  t.match(Object.fromEntries(answer.headers), {
    'content-type': 'text/csv; charset=utf-8',
    'content-disposition': 'attachment; filename="scans_of_today.csv"; filename*=UTF-8\'\'scans%20of%20today.csv',
  })
  const made = (await settled(url, () => seen.blocks)) * rows.length
  t.ok(made < 24 * MEGABYTE, `made ${made} bytes that nobody took`)
  const taken = new Uint8Array(await answer.arrayBuffer())
  t.equal(sha(taken), sha(Buffer.alloc(blocks * rows.length, rows)))
  t.ok(seen.closed)
  const head = await fetch(`${url}/export`, { method: 'HEAD' })
  t.match([head.status, head.headers.get('content-type'), await head.text()], [200, 'text/csv; charset=utf-8', ''])
})

t.test('a reader who leaves in the middle of a download closes its source', async (t) => {
  const seen = { blocks: 0, closed: false }
  const readable = new Readable({ read() {} })
  const stuck = defineRoute({
    ...common,
    method: 'GET',
    path: '/stuck',
    who: 'public',
    response: { stream: 'text/csv' },
    handle: () => readable,
  })
  const { port, metrics, failures } = await startHttp(t, [exporting(Number.POSITIVE_INFINITY, seen), stuck])
  const { socket } = rawClient(port)
  socket.write('GET /export HTTP/1.1\r\nHost: a\r\n\r\n')
  await until(() => seen.blocks > 100)
  socket.destroy()
  await until(() => seen.closed)
  const other = rawClient(port)
  other.socket.write('GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n')
  await until(async () => (await inFlight(metrics)) === 1)
  other.socket.destroy()
  await until(() => readable.destroyed)
  t.equal(await inFlight(metrics), 0)
  t.same(failures, [])
})

t.test('E3: a download that breaks in the middle is cut, one that breaks before it began is a problem', async (t) => {
  const breaking = (path: string, blocks: number) =>
    defineRoute({
      ...common,
      method: 'GET',
      path,
      who: 'public',
      response: { stream: 'text/csv' },
      handle: async function* () {
        for (let index = 0; index < blocks; index++) yield rows
        throw new Error('the database went away')
      },
    })
  const { url, failures, metrics } = await startHttp(t, [breaking('/early', 3), breaking('/late', 2_000)])
  const early = await fetch(`${url}/early`)
  t.match([early.status, await early.json()], [500, { code: 'internal' }])
  const late = await fetch(`${url}/late`)
  t.equal(late.status, 200)
  await t.rejects(late.text(), 'must not look complete')
  t.equal(failures.length, 2)
  t.equal(await inFlight(metrics), 0)
})

t.test('a large JSON answer reaches a slow reader whole', async (t) => {
  const text = 'ž'.repeat(6 * MEGABYTE)
  const large = defineRoute({
    ...common,
    method: 'GET',
    path: '/large',
    who: 'public',
    response: z.object({ text: z.string() }),
    handle: async () => ({ text }),
  })
  const { url, port, metrics } = await startHttp(t, [large])
  const { socket } = rawClient(port)
  socket.pause()
  socket.write('GET /large HTTP/1.1\r\nHost: a\r\n\r\n')
  await until(async () => (await inFlight(metrics)) === 1)
  const answer = (await (await fetch(`${url}/large`)).json()) as { text: string }
  t.equal(sha(answer.text), sha(text))
  t.equal(await inFlight(metrics), 1, 'the slow one is still in flight')
  socket.resume()
  await until(async () => (await inFlight(metrics)) === 0)
  socket.destroy()
})

t.test('more requests than can be worked on at once are turned away', async (t) => {
  const { open, passed } = gate()
  const slow = defineRoute({
    ...common,
    method: 'GET',
    path: '/slow',
    who: 'public',
    response: z.undefined(),
    handle: () => passed.then(() => undefined),
  })
  const { url, metrics } = await startHttp(t, [slow], { inFlightMax: 2 })
  const pending = [fetch(`${url}/slow`), fetch(`${url}/slow`)]
  await until(async () => (await inFlight(metrics)) === 2)
  const refused = await fetch(`${url}/slow`)
  t.match([refused.status, refused.headers.get('retry-after')], [503, '1'])
  t.match(await refused.json(), { code: 'overloaded' })
  open()
  for (const answer of await Promise.all(pending)) t.match([answer.status, await answer.text()], [200, ''])
})

t.test('stopping lets requests in flight finish, refuses new ones, and waits only so long', async (t) => {
  const { open, passed } = gate()
  const slow = defineRoute({
    ...common,
    method: 'GET',
    path: '/slow',
    who: 'public',
    query: z.object({ forever: z.string().optional() }),
    response: z.object({ done: z.boolean() }),
    handle: async ({ query }) => {
      await (query.forever === undefined ? passed : new Promise(() => {}))
      return { done: true }
    },
  })
  const { url, port, server, metrics } = await startHttp(t, [slow], { closeTimeoutMs: 60_000 })
  await t.rejects(server.listen(port, '127.0.0.1'), /is the port taken/)
  const kept = rawClient(port)
  await new Promise((resolve) => kept.socket.on('connect', resolve))
  const pending = fetch(`${url}/slow`)
  await until(async () => (await inFlight(metrics)) === 1)
  const closed = server.close()
  t.equal(server.close(), closed, 'closing twice is closing once')
  await t.rejects(fetch(`${url}/healthz`, { headers: { connection: 'close' } }), 'no new connections')
  kept.socket.write('GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n')
  await kept.ended
  t.match(kept.text(), /^HTTP\/1.1 503 .*retry-after: 2.*connection: close.*"code":"stopping"/is)
  open()
  t.same(await (await pending).json(), { done: true })
  await closed

  const hung = await startHttp(t, [slow], { closeTimeoutMs: 50 })
  const cut = fetch(`${hung.url}/slow?forever=1`)
  await until(async () => (await inFlight(hung.metrics)) === 1)
  await Promise.all([t.rejects(cut), hung.server.close()])
  t.equal(await inFlight(hung.metrics), 0)
})

t.test('a request that was on its way when the server stopped is refused, not cut', async (t) => {
  const { port, server } = await startHttp(t, [], { lingerMs: 300 })
  const kept = rawClient(port)
  const ask = 'GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n'
  kept.socket.write(ask)
  await until(() => kept.text().endsWith('}'))
  const closed = server.close()
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
  kept.socket.write(ask)
  await Promise.all([kept.ended, closed])
  t.match(kept.text(), /^HTTP\/1.1 200 .*HTTP\/1.1 503 .*connection: close.*"code":"stopping"/is)
})

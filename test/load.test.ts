// The load generator's one promise is honest figures: these tests hunt requests that are lost, counted twice or
// credited with another's answer, and waiting time that is not charged.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type RequestListener } from 'node:http'
import { type AddressInfo, createServer as createRawServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { KeepAliveClient, UNKNOWN, UNSENT } from '../bench/load/http-client.js'
import { buildRequest, prepareRequest } from '../bench/load/http-request.js'
import { LatencyHistogram } from '../bench/load/latency.js'
import { sampleProcesses, usageBetween } from '../bench/load/processes.js'
import { ResponseParser } from '../bench/load/response-parser.js'
import type { LoadResult } from '../bench/load/result.js'
import { runClosedLoop, runOpenLoop } from '../bench/load/runner.js'
import { formatMicros, formatTable, loadRows, usageRows } from '../bench/load/table.js'

const host = '127.0.0.1'
const request = buildRequest({ method: 'GET', path: '/', host })
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'

function listen(test: Test, server: Server): Promise<number> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
  })
  test.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return new Promise((resolve) => {
    server.listen(0, host, () => resolve((server.address() as AddressInfo).port))
  })
}

const httpServer = (test: Test, handler: RequestListener) => listen(test, createServer(handler))

/** A server that answers each packet (one request, as our requests are small) however it likes. */
function rawServer(test: Test, answer: (socket: Socket, ordinal: number) => void): Promise<number> {
  let ordinal = 0
  return listen(
    test,
    createRawServer({ noDelay: true }, (socket) => {
      socket.on('data', () => answer(socket, ordinal++))
    }),
  )
}

/** Sends one request and returns its outcome. */
function exchange(port: number, bytes: Buffer | string = request): Promise<{ status: number; body: string }> {
  return new Promise((resolve) => {
    const client = new KeepAliveClient({ host, port, wantBody: true, reconnectsMax: 0 }, (status, body) => {
      const text = body?.toString() ?? ''
      client.close()
      resolve({ status, body: text })
    })
    client.send(bytes)
  })
}

const answered = ({ byStatus }: LoadResult) => Object.values(byStatus).reduce((sum, count) => sum + count, 0)
const outcomes = (result: LoadResult) => answered(result) + result.unknown + result.unsent

t.test('a request on the wire is what was asked for', async (t) => {
  const port = await httpServer(t, (incoming, response) => {
    const { authorization, 'idempotency-key': key } = incoming.headers
    let body = ''
    incoming.on('data', (chunk) => {
      body += chunk
    })
    incoming.on('end', () => response.end([incoming.method, incoming.url, authorization, key, body].join(' ')))
  })
  const prepared = prepareRequest({ method: 'POST', path: '/scans', host, token: 'secret' })
  const { status, body } = await exchange(port, prepared('{"name":"Zoë"}', 'key-1'))
  t.equal(status, 200)
  t.equal(body, 'POST /scans Bearer secret key-1 {"name":"Zoë"}')
  t.equal((await exchange(port, request.toString())).body, 'GET /   ', 'without token, key and body, as a string')
  t.throws(() => prepared('{}', 'key\r\nHost: other'), 'a line break would be another header')
  t.throws(() => buildRequest({ method: 'GET', path: '/\r\n', host }))
})

t.test('closed loop: every request is received once and counted once', async (t) => {
  let received = 0
  let responses = 0
  const port = await httpServer(t, (_, response) => {
    response.statusCode = received++ % 10 === 0 ? 429 : 200
    response.end('{}')
  })
  const result = await runClosedLoop({
    host,
    port,
    connections: 8,
    requests: 1_000,
    next: () => request,
    onResponse: () => responses++,
  })
  t.equal(received, 1_000)
  t.equal(responses, 1_000)
  t.equal(result.requests, 1_000)
  t.strictSame(result.byStatus, { 200: 900, 429: 100 })
  t.equal(result.ok, 900)
  t.equal(result.latency.count, 1_000)
  t.ok(result.p50 > 0 && result.p50 <= result.p99 && result.p99 <= result.max)
  t.ok(Math.abs(result.perSecond * result.seconds - 1_000) < 1)
  t.ok(result.generator.cpuShare > 0)
})

t.test('warm-up is load, but not in the figures', async (t) => {
  let received = 0
  const port = await httpServer(t, (_, response) => {
    received++
    response.end()
  })
  const load = { host, port, connections: 4, warmupMs: 100, durationMs: 100, next: () => request }
  const closed = await runClosedLoop(load)
  t.ok(closed.requests < received && closed.requests > 0)
  t.equal(outcomes(closed), closed.requests)
  const open = await runOpenLoop({ ...load, ratePerSecond: 1_000 })
  t.equal(open.requests, 100)
  t.equal(outcomes(open), 100)
})

t.test('either loop ends when there is nothing left to send', async (t) => {
  const port = await httpServer(t, (_, response) => response.end())
  for (const run of [runClosedLoop, runOpenLoop]) {
    let left = 25
    const next = () => (left-- > 0 ? request : null)
    const result = await run({ host, port, connections: 4, durationMs: 60_000, ratePerSecond: 2_000, next })
    t.equal(result.requests, 25)
    t.equal(result.ok, 25)
  }
})

t.test('a response is the same however packets cut it', async (t) => {
  const chunkedBody = '4\r\nWiki\r\nA;name=value\r\npedia in\r\n\r\n0\r\nExpires: never\r\n\r\n'
  const wholes: [string, number, string][] = [
    [OK, 200, 'ok'],
    ['HTTP/1.1 404 Not Found\r\nDate: x\r\ncontent-LENGTH:  5  \r\nX-C: t\r\n\r\nnone!', 404, 'none!'],
    ['HTTP/1.1 204 No Content\r\nServer: s\r\n\r\n', 204, ''],
    ['HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\n1', 201, '1'],
    [`HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n${chunkedBody}`, 200, 'Wikipedia in\r\n'],
  ]
  const cuts = fc.array(fc.integer({ min: 1, max: 200 }), { maxLength: 40 })
  fc.assert(
    fc.property(fc.constantFrom(...wholes), cuts, ([text, status, body], cuts) => {
      const parser = new ResponseParser(true)
      const input = Buffer.alloc(512)
      const ends = [...new Set(cuts)].filter((cut) => cut < text.length).sort((a, b) => a - b)
      let start = 0
      for (const end of ends) {
        if (parser.push(input, input.fill(0).write(text.slice(start, end))) !== 'more') return false
        start = end
      }
      const result = parser.push(input, input.fill(0).write(text.slice(start)))
      const { status: seen, surplus } = parser
      return result === 'done' && seen === status && parser.body()?.toString() === body && !surplus
    }),
  )
  const port = await rawServer(t, (socket) => {
    for (const byte of OK) socket.write(byte)
  })
  const result = await runClosedLoop({ host, port, connections: 4, requests: 100, next: () => request })
  t.strictSame(result.byStatus, { 200: 100 }, 'over a real connection')
})

t.test('bodies: chunked, longer than the read buffer, ended by the connection', async (t) => {
  const long = 'x'.repeat(100_000)
  const chunked = await httpServer(t, (_, response) => {
    response.write('one ')
    response.write(long)
    response.end(' two')
  })
  t.equal((await exchange(chunked)).body, `one ${long} two`)
  const counted = await httpServer(t, (_, response) => response.end(long))
  t.equal((await exchange(counted)).body, long)
  const unwanted = await runClosedLoop({ host, port: counted, connections: 2, requests: 20, next: () => request })
  t.equal(unwanted.ok, 20, 'a body nobody wants is skipped, not mistaken for the next response')
  const ended = await rawServer(t, (socket) => socket.end(`HTTP/1.0 200 OK\r\n\r\n${long}`))
  t.equal((await exchange(ended)).body, long)
})

t.test('bytes nobody asked for are never the answer to a later request', async (t) => {
  const stray = 'HTTP/1.1 500 Stray\r\nContent-Length: 0\r\n\r\n'
  const desynchronised = new Set<Socket>()
  const port = await rawServer(t, (socket) => {
    socket.write(desynchronised.has(socket) ? stray : OK + stray.slice(0, 10))
    desynchronised.add(socket)
  })
  const result = await runClosedLoop({ host, port, connections: 4, requests: 100, next: () => request })
  t.strictSame(result.byStatus, { 200: 100 })
  t.equal(outcomes(result), result.requests)
})

t.test('a server that closes after every answer is followed by new connections', async (t) => {
  let connections = 0
  const port = await httpServer(t, (incoming, response) => {
    if (incoming.socket.bytesWritten === 0) connections++
    response.setHeader('Connection', 'close')
    response.end()
  })
  const result = await runClosedLoop({ host, port, connections: 4, requests: 100, next: () => request })
  t.equal(result.ok, 100)
  t.equal(connections, 100)
  t.equal(result.connectionsLost, 0)
})

t.test('a reset in the middle of a response is unknown, and is not sent again', async (t) => {
  let received = 0
  const port = await rawServer(t, (socket, ordinal) => {
    received++
    if (ordinal % 5 !== 4) socket.write(OK)
    else socket.write(OK.slice(0, 20 + (ordinal % 20)), () => socket.resetAndDestroy())
  })
  const seen: number[] = []
  const result = await runClosedLoop({
    host,
    port,
    connections: 3,
    requests: 100,
    next: () => request,
    onResponse: (status) => seen.push(status),
  })
  t.equal(received, 100)
  t.strictSame(result.byStatus, { 200: 80 })
  t.equal(result.unknown, 20)
  t.equal(seen.filter((status) => status === UNKNOWN).length, 20)
  t.equal(result.connectionsLost, 0)
})

t.test('nonsense instead of a response is unknown', async (t) => {
  for (const nonsense of [
    'SSH-2.0-OpenSSH_9.6\r\n',
    'HTTP/1.1 abc\r\n\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnot hex\r\n',
  ]) {
    const port = await rawServer(t, (socket) => socket.write(nonsense))
    t.equal((await exchange(port)).status, UNKNOWN, JSON.stringify(nonsense))
  }
})

t.test('a server that only resets: connections are given up, every request has its outcome', async (t) => {
  const port = await rawServer(t, (socket) => socket.resetAndDestroy())
  const load = { host, port, connections: 3, durationMs: 60_000, reconnectsMax: 2, next: () => request }
  const closed = await runClosedLoop(load)
  t.equal(closed.connectionsLost, 3)
  t.equal(closed.unknown, 9)
  t.equal(outcomes(closed), closed.requests)
  const open = await runOpenLoop({ ...load, ratePerSecond: 1_000 })
  t.equal(open.connectionsLost, 3)
  t.equal(open.unknown, 9)
  t.equal(outcomes(open), open.requests)
})

t.test('nobody listens: the run says so, a client reports unsent', async (t) => {
  const server = createRawServer()
  const port = await listen(t, server)
  server.close()
  t.equal((await exchange(port)).status, UNSENT)
  const load = { host, port, connections: 2, requests: 10, reconnectsMax: 1, next: () => request }
  await t.rejects(runClosedLoop(load), { code: 'load_target_unreachable' })
})

t.test('a server that falls silent does not hang the run', async (t) => {
  const port = await rawServer(t, (socket, ordinal) => {
    if (ordinal < 50) socket.write(OK)
  })
  const load = { host, port, connections: 4, patienceMs: 100, next: () => request }
  const closed = await runClosedLoop({ ...load, requests: 1_000 })
  t.equal(closed.ok, 50)
  t.equal(closed.unknown, 4)
  t.equal(outcomes(closed), closed.requests)
  const open = await runOpenLoop({ ...load, ratePerSecond: 1_000, durationMs: 90, backlogMax: 10 })
  t.equal(open.requests, 90, 'all that was scheduled')
  t.equal(open.unknown, 4)
  t.equal(open.unsent, 86, 'refused by the backlog, or left in it')
})

t.test('open loop: a stall is charged to every request it kept waiting', async (t) => {
  const stallMs = 200
  const stalled: Socket[] = []
  let stalling = false
  const port = await rawServer(t, (socket, ordinal) => {
    if (ordinal === 100) {
      stalling = true
      setTimeout(() => {
        stalling = false
        for (const waiting of stalled) waiting.write(OK)
      }, stallMs)
    }
    if (stalling) stalled.push(socket)
    else socket.write(OK)
  })
  const load = { host, port, connections: 4, durationMs: 800, next: () => request }
  const result = await runOpenLoop({ ...load, ratePerSecond: 500 })
  t.equal(stalled.length, 4, 'only one request per connection was with the server')
  t.equal(result.requests, 400)
  t.equal(result.ok, 400)
  t.ok(result.p99 > stallMs * 900, `p99 is ${formatMicros(result.p99)}`)
  t.ok(result.late > 80, `${result.late} requests were sent late`)
  t.ok(result.p50 < stallMs * 500, `p50 is ${formatMicros(result.p50)}`)
  t.ok(result.seconds > 0.75 && result.seconds < 2, `kept to its schedule: ${result.seconds} s`)
})

t.test('histograms merge without loss', async (t) => {
  const [low, high, both] = [new LatencyHistogram(), new LatencyHistogram(), new LatencyHistogram()]
  for (let micros = 1; micros <= 1_000; micros++) {
    low.record(micros)
    high.record(micros * 1_000)
    both.record(micros)
    both.record(micros * 1_000)
  }
  low.add(high)
  t.equal(low.count, 2_000)
  for (const percentile of [1, 50, 90, 99, 99.9, 100]) t.equal(low.at(percentile), both.at(percentile))
  t.ok(Math.abs(low.max - 1_000_000) <= 1_000, 'three significant digits')
  t.equal(new LatencyHistogram().at(99), 0)
})

t.test('CPU and memory go to the nearest named process', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'comptroller-proc-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const write = (pid: number, parent: number, command: string, ticks: number, ticksOfEnded: number) => {
    const zeros = Array(9).fill(0).join(' ')
    mkdirSync(join(folder, String(pid)), { recursive: true })
    const stat = `${pid} (${command}) S ${parent} ${zeros} ${ticks} ${ticks} ${ticksOfEnded} 0 20 0 1 0`
    writeFileSync(join(folder, String(pid), 'stat'), stat)
    writeFileSync(join(folder, String(pid), 'status'), `Name:\tx\nVmRSS:\t    1024 kB\n`)
  }
  const pids = { server: 10, postgres: 20, generator: 2 }
  write(1, 0, 'init', 1_000, 1_000)
  write(2, 1, 'node', 100, 0)
  write(10, 2, 'a) S 1 (b', 100, 0)
  write(20, 10, 'postgres', 100, 0)
  write(21, 20, 'postgres: writer', 100, 0)
  const before = sampleProcesses(pids, folder)
  write(2, 1, 'node', 150, 0)
  write(10, 2, 'a) S 1 (b', 200, 0)
  rmSync(join(folder, '21'), { recursive: true })
  write(20, 10, 'postgres', 100, 230)
  const after = sampleProcesses(pids, folder)
  rmSync(join(folder, '10'), { recursive: true })
  const ended = sampleProcesses(pids, folder)
  if (before === null || after === null || ended === null) throw new Error('no sample')
  const { generator, server, postgres } = usageBetween(before, after)
  t.equal(generator?.cpuSeconds, 1)
  t.equal(server?.cpuSeconds, 2)
  t.equal(server?.rssBytes, 1024 * 1024)
  t.match(postgres?.cpuSeconds.toFixed(2), '0.30', 'the ended child included')
  t.equal(usageBetween(after, ended).server, null)
  t.equal(sampleProcesses(pids, join(folder, 'missing')), null, 'a system without /proc')
  t.match(usageRows(null, 1), [{ value: 'not measured' }])
  if (process.platform === 'linux') {
    const real = sampleProcesses({ generator: process.pid })?.byName.generator
    const { user, system } = process.cpuUsage()
    t.ok(Math.abs((real?.cpuSeconds ?? 0) - (user + system) / 1e6) < 0.1)
    t.ok((real?.rssBytes ?? 0) > 10_000_000)
  }
})

t.test('tables line up and say when the generator is the limit', async (t) => {
  t.strictSame([0, 850.4, 999.6, 1_254, 25_020, 123_456, 2_100_000].map(formatMicros), [
    '0 µs',
    '850 µs',
    '1.00 ms',
    '1.25 ms',
    '25.0 ms',
    '123 ms',
    '2.10 s',
  ])
  const table = formatTable([
    { name: 'scans', value: 1_234_567 },
    { name: 'p99', value: '1.2', unit: 'ms' },
  ])
  t.equal(table, 'scans  1,234,567\np99          1.2 ms\n')
  const port = await httpServer(t, (_, response) => response.end())
  const result = await runClosedLoop({ host, port, connections: 1, requests: 5, next: () => request })
  const busy = { cpuShare: 1, utilisation: 0.97, limiting: true }
  t.match(
    formatTable(loadRows({ ...result, generator: busy })),
    /generator busy +97 % of its thread, 100 % of a core: it may be the limit/,
  )
  t.notMatch(formatTable(loadRows({ ...result, generator: { ...busy, limiting: false } })), /limit|unknown|unsent/)
})

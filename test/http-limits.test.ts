import fc from 'fast-check'
import t from 'tap'
import { z } from 'zod'
import { ClientAddresses } from '../gateway/http/toolkit/client-address.js'
import { RateLimiter } from '../gateway/http/toolkit/rate-limit.js'
import { defineRoute } from '../gateway/http/toolkit/route.js'
import { rawExchange, startHttp } from './support/http.js'

const example = { method: 'GET', tag: 'Test', summary: 'An example', response: z.object({ ip: z.string() }) } as const
const login = defineRoute({ ...example, path: '/login', who: 'public', limit: 'login', handle: ({ ip }) => ({ ip }) })
const open = defineRoute({ ...example, path: '/open', who: 'public', handle: ({ ip }) => ({ ip }) })
const mine = defineRoute({ ...example, path: '/mine', who: 'member', handle: ({ ip }) => ({ ip }) })
const routes = [login, open, mine]

/** A limiter on a clock the test turns. */
function clockedLimiter(rules = {}) {
  const clock = { nowMs: 1_000 }
  return { clock, limits: new RateLimiter({ rules, keysMax: 100, nowMs: () => clock.nowMs }) }
}

t.test('a login flood from one address is stopped, told when to retry, and let in again', async (t) => {
  const { clock, limits } = clockedLimiter()
  const { url, metrics } = await startHttp(t, routes, { limits, rateLimitLoopback: true })
  const attempt = () => fetch(`${url}/login`)
  for (let count = 0; count < 60; count++) t.equal((await attempt()).status, 200)
  clock.nowMs += 400
  const refused = await attempt()
  t.equal(refused.status, 429)
  t.equal(refused.headers.get('retry-after'), '1', '600 ms, rounded up')
  t.match(await refused.json(), { code: 'rate_limited', retry_after: 1 })
  clock.nowMs += 600
  t.equal((await attempt()).status, 200)
  t.equal((await attempt()).status, 429)
  t.equal((await fetch(`${url}/open`)).status, 200, 'other routes have their own bucket')
  t.match(await metrics.metrics(), /comptroller_http_rate_limited_total\{limit="login"\} 2\n/)
})

t.test('a member is limited by who they are, everybody else by where they come from', async (t) => {
  const { limits } = clockedLimiter({ ip: { per: 'ip', ratePerSecond: 1, burst: 3 } })
  const { url } = await startHttp(t, routes, { limits, rateLimitLoopback: true })
  const get = async (path: string, token: string) =>
    (await fetch(url + path, { headers: { authorization: `Bearer ${token}` } })).status
  for (let count = 0; count < 100; count++) t.equal(await get('/mine', 'member'), 200)
  t.equal(await get('/mine', 'member'), 429, 'the burst of 100 is spent')
  t.equal(await get('/mine', 'admin'), 200, 'another member from the same address is not')
  t.equal(await get('/mine', 'stolen'), 401)
  t.equal(await get('/mine', 'late-stolen'), 401)
  t.equal((await fetch(`${url}/nowhere`)).status, 404)
  t.equal(await get('/mine', 'stolen'), 429, 'bad tokens, slow tokens and wrong paths count against the address')
  t.equal((await fetch(`${url}/nowhere`)).status, 429)
  t.equal(await get('/mine', 'admin'), 200)
})

t.test('loopback clients are exempt from address limits, clients behind a loopback proxy are not', async (t) => {
  const { limits } = clockedLimiter({ login: { per: 'ip', ratePerSecond: 1, burst: 2 } })
  const { url, port } = await startHttp(t, routes, { limits, trustedProxies: ['127.0.0.0/8', '10.0.0.1'] })
  for (let count = 0; count < 10; count++) t.equal((await fetch(`${url}/login`)).status, 200)
  const from = (forwarded: string) => fetch(`${url}/login`, { headers: { 'x-forwarded-for': forwarded } })
  t.same(await (await from('6.6.6.6, 9.9.9.9, 10.0.0.1')).json(), { ip: '9.9.9.9' }, 'rightmost that is not ours')
  t.equal((await from('7.7.7.7, 9.9.9.9')).status, 200)
  t.equal((await from('8.8.8.8, 9.9.9.9')).status, 429, 'forged addresses further left change nothing')
  const twoLines = 'GET /open HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 9.9.9.8\r\n\r\n'
  t.match(await rawExchange(port, twoLines), /"ip":"9.9.9.8"/, 'a forged line above the proxy’s own changes nothing')
  t.same(await (await from('garbage')).json(), { ip: '127.0.0.1' })
  const distrusting = await startHttp(t, routes, { trustedProxies: ['10.0.0.1'] })
  const spoofed = await fetch(`${distrusting.url}/open`, { headers: { 'x-forwarded-for': '9.9.9.9' } })
  t.same(await spoofed.json(), { ip: '127.0.0.1' })
})

t.test('an address is the same client however it is written; an IPv6 network of 2^64 is one client', (t) => {
  const clients = new ClientAddresses(['2001:db8::/32', '192.168.1.5'])
  const bytes = (...groups: number[]) => new Uint8Array(groups).buffer
  const mapped = clients.ofPeer(bytes(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 192, 168, 1, 5))
  t.match(mapped, { ip: '192.168.1.5', limitKey: '192.168.1.5', trustedProxy: true })
  t.match(clients.ofPeer(bytes(192, 168, 1, 5)), mapped)
  t.match(clients.ofPeer(bytes(127, 0, 0, 9)), { loopback: true, trustedProxy: false })
  t.match(clients.ofPeer(bytes(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1)), { ip: '::1', loopback: true })
  t.match(clients.ofPeer(new ArrayBuffer(0)), { ip: 'unknown', trustedProxy: false })
  const behind = (forwarded: string) => clients.behind(mapped, forwarded)
  t.match(behind('[2A00:1:2:3:4::5]:443, 2001:db8::1'), { ip: '2a00:1:2:3:4::5', limitKey: '2a00:1:2:3::/64' })
  t.equal(behind('2a00:1:2:3:ffff:ffff:ffff:ffff').limitKey, behind('2a00:1:2:3::').limitKey)
  t.not(behind('2a00:1:2:4::').limitKey, behind('2a00:1:2:3::').limitKey)
  t.equal(behind('1::').limitKey, '1:0:0:0::/64')
  t.equal(behind('::8').limitKey, '0:0:0:0::/64')
  t.match(behind('::ffff:9.9.9.9'), { ip: '9.9.9.9', limitKey: '9.9.9.9' })
  t.match(behind('9.9.9.9:1234'), { ip: '9.9.9.9' })
  t.equal(behind('::1').loopback, false, 'what a proxy forwards never counts as local')
  t.equal(behind(', ,'), mapped)
  t.throws(() => new ClientAddresses(['proxy.local']), /not an address/)
  t.end()
})

t.test('R1: over any stretch of time a key spends at most its burst and what it gained', (t) => {
  const steps = fc.array(fc.integer({ min: 0, max: 700 }), { maxLength: 300 })
  const rates = fc.tuple(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1, max: 20 }))
  fc.assert(
    fc.property(steps, rates, (waits, [ratePerSecond, burst]) => {
      const { clock, limits } = clockedLimiter({ x: { per: 'ip', ratePerSecond, burst } })
      const bucket = limits.bucket('x')
      const startMs = clock.nowMs
      let spent = 0
      for (const wait of waits) {
        clock.nowMs += wait
        const retryMs = bucket.take('key')
        if (retryMs === 0) spent++
        const allowed = burst + ((clock.nowMs - startMs) / 1_000) * ratePerSecond
        if (spent > allowed + 1e-6) return false
        if (retryMs > 0) {
          clock.nowMs += Math.ceil(retryMs) // who waits as told is let in
          if (bucket.take('key') !== 0) return false
          spent++
        }
      }
      return true
    }),
  )
  t.pass()
  t.end()
})

t.test('R2: however many keys there are, memory is bounded', (t) => {
  const limits = new RateLimiter({ keysMax: 10 })
  for (let key = 0; key < 1_000; key++) limits.bucket('login').take(`key${key}`)
  t.equal(limits.bucket('login').size, 10)
  t.throws(() => limits.bucket('unknown'), /no rate limit is named unknown/)
  t.throws(() => new RateLimiter({ rules: { never: { per: 'ip', ratePerSecond: 1, burst: 0 } } }), /never/)
  t.end()
})

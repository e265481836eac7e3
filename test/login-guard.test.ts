import t from 'tap'
import { defaultLoginGuardLimits, LoginGuard } from '../gateway/auth/login-guard.js'

const MINUTE_MS = 60_000
const limits = { ...defaultLoginGuardLimits, failuresMax: 3, windowMs: 60 * MINUTE_MS }

function guardAt(start: number, countLoopback = false) {
  const clock = { now: start }
  return { clock, guard: new LoginGuard(() => clock.now, { ...limits, countLoopback }) }
}

const fail = (guard: LoginGuard, ip: string, times: number) => {
  for (let time = 0; time < times; time++) guard.noteFailure(ip)
}

t.test(
  'BJ-AUTH-16 an address that fails too often is blocked until its hour is over, and only that address',
  async (t) => {
    const { clock, guard } = guardAt(1_000_000)
    fail(guard, '203.0.113.7', 2)
    t.doesNotThrow(() => guard.check('203.0.113.7'), 'two failures are within the limit')
    clock.now += 10 * MINUTE_MS
    fail(guard, '203.0.113.7', 1)
    t.throws(() => guard.check('203.0.113.7'), { code: 'address_blocked', details: { retryAfterMs: 50 * MINUTE_MS } })
    t.doesNotThrow(() => guard.check('203.0.113.8'))
    clock.now += 50 * MINUTE_MS - 1
    t.throws(() => guard.check('203.0.113.7'))
    clock.now += 1
    t.doesNotThrow(() => guard.check('203.0.113.7'), 'the hour is over')
    fail(guard, '203.0.113.7', 2)
    t.doesNotThrow(() => guard.check('203.0.113.7'), 'and counting begins anew')
  },
)

t.test('BJ-AUTH-16 nobody behind a local proxy can block everybody behind it', async (t) => {
  const { guard } = guardAt(0)
  for (const ip of ['127.0.0.1', '::1']) {
    fail(guard, ip, 10)
    t.doesNotThrow(() => guard.check(ip))
  }
  const strict = guardAt(0, true)
  fail(strict.guard, '127.0.0.1', 3)
  t.throws(() => strict.guard.check('127.0.0.1'), { code: 'address_blocked' })
})

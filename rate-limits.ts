/** The limits per address and member, as they are set. */
import { defaultRateRules, RateLimiter } from './gateway/http/toolkit/rate-limit.js'
import type { Settings } from './settings.js'

export function rateLimits(settings: Settings): RateLimiter {
  const perMember = {
    per: 'member',
    ratePerSecond: settings.RATE_LIMIT_MEMBER_PER_SECOND,
    burst: settings.RATE_LIMIT_MEMBER_BURST,
  } as const
  const perMinute = (count: number) => ({ per: 'ip', ratePerSecond: count / 60, burst: count }) as const
  const perAddress = settings.RATE_LIMIT_ADDRESS_PER_SECOND
  return new RateLimiter({
    rules: {
      ...defaultRateRules,
      ip: { per: 'ip', ratePerSecond: perAddress, burst: perAddress },
      member: perMember,
      // Scans have the velocity rule; a bucket of their own keeps other requests from using up a member's scans.
      scan: perMember,
      signup: perMinute(settings.RATE_LIMIT_SIGNUP_PER_MINUTE),
      login: perMinute(settings.RATE_LIMIT_LOGIN_PER_MINUTE),
    },
    nowMs: () => performance.now(),
  })
}

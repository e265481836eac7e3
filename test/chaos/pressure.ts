// Many scans of codes that do not exist: each is a record and a row, so the journal and the backlog grow fast.
import { prepareRequest } from '../../bench/load/http-request.js'
import type { LoadResult } from '../../bench/load/result.js'
import { runOpenLoop } from '../../bench/load/runner.js'
import { SCANS_PER_MEMBER } from '../support/campaign.js'
import type { World } from './world.js'

const CONNECTIONS = 8

/** So that a few members may send as much as many. */
export const pressureSettings = { RATE_LIMIT_MEMBER_PER_SECOND: '100000', RATE_LIMIT_MEMBER_BURST: '100000' }

/** Sends `ratePerSecond` for `durationMs`, whatever is answered. */
export function pressOn(world: World, ratePerSecond: number, durationMs: number): Promise<LoadResult> {
  const { hostname, port } = new URL(world.site.url)
  const host = `${hostname}:${port}`
  const senders = world.campaign.members
    .slice(0, SCANS_PER_MEMBER)
    .map(({ token }) => prepareRequest({ method: 'POST', path: '/v1/scans/submit', host, token }))
  const body = JSON.stringify({ code: 'AAAA-AAAA-AAAA' })
  let sent = 0
  return runOpenLoop({
    host: hostname,
    port: Number(port),
    connections: CONNECTIONS,
    ratePerSecond,
    durationMs,
    next: () => senders[sent++ % senders.length]?.(body) ?? null,
  })
}

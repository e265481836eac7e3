/**
 * Scans and reads over HTTP: an open loop for each hour, begun when that hour begins whatever became of the one before, and
 * latency counted from the moment a request was due.
 */

import { UNKNOWN, UNSENT } from '../load/http-client.js'
import { runOpenLoop } from '../load/runner.js'
import type { PackedCodes } from '../scan/stock.js'
import type { Crowd } from './crowd.js'
import { deckOf, type Kind, mix } from './profile.js'
import type { Recorder } from './recorder.js'

const CONNECTIONS = 64
/** Below the limit of 60 an hour, which a member's scans here may all fall into. */
export const SCANS_PER_MEMBER_MAX = 50
/** More than a second behind at the end of an hour: what waits then for a connection is given up, and has no time. */
const NOT_SENT = 'requests given up, more than a second late at the end of an hour'
const WON = Buffer.from('"comp_earned":{')
const SCAN_ID = /"scan":\{"id":"([^"]+)"/

export interface Requests {
  /** An hour of so many requests a second. */
  hour(perSecond: number, durationMs: number): Promise<void>
  /** Scans that were answered with 200. */
  readonly accepted: ReadonlySet<string>
  /** Scans whose fate is not known: sent and not answered. */
  readonly unknown: number
}

interface Options {
  readonly url: string
  readonly crowd: Crowd
  readonly codes: PackedCodes
  /** So many of the crowd scan, in turn. */
  readonly scanners: number
  readonly recorder: Recorder
  readonly onWin: (member: number) => void
}

interface Asked {
  readonly kind: Kind
  readonly member: number
}

export function openRequests({ url, crowd, codes, scanners, recorder, onWin }: Options): Requests {
  const { hostname: host, port } = new URL(url)
  const deck = deckOf(mix)
  const accepted = new Set<string>()
  let unknown = 0
  let asked = 0
  let scanned = 0

  function next(): { readonly asked: Asked; readonly request: Buffer } {
    const ordinal = asked++
    const kind = deck[ordinal % deck.length] ?? 'profile'
    if (kind !== 'scan') {
      // Readers are not those who scan just now.
      const member = (ordinal * 7) % crowd.size
      return { asked: { kind, member }, request: crowd.read(member, kind) }
    }
    if (scanned >= codes.length) throw new Error('all codes are scanned')
    const member = scanned % scanners
    return { asked: { kind, member }, request: crowd.scan(member, codes.text(scanned++)) }
  }

  function answered(asked: Asked, status: number, ms: number, body: Buffer | null): void {
    const { kind } = asked
    // Those not sent are counted at the end of the hour, with those that no connection was free for.
    if (status === UNSENT) return
    if (status === UNKNOWN) {
      if (kind === 'scan') unknown += 1
      recorder.count(`${kind}: no answer`)
    } else {
      recorder.time(kind, ms)
      if (status !== 200) recorder.count(`${kind}: ${status}`)
      else if (kind === 'scan' && body !== null) scanAccepted(asked, body)
    }
  }

  function scanAccepted({ member }: Asked, body: Buffer): void {
    const [, id] = SCAN_ID.exec(body.toString('latin1')) ?? []
    if (id === undefined) throw new Error('a scan was accepted without an id')
    accepted.add(id)
    if (body.includes(WON)) onWin(member)
  }

  async function hour(ratePerSecond: number, durationMs: number): Promise<void> {
    const underWay: Asked[] = []
    const { unsent } = await runOpenLoop({
      ...{ host, port: Number(port), connections: CONNECTIONS, wantBody: true, ratePerSecond, durationMs },
      next: (connection) => {
        const { asked, request } = next()
        underWay[connection] = asked
        return request
      },
      onResponse: (status, latencyMicros, body, connection) => {
        const asked = underWay[connection]
        if (asked !== undefined) answered(asked, status, latencyMicros / 1_000, body)
      },
    })
    if (unsent > 0) recorder.count(NOT_SENT, unsent)
  }

  return {
    hour,
    accepted,
    get unknown() {
      return unknown
    },
  }
}

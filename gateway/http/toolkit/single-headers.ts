import type { HttpRequest } from 'uWebSockets.js'

/** Of two of these, a proxy in front may believe the one and we the other: so requests are smuggled past it. */
const singleHeaders = ['idempotency-key', 'content-length', 'transfer-encoding', 'host', 'authorization']
const KEY_BIT = 1

/** Which header that may come once came twice, if one did, and whether an idempotency key was sent, even an empty one. */
export interface SingleHeaders {
  readonly repeated: string | undefined
  readonly keySent: boolean
}

export function singleHeadersOf(req: HttpRequest): SingleHeaders {
  let seen = 0
  let repeated: string | undefined
  req.forEach((name) => {
    const index = singleHeaders.indexOf(name)
    if (index < 0) return
    const bit = 1 << index
    if ((seen & bit) !== 0) repeated = name
    seen |= bit
  })
  return { repeated, keySent: (seen & KEY_BIT) !== 0 }
}

/** The members of the day: their tokens, always fresh, and their requests. */
import type { Principal } from '../../gateway/http/toolkit/principal.js'
import { type PreparedRequest, prepareRequest } from '../load/http-request.js'
import type { Mint } from '../scan/stock.js'
import type { Kind } from './profile.js'

/** Tokens live for fifteen minutes. */
const REFRESH_MS = 8 * 60_000
const SIGNED_AT_ONCE = 256

export const CHANNEL = 'crypto'

const paths: Readonly<Record<Kind, string>> = {
  scan: '/v1/scans/submit',
  profile: '/v1/users/me',
  'recent scans': '/v1/scans/recent',
  stats: '/v1/users/me/stats',
  transactions: '/v1/transactions',
  'channel page': `/v1/social/channels/${CHANNEL}/messages`,
}

export class Crowd {
  readonly #tokens: string[]
  readonly #requests: Map<Kind, PreparedRequest>[]
  readonly #timer: NodeJS.Timeout
  #refreshing: Promise<void> = Promise.resolve()

  private constructor(
    readonly members: readonly Principal[],
    readonly mint: Mint,
    readonly host: string,
    tokens: string[],
  ) {
    this.#tokens = tokens
    this.#requests = members.map(() => new Map())
    this.#timer = setInterval(() => {
      this.#refreshing = this.#refresh()
    }, REFRESH_MS)
  }

  static async open(members: readonly Principal[], mint: Mint, url: string): Promise<Crowd> {
    return new Crowd(members, mint, new URL(url).host, await mint.tokens(members))
  }

  get size(): number {
    return this.members.length
  }

  async close(): Promise<void> {
    clearInterval(this.#timer)
    await this.#refreshing
  }

  token(member: number): string {
    return this.#tokens[member] ?? ''
  }

  read(member: number, kind: Exclude<Kind, 'scan'>): Buffer {
    return this.#request(member, kind)()
  }

  scan(member: number, code: string): Buffer {
    const place = `"lat":${(25 + (member % 2_000) / 100).toFixed(4)},"lng":${(-120 + (member % 4_500) / 100).toFixed(4)}`
    return this.#request(
      member,
      'scan',
    )(`{"code":"${code}","timestamp":${Date.now()},"location":{${place}},"device_id":"bench-${member}","method":"qr"}`)
  }

  #request(member: number, kind: Kind): PreparedRequest {
    const own = this.#requests[member] ?? new Map<Kind, PreparedRequest>()
    let prepared = own.get(kind)
    if (prepared === undefined) {
      const method = kind === 'scan' ? 'POST' : 'GET'
      prepared = prepareRequest({ method, path: paths[kind], host: this.host, token: this.token(member) })
      own.set(kind, prepared)
    }
    return prepared
  }

  async #refresh(): Promise<void> {
    for (let from = 0; from < this.size; from += SIGNED_AT_ONCE) {
      const fresh = await this.mint.tokens(this.members.slice(from, from + SIGNED_AT_ONCE))
      fresh.forEach((token, index) => {
        this.#tokens[from + index] = token
        this.#requests[from + index]?.clear()
      })
    }
  }
}

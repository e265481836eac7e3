import type { HttpRequest, HttpResponse } from 'uWebSockets.js'
import { BlockList, isIP, SocketAddress } from 'node:net'
import { LRUCache } from 'lru-cache'
import { assert } from '../../../engine/assert.js'

const CLIENTS_CACHED_MAX = 10_000
const MAPPED_IPV4_PREFIX = '00000000000000000000ffff'

/** A client address, worked out once and cached. */
export interface Client {
  /** Canonical text; IPv4-mapped IPv6 is shown as IPv4. */
  readonly ip: string
  /** What rate limits count by: the IPv4 address, or the /64 of an IPv6 address. */
  readonly limitKey: string
  readonly loopback: boolean
  readonly trustedProxy: boolean
}

/** Tells clients apart by address, believing `X-Forwarded-For` only from trusted proxies. */
export class ClientAddresses {
  private readonly trusted = new BlockList()
  private readonly peers = new LRUCache<string | number, Client>({ max: CLIENTS_CACHED_MAX })
  readonly trustsProxies: boolean

  /** `trustedProxies`: addresses or CIDR ranges, IPv4 or IPv6. */
  constructor(trustedProxies: readonly string[]) {
    this.trustsProxies = trustedProxies.length > 0
    for (const range of trustedProxies) {
      const [address = '', prefix] = range.split('/')
      const version = isIP(address)
      assert(version !== 0, `trusted proxy ${range} is not an address or CIDR range`)
      const family = version === 4 ? 'ipv4' : 'ipv6'
      if (prefix === undefined) this.trusted.addAddress(address, family)
      else this.trusted.addSubnet(address, Number(prefix), family)
    }
  }

  /** Addresses remembered. */
  get size(): number {
    return this.peers.size
  }

  /** The client at the other end of a connection, from its binary address of 4 or 16 bytes. */
  ofPeer(address: ArrayBuffer): Client {
    const key = address.byteLength === 4 ? new DataView(address).getUint32(0) : Buffer.from(address).toString('hex')
    let client = this.peers.get(key)
    if (client === undefined) {
      client = this.clientOf(textOf(new Uint8Array(address)))
      this.peers.set(key, client)
    }
    return client
  }

  /** The client of a request; to be asked before the handler of uWS returns. */
  ofRequest(res: HttpResponse, req: HttpRequest): Client {
    const peer = this.ofPeer(res.getRemoteAddress())
    return peer.trustedProxy ? this.behind(peer, everyForwardedFor(req)) : peer
  }

  /**
   * The client a trusted proxy speaks for: the rightmost address of `X-Forwarded-For` that is not a trusted proxy.
   * What stands further left was written by the client itself and proves nothing.
   */
  behind(proxy: Client, forwardedFor: string): Client {
    let nearest = proxy
    const hops = forwardedFor.split(',')
    for (let index = hops.length - 1; index >= 0 && nearest.trustedProxy; index--) {
      const address = withoutPort((hops[index] ?? '').trim())
      if (isIP(address) === 0) break
      nearest = this.clientOf(address)
    }
    return nearest === proxy ? proxy : { ...nearest, loopback: false }
  }

  private clientOf(address: string): Client {
    const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(canonical(address))?.[1]
    const ip = mapped ?? canonical(address)
    const version = isIP(ip)
    const trustedProxy = version !== 0 && this.trusted.check(ip, version === 4 ? 'ipv4' : 'ipv6')
    const loopback = version === 4 ? ip.startsWith('127.') : ip === '::1'
    return { ip, limitKey: version === 6 ? networkOf(ip) : ip, loopback, trustedProxy }
  }
}

function textOf(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.')
  const hex = Buffer.from(bytes).toString('hex')
  if (hex.startsWith(MAPPED_IPV4_PREFIX)) return bytes.subarray(12).join('.')
  return hex.match(/.{4}/g)?.join(':') ?? 'unknown'
}

function canonical(address: string): string {
  return isIP(address) === 6 ? new SocketAddress({ address: withoutZone(address), family: 'ipv6' }).address : address
}

const withoutZone = (address: string) => address.replace(/%.*$/, '')

function withoutPort(hop: string): string {
  const bracketed = /^\[([^\]]+)\](?::\d+)?$/.exec(hop)?.[1]
  return bracketed ?? /^(\d+\.\d+\.\d+\.\d+):\d+$/.exec(hop)?.[1] ?? hop
}

/** The /64 network of an IPv6 address: its first four groups. */
function networkOf(ip: string): string {
  const [head = '', tail] = ip.split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  const omitted = tail === undefined ? 0 : 8 - left.length - right.length - (right.at(-1)?.includes('.') ? 1 : 0)
  const groups = [...left, ...Array<string>(omitted).fill('0'), ...right]
  return `${groups.slice(0, 4).join(':')}::/64`
}

/** All `X-Forwarded-For` lines in order: a proxy may add its own line below one the client forged. */
function everyForwardedFor(req: HttpRequest): string {
  const lines: string[] = []
  req.forEach((name, value) => {
    if (name === 'x-forwarded-for') lines.push(value)
  })
  return lines.join(',')
}

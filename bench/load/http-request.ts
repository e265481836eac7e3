import { assert } from '../../engine/assert.js'

export interface RequestHead {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  readonly path: string
  readonly host: string
  /** Sent as `Authorization: Bearer …`. */
  readonly token?: string
}

export interface RequestParts extends RequestHead {
  /** JSON text. */
  readonly body?: string
  readonly idempotencyKey?: string
}

/** Builds one request of a prepared head; only what differs between requests is encoded. */
export type PreparedRequest = (body?: string, idempotencyKey?: string) => Buffer

const LINE_BREAK = /[\r\n]/

/** Encodes what all requests of one user to one path share, once. */
export function prepareRequest({ method, path, host, token }: RequestHead): PreparedRequest {
  const authorization = token === undefined ? '' : `Authorization: Bearer ${token}\r\n`
  assert(!LINE_BREAK.test(`${path}${host}${token ?? ''}`), 'a request head must not contain line breaks')
  const head = `${method} ${path} HTTP/1.1\r\nHost: ${host}\r\n${authorization}`
  return (body, idempotencyKey) => {
    assert(idempotencyKey === undefined || !LINE_BREAK.test(idempotencyKey), 'an idempotency key is one line')
    const key = idempotencyKey === undefined ? '' : `Idempotency-Key: ${idempotencyKey}\r\n`
    if (body === undefined) return Buffer.from(`${head}${key}\r\n`)
    const content = `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n`
    return Buffer.from(`${head}${key}${content}${body}`)
  }
}

/** Encodes a single request; use {@link prepareRequest} where many share a head. */
export function buildRequest(parts: RequestParts): Buffer {
  return prepareRequest(parts)(parts.body, parts.idempotencyKey)
}

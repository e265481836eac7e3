/**
 * One request and its answer.
 *
 * E1 `res` is touched only while it is valid: never after the answer ended or the client left.
 * E2 Every request is settled exactly once: counted out of flight and measured.
 * E3 An answer that began and cannot be completed cuts the connection, so that nobody takes a part for the whole.
 * E4 Of a streamed answer, at most one chunk is buffered beyond what the client has taken.
 */

import type { HttpResponse } from 'uWebSockets.js'
import { Readable } from 'node:stream'
import { isDeepStrictEqual } from 'node:util'
import type { z } from 'zod'
import { assert } from '../../../engine/assert.js'
import { DomainError } from '../../../engine/errors.js'
import type { Client } from './client-address.js'
import type { Plan, ServerContext, TokenBearer } from './context.js'
import { type Headers, mergeHeaders, type PackedHeaders, packHeaders, securityHeaders, statusLine } from './headers.js'
import type { Principal } from './principal.js'
import { problemOf } from './problem.js'
import type { Bucket } from './rate-limit.js'
import { Reply, type RouteRequest } from './route.js'
import { endEmpty, endHead, endInStep, gathered } from './send.js'
import type { UploadStream } from './upload.js'

/** Answers up to this size are handed to uWS whole, which buffers what the socket does not take at once. */
const WHOLE_ANSWER_BYTES_MAX = 64 * 1024
const STATUS_CLIENT_LEFT = 499

const problemHeaders = packHeaders({ 'content-type': 'application/problem+json', ...securityHeaders })
const bareHeaders = packHeaders(securityHeaders)
const goneClient: Client = { ip: 'unknown', limitKey: 'unknown', loopback: false, trustedProxy: false }

type Bytes = string | Uint8Array

export class Exchange implements RouteRequest<unknown, unknown, unknown, 'public', string>, TokenBearer {
  params: unknown = undefined
  query: unknown = undefined
  body: unknown = undefined
  principal: Principal | undefined = undefined
  idempotencyKey: string | undefined = undefined
  upload: UploadStream | undefined = undefined
  /** Set when the client comes through a trusted proxy; otherwise the peer is the client. */
  client: Client | undefined = undefined
  corsHeaders: Headers | undefined = undefined
  declaredHeaders: ReadonlyMap<string, string> | undefined = undefined
  /** An idempotency key was sent, whatever became of it. */
  keySent = false
  /** Inside a uWS callback of this request, where writes are gathered into one already. */
  corked = true
  private state: 'open' | 'answering' | 'done' = 'open'
  private watched = false
  private endsConnection = false
  private addressCounted = false
  private id: string | undefined = undefined
  private abortController: AbortController | undefined = undefined
  private source: unknown = undefined
  private onWritable: (() => void) | undefined = undefined
  private readonly startedAtMs = performance.now()

  constructor(
    readonly res: HttpResponse,
    readonly plan: Plan,
    readonly server: ServerContext,
  ) {
    server.inFlight += 1
  }

  /** No answer was begun and the client is there. */
  get open(): boolean {
    return this.state === 'open'
  }

  /** The answer is complete, or the client left. */
  get done(): boolean {
    return this.state === 'done'
  }

  get requestId(): string {
    this.id ??= this.server.newRequestId()
    return this.id
  }

  get ip(): string {
    return this.clientNow().ip
  }

  get signal(): AbortSignal {
    if (this.abortController === undefined) {
      this.abortController = new AbortController()
      if (this.state === 'done') this.abortController.abort()
    }
    return this.abortController.signal
  }

  header(name: string): string | undefined {
    return this.declaredHeaders?.get(name)
  }

  /** Counts the request against its address, once; throws `rate_limited`. */
  countAddress(): void {
    if (this.addressCounted) return
    this.addressCounted = true
    const { server, plan } = this
    const client = this.clientNow()
    if (client.loopback && !server.rateLimitLoopback) return
    this.take(server.addressBucket, client.limitKey)
    if (plan.bucket.rule.per === 'ip' && plan.bucket !== server.addressBucket) this.take(plan.bucket, client.limitKey)
  }

  /** Counts the request against its route's own limit; throws `rate_limited`. */
  countRoute(): void {
    const { bucket } = this.plan
    if (bucket.rule.per === 'ip') this.countAddress()
    else if (this.principal !== undefined) this.take(bucket, this.principal.userId)
  }

  private take(bucket: Bucket, key: string): void {
    const retryAfterMs = bucket.take(key)
    if (retryAfterMs === 0) return
    this.server.metrics.countRateLimited(bucket.name)
    throw new DomainError('too_many', 'rate_limited', 'Too many requests; slow down.', { retryAfterMs })
  }

  private clientNow(): Client {
    this.client ??= this.state === 'done' ? goneClient : this.server.clients.ofPeer(this.res.getRemoteAddress())
    return this.client
  }

  /** To be called before the uWS callback that runs this exchange returns. */
  leaveCallback(): void {
    this.corked = false
    if (this.state !== 'done') this.watchAbort()
  }

  watchAbort(): void {
    if (this.watched) return
    this.watched = true
    this.res.onAborted(() => this.clientLeft())
  }

  /** Answers with what the handler returned. */
  succeed(result: unknown): void {
    if (!this.open) {
      discard(result)
      return
    }
    try {
      if (result instanceof Reply) this.answer(result.value, result.options.status, result.options.headers)
      else this.answer(result, undefined, undefined)
    } catch (error) {
      this.fail(error)
    }
  }

  /** Answers with the problem `error` stands for. */
  fail(error: unknown): void {
    if (!this.open) return
    const { problem, headers, unexpected } = problemOf(error, this.requestId)
    if (unexpected) this.logFailure(error)
    this.send(problem.status, this.complete(problemHeaders, headers), JSON.stringify(problem))
  }

  /**
   * Answers in a later turn, and ends the connection: nothing that follows can be trusted to be a request. uWS would
   * go on to it at once if it were not owed an answer; so it ends the connection instead.
   */
  failAndEnd(error: unknown): void {
    this.endsConnection = true
    setImmediate(() => this.fail(error))
  }

  private answer(value: unknown, ownStatus: number | undefined, ownHeaders: Headers | undefined): void {
    const { plan } = this
    const status = ownStatus ?? plan.status
    const headers = this.complete(value === undefined ? bareHeaders : plan.headers, ownHeaders)
    if (value === undefined) {
      this.send(status, headers, undefined)
    } else if (plan.responseSchema !== undefined) {
      if (this.server.checkResponses) checkResponse(plan.responseSchema, value)
      this.send(status, headers, JSON.stringify(value))
    } else if (typeof value === 'string' || value instanceof Uint8Array) {
      this.send(status, headers, value)
    } else {
      void this.stream(status, headers, value as AsyncIterable<Bytes>)
    }
  }

  private complete(packed: PackedHeaders, own: Headers | undefined): PackedHeaders {
    if (own === undefined && this.corsHeaders === undefined) return packed
    return mergeHeaders(packed, { ...this.corsHeaders, ...own })
  }

  private send(status: number, headers: PackedHeaders, body: Bytes | undefined): void {
    if (this.upload !== undefined) this.stopUpload(this.upload)
    if (this.corked) this.sendCorked(status, headers, body)
    else this.res.cork(() => this.sendCorked(status, headers, body))
  }

  private sendCorked(status: number, headers: PackedHeaders, body: Bytes | undefined): void {
    const { res } = this
    this.writeHead(status, headers)
    if (body !== undefined && body.length > WHOLE_ANSWER_BYTES_MAX && !this.plan.headOnly) {
      this.watchAbort()
      endInStep(res, Buffer.from(body), () => this.settle(status))
      return
    }
    if (body === undefined) endEmpty(res, status, this.plan.headOnly)
    else if (this.plan.headOnly) endHead(res, Buffer.byteLength(body))
    else res.end(body, this.server.stopping || this.endsConnection)
    this.settle(status)
  }

  private writeHead(status: number, headers: PackedHeaders): void {
    this.state = 'answering'
    if (status !== 200) this.res.writeStatus(statusLine(status))
    this.res.writeHeader(headers.name, headers.value)
  }

  private async stream(status: number, headers: PackedHeaders, source: AsyncIterable<Bytes>): Promise<void> {
    this.source = source
    try {
      if (this.plan.headOnly) {
        discard(source)
        return this.send(status, headers, undefined)
      }
      for await (const chunk of gathered(source)) await this.writeChunk(status, headers, chunk)
      this.endStream(status, headers)
    } catch (error) {
      this.cutStream(error)
    }
  }

  /** Writes a chunk, after the head when it is the first; resolves when the client has taken it. */
  private writeChunk(status: number, headers: PackedHeaders, chunk: Uint8Array): Promise<void> | undefined {
    if (this.state === 'done') throw new Error('the client left')
    let taken = true
    this.res.cork(() => {
      if (this.open) {
        this.writeHead(status, headers)
        this.res.onWritable(() => {
          this.onWritable?.()
          return true
        })
      }
      taken = this.res.write(chunk)
    })
    return taken
      ? undefined
      : new Promise((resolve) => {
          this.onWritable = resolve
        }) // E4
  }

  private endStream(status: number, headers: PackedHeaders): void {
    if (this.open) this.send(status, headers, '')
    if (this.state === 'done') return
    if (this.upload !== undefined) this.stopUpload(this.upload)
    this.res.cork(() => this.res.end())
    this.settle(status)
  }

  private cutStream(error: unknown): void {
    if (this.open) this.fail(error)
    if (this.state === 'done') return
    this.logFailure(error)
    if (this.upload !== undefined) this.stopUpload(this.upload)
    this.settle(500)
    this.res.close() // E3
  }

  /** When the answer comes before the upload ends, uWS discards the rest, so that the sender gets to read it. */
  private stopUpload(upload: UploadStream): void {
    upload.release(true)
    upload.destroy()
  }

  private clientLeft(): void {
    if (this.state === 'done') return
    this.settle(STATUS_CLIENT_LEFT)
    this.upload?.release(false)
    this.upload?.destroy(new Error('the client left'))
    discard(this.source)
    this.abortController?.abort()
    this.onWritable?.()
  }

  /** E1, E2: nothing uses `res` from here on. */
  private settle(status: number): void {
    const { server, plan } = this
    this.state = 'done'
    plan.durations.observe(status, (performance.now() - this.startedAtMs) / 1_000)
    server.inFlight -= 1
    if (server.inFlight === 0) server.onIdle?.()
  }

  private logFailure(error: unknown): void {
    const { method, path } = this.plan.route
    this.server.log.error({ err: error, requestId: this.requestId, route: `${method} ${path}` }, 'a request failed')
  }
}

/** Throws when an answer is not what its schema documents, or more than that. */
function checkResponse(schema: z.ZodType, value: unknown): void {
  const sent: unknown = JSON.parse(JSON.stringify(value))
  assert(isDeepStrictEqual(schema.parse(sent), sent), 'the answer has fields its schema does not document')
}

/** Frees what an answer nobody will read holds on to. */
function discard(result: unknown): void {
  const source = result instanceof Reply ? result.value : result
  if (source instanceof Readable) source.destroy()
}

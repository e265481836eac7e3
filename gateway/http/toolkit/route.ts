import type { Readable } from 'node:stream'
import type { z } from 'zod'
import { assert } from '../../../engine/assert.js'
import type { Principal } from './principal.js'

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
export type Who = 'public' | 'member' | 'admin'

/** A response that is bytes of the named content type instead of JSON. */
export interface StreamOf {
  readonly stream: string
}

/** A documented refusal of a route. */
export interface RouteError {
  readonly status: number
  readonly code: string
  readonly when: string
}

type Shape = z.ZodObject
type Parsed<S> = S extends z.ZodType ? z.output<S> : undefined
type BodyOf<B, U> = U extends 'csv' ? Readable : Parsed<B>
type Bytes = string | Uint8Array | AsyncIterable<string | Uint8Array>
type Frozen<T> = T extends (infer E)[]
  ? readonly Frozen<E>[]
  : T extends object
    ? { readonly [K in keyof T]: Frozen<T[K]> }
    : T
/** What a handler may answer; read-only inside, because answering changes nothing. */
type ValueOf<R> = R extends z.ZodType ? Frozen<z.output<R>> : Bytes

/** What a handler sees of one request, already checked. */
export interface RouteRequest<P, Q, B, W extends Who, H extends string> {
  readonly params: P
  readonly query: Q
  readonly body: B
  /** Members and admins are always known; on public routes only callers that sent a valid token. */
  readonly principal: W extends 'public' ? Principal | undefined : Principal
  /** The client's address, behind trusted proxies too; 'unknown' once the client is gone. */
  readonly ip: string
  readonly requestId: string
  readonly idempotencyKey: string | undefined
  /** Aborted when the client goes away before the answer is complete. */
  readonly signal: AbortSignal
  /** A request header the route declared in `headers`. */
  header(name: H): string | undefined
}

interface RouteSpec<P, Q, B, U, R, A, W extends Who, H extends string> {
  readonly method: Method
  /** Parameters as `:name`, each declared in `params`. */
  readonly path: string
  readonly who: W
  readonly tag: string
  readonly summary: string
  readonly description?: string
  readonly params?: P
  readonly query?: Q
  readonly body?: B
  /** Instead of `body`: the handler reads the request as a stream, in step with the sender. */
  readonly upload?: U
  /** Lower-case names of the request headers the handler reads. */
  readonly headers?: readonly H[]
  readonly status?: number
  /** Shape of the JSON answer as it is sent (no transforms), `z.undefined()` for none, or a stream. */
  readonly response: R
  readonly errors?: readonly RouteError[]
  /** The rate limit counted against; by default `ip` on public routes and `member` on the others. */
  readonly limit?: string
  handle(request: RouteRequest<Parsed<P>, Parsed<Q>, BodyOf<B, U>, W, H>): A | Promise<A>
}

/** A route with its types erased, as the server and the OpenAPI document see it. */
export interface Route {
  readonly method: Method
  readonly path: string
  readonly who: Who
  readonly tag: string
  readonly summary: string
  readonly description?: string
  readonly params?: Shape
  readonly query?: Shape
  readonly body?: z.ZodType
  readonly upload?: 'csv'
  readonly headers?: readonly string[]
  readonly status?: number
  readonly response: z.ZodType | StreamOf
  readonly errors?: readonly RouteError[]
  readonly limit?: string
  handle(request: never): unknown
}

/** Declares a route; everything its handler sees and returns is typed by its schemas. */
export function defineRoute<
  W extends Who,
  const R extends z.ZodType | StreamOf,
  const A extends ValueOf<R> | Reply<ValueOf<R>>,
  P extends Shape | undefined = undefined,
  Q extends Shape | undefined = undefined,
  B extends z.ZodType | undefined = undefined,
  U extends 'csv' | undefined = undefined,
  const H extends string = never,
>(spec: RouteSpec<P, Q, B, U, R, A, W, H>): Route {
  const name = `${spec.method} ${spec.path}`
  const declared = Object.keys(spec.params?.shape ?? {})
  assert(paramNames(spec.path).sort().join() === declared.sort().join(), `${name}: params differ from its path`)
  assert(spec.body === undefined || spec.upload === undefined, `${name}: body and upload exclude each other`)
  const bodiless = spec.method === 'GET'
  assert(!bodiless || (spec.body === undefined && spec.upload === undefined), `${name}: a GET reads no body`)
  return spec as unknown as Route
}

/** Names of the `:name` segments of a path, in order. */
export function paramNames(path: string): string[] {
  return [...path.matchAll(/:(\w+)/g)].map(([, name]) => name ?? '')
}

export function isStream(response: Route['response']): response is StreamOf {
  return 'stream' in response
}

interface ReplyOptions {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
}

/** A handler's answer with a status or headers of its own. */
export class Reply<T> {
  constructor(
    readonly value: T,
    readonly options: ReplyOptions,
  ) {}
}

/** Answers `value` with another status than the route's, or with more headers. */
export function reply<const T>(value: T, options: ReplyOptions): Reply<T> {
  return new Reply(value, options)
}

/** A `content-disposition` header that offers the answer for saving under `filename` (RFC 6266). */
export function attachment(filename: string): Record<string, string> {
  const ascii = filename.replace(/[^\w.-]/g, '_')
  const encoded = encodeURIComponent(filename).replace(
    /['()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  )
  return { 'content-disposition': `attachment; filename="${ascii}"; filename*=UTF-8''${encoded}` }
}

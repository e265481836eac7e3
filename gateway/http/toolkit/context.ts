import type { z } from 'zod'
import type { ClientAddresses } from './client-address.js'
import type { Headers, PackedHeaders } from './headers.js'
import type { HttpMetrics, RouteDurations } from './metrics.js'
import type { Principal } from './principal.js'
import type { Bucket } from './rate-limit.js'
import type { Route } from './route.js'

/** Where the toolkit writes what operators must see; a pino logger fits. */
export interface HttpLog {
  error(context: object, message: string): void
}

/** What `authenticate` may know of the request. */
export interface TokenBearer {
  readonly ip: string
  readonly requestId: string
  /**
   * Counts the request against its address, throwing `rate_limited`. Requests with a token known from cache skip
   * the address limit, so call this before any costly check; otherwise it is called after.
   */
  countAddress(): void
}

/** Proves who a token stands for, or throws `unauthorized`. Answers synchronously when it knows the token. */
export type Authenticate = (token: string, bearer: TokenBearer) => Principal | Promise<Principal>

/** What every request of a server shares. */
export interface ServerContext {
  readonly clients: ClientAddresses
  readonly addressBucket: Bucket
  readonly rateLimitLoopback: boolean
  readonly authenticate: Authenticate
  readonly metrics: HttpMetrics
  readonly log: HttpLog
  readonly bodyBytesMax: number
  readonly uploadBytesMax: number
  readonly checkResponses: boolean
  readonly inFlightMax: number
  /** Origins of web pages that may call the API, with what to tell each; undefined when there are none. */
  readonly corsHeaders: ReadonlyMap<string, Headers> | undefined
  readonly newRequestId: () => string
  /** Called when the last request in flight is done and the server is stopping. */
  onIdle: (() => void) | undefined
  stopping: boolean
  inFlight: number
}

/** A route made ready to serve: everything that can be worked out before the first request. */
export interface Plan {
  readonly route: Route
  readonly paramNames: readonly string[]
  readonly status: number
  readonly headers: PackedHeaders
  /** Answers are JSON, checked against the schema when asked to; otherwise bytes. */
  readonly responseSchema: z.ZodType | undefined
  readonly headOnly: boolean
  readonly bucket: Bucket
  readonly durations: RouteDurations
  /** The content type a request body must have; undefined when the route reads none. */
  readonly bodyType: string | undefined
}

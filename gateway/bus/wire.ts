/** What the engine and its gateways say to each other over Redis, packed as records are. */
import { z } from 'zod'
import { DomainError } from '../../engine/errors.js'
import { pack, unpack } from '../../engine/record.js'

/** Channels of one engine and its gateways; two engines on one Redis need two prefixes. */
export function channelNames(prefix: string) {
  return {
    requests: `${prefix}:engine`,
    repliesTo: (gateway: string) => `${prefix}:gateway:${gateway}`,
    /** Of Socket.IO's adapter. */
    sockets: `${prefix}:sockets`,
  }
}
export type ChannelNames = ReturnType<typeof channelNames>

export const principalSchema = z.object({
  role: z.enum(['public', 'member', 'admin', 'system']),
  userId: z.string(),
  sessionId: z.string(),
})

const requestSchema = z.object({
  gateway: z.string().min(1).max(64),
  id: z.int(),
  kind: z.enum(['execute', 'query', 'call']),
  name: z.string(),
  args: z.unknown(),
  who: principalSchema.nullable(),
  key: z.string().nullable(),
  fingerprint: z.string().nullable(),
})
export type BusRequest = z.output<typeof requestSchema>

const errorSchema = z.object({
  kind: z.enum([
    'invalid',
    'unauthorized',
    'forbidden',
    'not_found',
    'conflict',
    'unprocessable',
    'too_many',
    'unavailable',
  ]),
  code: z.string(),
  message: z.string(),
  details: z.object({ field: z.string().optional(), retryAfterMs: z.number().optional() }),
})

const replySchema = z.object({
  id: z.int(),
  /** The run of the engine, and the last batch of facts the answer may have seen something of. */
  run: z.string(),
  asOf: z.int(),
  value: z.unknown(),
  /** Null when it went well, `fault` when the engine failed in an unexpected way. */
  error: z.union([errorSchema, z.literal('fault')]).nullable(),
})
export type BusReply = z.output<typeof replySchema>

export const packRequest = (request: BusRequest) => Buffer.from(pack(request))
export const packReply = (reply: BusReply) => Buffer.from(pack(reply))
export const unpackRequest = (bytes: Uint8Array): BusRequest => requestSchema.parse(unpack(bytes))
export const unpackReply = (bytes: Uint8Array): BusReply => replySchema.parse(unpack(bytes))

/** An error as it travels: only what was expected tells what it is. */
export function errorOf(thrown: unknown): NonNullable<BusReply['error']> {
  if (!(thrown instanceof DomainError)) return 'fault'
  const { kind, code, message, details } = thrown
  return { kind, code, message, details }
}

export function asThrown(error: NonNullable<BusReply['error']>): Error {
  if (error === 'fault') return new Error('the engine failed unexpectedly; its log says how')
  const { field, retryAfterMs } = error.details
  return new DomainError(error.kind, error.code, error.message, {
    ...(field === undefined ? {} : { field }),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  })
}

/** The request was not sent, or nobody took it. */
export function engineUnavailable(): DomainError {
  return new DomainError('unavailable', 'engine_unavailable', 'The engine cannot be reached now; try again.', {
    retryAfterMs: 1_000,
  })
}

/** It may have been carried out: a repeat with the same `client_id` or `idempotency_key` is safe. */
export function outcomeUnknown(): DomainError {
  return new DomainError(
    'unavailable',
    'outcome_unknown',
    'The engine did not answer in time; it may have been done.',
    {
      retryAfterMs: 1_000,
    },
  )
}

export interface BusLog {
  info(context: object, message: string): void
  warn(context: object, message: string): void
  error(context: object, message: string): void
}

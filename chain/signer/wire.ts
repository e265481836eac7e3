/** What goes through the socket of a signer: HTTP with JSON, amounts as text. Both ends parse what they get. */
import { z } from 'zod'
import { SignerRefused } from '../chain.js'
import { KeyError } from '../keys/errors.js'
import { SignerUnavailable, type UnavailableCode } from './errors.js'

export const paths = { sign: '/v1/sign', address: '/v1/address', status: '/v1/status' } as const
/** A batch of the longest transactions there are. */
export const BODY_BYTES_MAX = 2 * 1024 * 1024

/** Whether it makes sense is for the service to say, in its own words. */
const requestSchema = z.strictObject({
  wallet: z.string(),
  payoutId: z.string(),
  to: z.string(),
  amount: z.string().regex(/^-?[0-9]{1,78}$/),
  unsigned: z.string(),
  payouts: z.array(z.string()).optional(),
})
export const signSchema = z.strictObject({ requests: z.array(requestSchema) })
export const signedSchema = z.object({ signed: z.array(z.string()) })
export const addressSchema = z.object({ address: z.string() })
export const statusSchema = z.object({
  signed: z.number(),
  refused: z.record(z.string(), z.number()),
  queue: z.number(),
  queueMax: z.number(),
  payouts: z.number(),
  payoutsMax: z.number(),
  logBytes: z.number(),
  isStopped: z.boolean(),
})
export const failureSchema = z.object({
  kind: z.enum(['refused', 'unavailable', 'invalid']),
  code: z.string(),
  message: z.string(),
  payoutId: z.string().nullable(),
  signedBefore: z.array(z.string()).readonly(),
})

export type Failure = z.output<typeof failureSchema>

export const statusOf = { refused: 422, unavailable: 503, invalid: 400 } as const satisfies Record<
  Failure['kind'],
  number
>

/** Of an error that is expected; null for a bug. */
export function toFailure(error: unknown): Failure | null {
  if (error instanceof SignerRefused) {
    const { code, message, payoutId, signedBefore } = error
    return { kind: 'refused', code, message, payoutId, signedBefore }
  }
  if (error instanceof SignerUnavailable) {
    return { kind: 'unavailable', code: error.code, message: error.message, payoutId: null, signedBefore: [] }
  }
  if (error instanceof KeyError)
    return { kind: 'unavailable', code: 'key_failed', message: error.message, payoutId: null, signedBefore: [] }
  if (error instanceof z.ZodError || error instanceof SyntaxError) {
    return { kind: 'invalid', code: 'request_wrong', message: error.message, payoutId: null, signedBefore: [] }
  }
  return null
}

/** The error as it was on the other side. */
export function fromFailure({ kind, code, message, payoutId, signedBefore }: Failure): Error {
  if (kind === 'refused') return new SignerRefused(code, message, payoutId, signedBefore)
  const known: UnavailableCode = kind === 'unavailable' ? (code as UnavailableCode) : 'signer_answer_wrong'
  return new SignerUnavailable(known, message)
}

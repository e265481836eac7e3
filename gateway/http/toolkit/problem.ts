import { STATUS_CODES } from 'node:http'
import { z } from 'zod'
import { DomainError, type ErrorKind } from '../../../engine/errors.js'

const DEFAULT_RETRY_AFTER_MS = 1_000

const fieldErrorSchema = z.object({ field: z.string(), message: z.string() })

/** RFC 9457 problem details, the body of every refusal. */
export const problemSchema = z
  .object({
    type: z.string().meta({ description: 'Where this code is explained', example: '/docs/errors#invalid_input' }),
    title: z.string().meta({ description: 'The reason phrase of the status' }),
    status: z.int(),
    detail: z.string().meta({ description: 'What went wrong, for people' }),
    code: z.string().meta({ description: 'Stable, for programs', example: 'invalid_input' }),
    instance: z.string().optional().meta({ description: 'Id of the request, to quote when asking for help' }),
    field: z.string().optional().meta({ description: 'The input field the problem is about' }),
    errors: z.array(fieldErrorSchema).optional().meta({ description: 'Every invalid field' }),
    retry_after: z.int().optional().meta({ description: 'Seconds after which trying again can succeed' }),
  })
  .meta({ id: 'Problem' })

export type FieldError = z.infer<typeof fieldErrorSchema>
export type Problem = z.infer<typeof problemSchema>

interface ProblemExtras {
  readonly errors?: readonly FieldError[]
  readonly headers?: Readonly<Record<string, string>>
  readonly retryAfterMs?: number
}

/** A refusal of the HTTP layer itself, where no {@link DomainError} kind fits. */
export class HttpProblem extends Error {
  override readonly name = 'HttpProblem'

  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly extras: ProblemExtras = {},
  ) {
    super(message)
  }
}

const statusOfKind: Readonly<Record<ErrorKind, number>> = {
  invalid: 400,
  unauthorized: 401,
  forbidden: 403,
  not_found: 404,
  conflict: 409,
  unprocessable: 422,
  too_many: 429,
  unavailable: 503,
}

/** A problem and the headers that must accompany it. */
export interface ProblemAnswer {
  readonly problem: Problem
  readonly headers: Readonly<Record<string, string>>
  /** The throwable was not an expected refusal: log it, tell the client nothing about it. */
  readonly unexpected: boolean
}

/** Turns any throwable into the problem to answer with. */
export function problemOf(error: unknown, requestId: string): ProblemAnswer {
  if (error instanceof DomainError) return ofDomainError(error, requestId)
  if (error instanceof HttpProblem) return ofHttpProblem(error, requestId)
  const problem = baseProblem(500, 'internal', 'Something went wrong on our side.', requestId)
  return { problem, headers: {}, unexpected: true }
}

function ofDomainError({ kind, code, message, details }: DomainError, requestId: string): ProblemAnswer {
  const status = statusOfKind[kind]
  const problem = baseProblem(status, code, message, requestId)
  if (details.field !== undefined) problem.field = details.field
  const waits = kind === 'too_many' || kind === 'unavailable'
  const retryAfterMs = details.retryAfterMs ?? (waits ? DEFAULT_RETRY_AFTER_MS : undefined)
  const headers = kind === 'unauthorized' ? { 'www-authenticate': 'Bearer' } : {}
  return { problem, headers: withRetryAfter(problem, headers, retryAfterMs), unexpected: false }
}

function ofHttpProblem({ status, code, message, extras }: HttpProblem, requestId: string): ProblemAnswer {
  const problem = baseProblem(status, code, message, requestId)
  const [first] = extras.errors ?? []
  if (extras.errors !== undefined) problem.errors = [...extras.errors]
  if (first !== undefined) problem.field = first.field
  return { problem, headers: withRetryAfter(problem, extras.headers ?? {}, extras.retryAfterMs), unexpected: false }
}

function withRetryAfter(problem: Problem, headers: Readonly<Record<string, string>>, retryAfterMs: number | undefined) {
  if (retryAfterMs === undefined) return headers
  problem.retry_after = Math.max(1, Math.ceil(retryAfterMs / 1_000))
  return { ...headers, 'retry-after': String(problem.retry_after) }
}

function baseProblem(status: number, code: string, detail: string, requestId: string): Problem {
  const title = STATUS_CODES[status] ?? 'Error'
  return { type: `/docs/errors#${code}`, title, status, detail, code, instance: requestId }
}
